"""DepthMonitor inside three training loops: with against without, in one run.

    python benchmarks/monitoring.py [--seconds 60]

    plain       a loop in PyTorch: 16 residual blocks of width 256, batch 64, AdamW
    lightning   the same network under Lightning's Trainer, by DepthMonitorCallback
    trainer     GPT-2 of 8 blocks of width 128, batch 8 of 64 tokens, under Hugging Face's Trainer, by DepthMonitorTrainerCallback

Each loop trains one network, and turns of 8 steps in which the monitor is called alternate with turns of 8 in which it is not; which of a
pair comes first alternates, too. A step lasts from the end of one to the end of the next. The monitor has its budget of 1 % and a clock
that stands still in the turns that are not its own, so that it spaces its measurements as if they did not exist. What it takes before
the first step, finding the blocks and measuring the start, is added to the time with it.

Printed is the time with the monitor over the time without, in wall time and in processor time; the interval of 95 % comes from resampling
pairs of neighbouring turns. Beside it: milliseconds of a step without, measurements made, and the share of time that the monitor itself
has counted.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from deeplimit.diagnosis.lightning import DepthMonitorCallback
from deeplimit.diagnosis.monitor import DepthMonitor
from deeplimit.diagnosis.transformers import DepthMonitorTrainerCallback

TURN, WARM, DRAWS = 8, 2, 4000  # steps of a turn; pairs of turns that are not counted; resamplings


@dataclass
class Turns:
    """Tells steps with the monitor from steps without, and adds up the time of each turn, `[wall, processor]`."""

    seconds: float
    steps: int = 0
    times: list[list[float]] = field(default_factory=list)
    hidden: float = 0.0

    def begin(self, make: Callable[[], None]) -> None:
        """Make the monitor, before the first step."""
        before = _now()
        make()
        self.start, self.last = _now() - before, _now()
        self.stop = self.last[0] + self.seconds

    @property
    def watched(self) -> bool:
        """Whether the step that ends is one with the monitor."""
        return self.steps // TURN % 4 in (0, 3)

    def end_step(self) -> bool:
        """Note the time of a step, the monitor's part in it; returns whether time is left."""
        now = _now()
        if not self.watched:
            self.hidden += now[0] - self.last[0]
        if self.steps % TURN == 0:
            self.times.append([0.0, 0.0])
        self.times[-1] = [total + passed for total, passed in zip(self.times[-1], now - self.last, strict=True)]
        self.last, self.steps = now, self.steps + 1
        return bool(now[0] < self.stop)

    def clock(self) -> float:
        """Seconds, without those of steps that are not the monitor's."""
        return time.perf_counter() - self.hidden

    def report(self, name: str, monitor: DepthMonitor) -> str:
        """One row of the table."""
        pairs = np.array(self.times[: (len(self.times) - 1) // 2 * 2]).reshape(-1, 2, 2)
        pairs[1::2] = pairs[1::2, ::-1].copy()  # with comes first in every other pair
        # The start is paid by all turns, also by those that are not counted since the loop was warming up.
        pairs, spread = pairs[WARM:], self.start / len(pairs)
        drawn = np.random.default_rng(0).integers(len(pairs), size=(DRAWS, len(pairs)))
        cells = []
        for kind in range(2):
            own, other = pairs[:, 0, kind] + spread[kind], pairs[:, 1, kind]
            low, high = np.quantile(own[drawn].sum(1) / other[drawn].sum(1), [0.025, 0.975])
            cells.append(f"{own.sum() / other.sum():.4f} [{low:.4f}, {high:.4f}]")
        step = 1000 * pairs[:, 1, 0].sum() / (TURN * len(pairs))
        made, share = len(monitor.measurements), f"{monitor.overhead:.4f}"
        return f"| {name} | {cells[0]} | {cells[1]} | {len(pairs) * TURN} | {step:.1f} | {made} | {share} |"


def _now() -> Any:
    return np.array([time.perf_counter(), time.process_time()])


class Block(nn.Module):
    """h + down(relu(up(norm(h)))) / L."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.depth = depth

    def forward(self, h: Tensor) -> Tensor:
        """One layer."""
        update: Tensor = self.down(F.relu(self.up(self.norm(h))))
        return h + update / self.depth


def network(width: int = 256, depth: int = 16) -> nn.Module:
    """The network of two of the loops."""
    torch.manual_seed(0)
    return nn.Sequential(*[Block(width, depth) for _ in range(depth)], nn.Linear(width, 10))


def samples(width: int = 256, count: int = 64 * 200) -> TensorDataset:
    """Noise with labels: what is learnt does not matter here."""
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.randn(count, width, generator=generator), torch.randint(10, (count,), generator=generator)
    )


def plain(turns: Turns) -> DepthMonitor:
    """A loop in PyTorch."""
    net, found, going = network(), [], True
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    rows: list[dict[str, float]] = []

    def make() -> None:
        found.append(DepthMonitor(net, log=lambda numbers, step: rows.append(numbers), clock=turns.clock))

    turns.begin(make)
    while going:
        for x, y in DataLoader(samples(), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            if turns.watched:
                found[0].step()
            going = turns.end_step()
            if not going:
                break
    return found[0]


class Module(pl.LightningModule):
    """The same network for Lightning."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def training_step(self, batch: Any, number: int) -> Tensor:
        """The loss."""
        x, y = batch
        return F.cross_entropy(self.network(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser."""
        return torch.optim.AdamW(self.parameters(), 1e-3)


class Alternating(pl.Callback):
    """Hands on to DepthMonitorCallback what belongs to its turns."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.inner = turns, DepthMonitorCallback(clock=turns.clock, log=lambda numbers, step: None)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the monitor."""
        self.turns.begin(lambda: self.inner.on_train_start(trainer, pl_module))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The end of a step."""
        if self.turns.watched:
            self.inner.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        trainer.should_stop = not self.turns.end_step()


def lightning(turns: Turns) -> DepthMonitor:
    """Lightning's Trainer."""
    callback = Alternating(turns)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=-1, accelerator="cpu", callbacks=[callback], **quiet)  # type: ignore[arg-type]
    trainer.fit(Module(), DataLoader(samples(), batch_size=64, shuffle=True))
    assert callback.inner.monitor is not None
    return callback.inner.monitor


class AlternatingTrainerCallback(transformers.TrainerCallback):
    """Hands on to DepthMonitorTrainerCallback what belongs to its turns."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.inner = turns, DepthMonitorTrainerCallback(clock=turns.clock)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Make the monitor."""
        self.turns.begin(lambda: self.inner.on_train_begin(args, state, control, **kwargs))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The end of a step."""
        if self.turns.watched:
            self.inner.on_step_end(args, state, control, **kwargs)
        control.should_training_stop = not self.turns.end_step()


def trainer(turns: Turns) -> DepthMonitor:
    """Hugging Face's Trainer."""
    words = torch.randint(512, (1600, 64), generator=torch.Generator().manual_seed(0))
    special = {"bos_token_id": None, "eos_token_id": None}
    config = transformers.GPT2Config(vocab_size=512, n_positions=64, n_embd=128, n_layer=8, n_head=4, **special)
    callback = AlternatingTrainerCallback(turns)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=10_000,
            per_device_train_batch_size=8,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        rows: Any = [{"input_ids": row, "labels": row} for row in words]
        model = transformers.GPT2LMHeadModel(config)
        runner = transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[callback])
        runner.remove_callback(transformers.PrinterCallback)
        runner.train()
    assert callback.inner.monitor is not None
    return callback.inner.monitor


def main(seconds: float) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(
        "| loop | with / without, wall | with / without, processor | steps each | ms a step | measurements | counted |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for loop in (plain, lightning, trainer):
        turns = Turns(seconds)
        monitor = loop(turns)
        print(turns.report(loop.__name__, monitor), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each loop")
    main(**vars(parser.parse_args()))
