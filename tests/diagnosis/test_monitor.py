from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, nn

from deeplimit.checks import InputError
from deeplimit.diagnosis.gauge import WeightGauge
from deeplimit.diagnosis.monitor import DepthMonitor, DepthWarning
from tests.diagnosis.blocks import Residual, group_of

NAMES = {
    "depth/order_ratio",
    "depth/roughness",
    "depth/increment",
    "depth/smallest_gain",
    "depth/largest_gain",
    "depth/identity_blocks",
    "depth/sum_of_gains",
    "depth/movement",
}


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A clock on which a reading takes `cost` seconds, and nothing else any time."""
    clock = Clock()
    clock.cost = 0.1  # type: ignore[attr-defined]
    read = WeightGauge.read

    def slow(gauge: WeightGauge) -> Any:
        clock.now += clock.cost  # type: ignore[attr-defined]
        return read(gauge)

    monkeypatch.setattr(WeightGauge, "read", slow)
    return clock


def monitored(network: Residual | None = None, **options: Any) -> DepthMonitor:
    network = network or Residual()
    return DepthMonitor(network, group=group_of(network), **{"every": 1, **options})


def nudge(network: nn.Module, scale: float = 0.01) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=scale)


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_the_budget_is_kept_at_every_step_once_the_start_is_paid_for(clock, share):
    monitor, steps = monitored(every=None, max_overhead=share, clock=clock), []
    for step in range(1, 10_001):
        clock.now += 0.02
        if monitor.step():
            steps.append(step)
        if clock.now > 0.2 / share:  # the start, and one more
            assert monitor.overhead <= share + 1e-9
    assert monitor.overhead > 0.9 * share / 1.25  # and used
    assert steps[0] == pytest.approx(1.25 * 0.2 / share / 0.02, abs=10)
    assert np.diff(steps) == pytest.approx(1.25 * 0.1 / share / 0.02, abs=10)


def test_a_dear_measurement_is_paid_for_by_a_longer_wait(clock):
    monitor, waits, last = monitored(every=None, clock=clock), [], 0
    for step in range(1, 3000):
        clock.now += 1.0
        if monitor.step():
            waits.append(step - last)
            last, clock.cost = step, 1.0
    assert waits[:2] == [25, 13]
    assert max(waits) >= 100
    assert monitor.overhead <= 0.0101


def test_the_blocks_are_found():
    network = Residual()
    by_hand, found = monitored(network), DepthMonitor(network)
    assert found.blocks.blocks == by_hand.blocks.blocks
    assert found.measurements == by_hand.measurements
    assert DepthMonitor(nn.ModuleDict({"a": network, "b": Residual(depth=5)}), group="b.blocks").blocks.depth == 5
    with pytest.raises(InputError, match="group: expected one of blocks; found 'layers'"):
        DepthMonitor(network, group="layers")
    with pytest.raises(InputError, match="expected at least 2 blocks of equal structure"):
        DepthMonitor(nn.Linear(3, 3))


def test_a_spacing_may_be_fixed(clock):
    monitor = monitored(every=3, clock=clock)
    assert [monitor.step() for _ in range(7)] == [False, False, True, False, False, True, False]
    assert [monitor.step(step) for step in (20, 21, 22, 23)] == [True, False, False, True]
    assert [measurement.step for measurement in monitor.measurements] == [0, 3, 6, 20, 23]


def test_the_end_is_measured_whatever_the_budget_says(clock):
    monitor = monitored(every=None, clock=clock)
    for _ in range(5):
        assert not monitor.step()
    last = monitor.close()
    assert last is not None
    assert last.step == 5
    assert monitor.close() is last
    assert len(monitor.measurements) == 2


def test_at_most_ten_numbers_are_logged_and_all_are_finite():
    network, rows = Residual(), []
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    monitor = monitored(network, log=lambda numbers, step: rows.append((step, numbers)))
    nudge(network)
    monitor.step()
    with_batch = monitored(network, batch=x, log=lambda numbers, step: rows.append((step, numbers)))
    with_batch.step(7)
    few = monitored(Residual(depth=4), log=lambda numbers, step: rows.append((step, numbers)))
    few.step()
    assert [step for step, _ in rows] == [1, 7, 1]
    assert set(rows[0][1]) == NAMES
    assert set(rows[1][1]) == NAMES | {"depth/update_ratio", "depth/alignment"}
    assert set(rows[2][1]) == NAMES - {"depth/roughness"}
    assert all(type(number) is float and math.isfinite(number) for _, numbers in rows for number in numbers.values())
    json.dumps(rows, allow_nan=False)


def test_the_numbers_are_those_of_the_weights():
    network = Residual()
    monitor = monitored(network)
    with torch.no_grad():
        network.block(2).down.weight.zero_()
        network.block(5).down.weight.mul_(8)
    monitor.step()
    start, (scalars, gains) = (
        monitor.measurements[0],
        (
            monitor.measurements[1].scalars,
            monitor.measurements[1].column,
        ),
    )
    median = float(np.median(gains))
    assert scalars["depth/smallest_gain"] == 0.0
    assert scalars["depth/largest_gain"] == pytest.approx(gains[5] / median)
    assert gains[5] == pytest.approx(8 * start.column[5], rel=0.3)
    assert scalars["depth/identity_blocks"] == 1
    assert start.scalars["depth/identity_blocks"] == 0
    assert scalars["depth/sum_of_gains"] == pytest.approx(sum(gains))
    assert scalars["depth/movement"] > 0.5 > start.scalars["depth/movement"] == 0.0


def test_the_picture_is_gains_over_time():
    network = Residual()
    monitor = monitored(network)
    with torch.no_grad():
        network.block(2).down.weight.zero_()
        network.block(3).down.weight.mul_(100)
    monitor.step()
    picture = monitor.picture()
    assert picture.shape == (8, 2)
    assert picture.dtype == np.float32
    assert picture[0, 0] == pytest.approx(math.log10(monitor.measurements[0].column[0]), rel=1e-5)
    assert picture[2, 1] == -8
    assert picture[:, 1].argmax() == 3
    assert monitor.image().shape == (256, 256, 3)
    assert monitor.png().startswith(b"\x89PNG")
    with_batch = monitored(Residual(), batch=torch.ones(2, 6))
    assert with_batch.picture()[:, 0] == pytest.approx(np.log10(with_batch.measurements[0].column), rel=1e-5)


@pytest.mark.parametrize("history", [2, 3, 8])
def test_the_history_thins_itself(history):
    monitor = monitored(history=history)
    for step in range(1, 200):
        monitor.step()
        kept = [measurement.step for measurement in monitor.measurements]
        assert len(kept) <= history
        assert kept[0] == 0
        assert kept[-1] == step
        spacing = np.diff(kept[:-1])
        assert len(set(spacing.tolist())) <= 1
    assert len(kept) > history / 2


def run(monitor: DepthMonitor, network: Residual, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        nudge(network, 0.05)
        monitor.step()


def test_a_resumed_run_goes_on(tmp_path):
    whole, rows = Residual(), []
    monitor = monitored(whole, history=8, log=lambda numbers, step: rows.append((step, numbers)))
    run(monitor, whole, range(12))
    torch.save({"net": whole.state_dict(), "monitor": monitor.state_dict()}, tmp_path / "saved.pt")
    run(monitor, whole, range(12, 20))
    saved = torch.load(tmp_path / "saved.pt", weights_only=True)
    resumed, again = Residual(seed=1), []
    resumed.load_state_dict(saved["net"])
    other = monitored(resumed, history=8, log=lambda numbers, step: again.append((step, numbers)))
    other.load_state_dict(saved["monitor"])
    run(other, resumed, range(12, 20))
    assert [step for step, _ in again] == list(range(13, 21))
    assert [m.step for m in other.measurements] == [m.step for m in monitor.measurements]
    for (_, found), (_, expected) in zip(again, rows[12:], strict=True):
        assert found["depth/movement"] == pytest.approx(expected["depth/movement"], rel=1e-6)
        assert found["depth/order_ratio"] == pytest.approx(expected["depth/order_ratio"], rel=1e-6)
        assert found["depth/sum_of_gains"] == pytest.approx(expected["depth/sum_of_gains"], rel=0.1)
    assert np.array_equal(other.picture()[:, 0], monitor.picture()[:, 0])


def test_time_goes_on_too(clock):
    monitor = monitored(every=None, clock=clock)
    clock.now += 100
    saved = monitor.state_dict()
    later = monitored(every=None, clock=clock)
    later.load_state_dict(json.loads(json.dumps(saved)))
    assert later.overhead == pytest.approx(0.2 / 100.2)
    assert later.step()


def test_the_state_of_something_else_is_refused():
    monitor = monitored()
    with pytest.raises(InputError, match="state of DepthMonitor: expected the entries"):
        monitor.load_state_dict({"steps": 1})
    with pytest.raises(InputError, match=r"expected 8 blocks and .* found 5 and"):
        monitor.load_state_dict(monitored(Residual(depth=5)).state_dict())


def test_a_block_that_dies_is_warned_of_once_in_words():
    network = Residual()
    monitor = monitored(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(monitor, network, range(3))
    with torch.no_grad():
        network.block(4).down.weight.zero_()
    monitor.step()
    monitor.step()
    with pytest.warns(DepthWarning, match=r"block 4 turned to the identity: gain 0 .* at step 6") as found:
        monitor.step()
    assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.step()


def test_weights_that_are_not_finite_are_a_warning_and_no_error():
    network, rows = Residual(), []
    heard: list[str] = []
    monitor = monitored(network, warn=heard.append, log=lambda numbers, step: rows.append(numbers))
    with torch.no_grad():
        network.block(1).up.weight[0, 0] = math.nan
    monitor.step()
    monitor.step()
    assert heard == ["weights of block 1 are not finite at step 1; they were at step 0"]
    json.dumps(rows, allow_nan=False)
    assert np.isnan(monitor.picture()).tolist() == [[False, block == 1, block == 1] for block in range(8)]
    json.dumps(monitor.state_dict())


def trained(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int, *, hook: Any = None) -> list[str]:
    """What is heard of a run of some steps on a small task, measured at every fourth."""
    heard: list[str] = []
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=generator)
    y = (x @ torch.randn(6, 3, generator=generator)).argmax(1)
    monitor = DepthMonitor(network, every=4, warn=heard.append)
    for step in range(steps):
        rows = torch.randint(400, (16,), generator=generator)
        loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hook is not None and step >= steps // 2:
            hook(network)
        monitor.step()
    return heard


def small_start(network: Residual) -> None:
    """Branches that are the identity at first."""
    for number in range(8):
        nn.init.zeros_(network.block(number).down.weight)


def equal_start(network: Residual) -> None:
    """Blocks that are copies of one."""
    for number in range(8):
        network.block(number).load_state_dict(network.block(0).state_dict())


def smooth_start(network: Residual) -> None:
    """Weights on a line from one to another."""
    first, last = (network.block(number).state_dict() for number in (0, 7))
    for k in range(8):
        network.block(k).load_state_dict({name: first[name].lerp(last[name], k / 7) for name in first})


@pytest.mark.parametrize("start", [None, small_start, equal_start, smooth_start])
@pytest.mark.parametrize("rate", [1e-3, 1e-2])
def test_ordinary_runs_are_silent(start, rate):
    network = Residual()
    if start is not None:
        start(network)
    assert trained(network, torch.optim.AdamW(network.parameters(), rate, weight_decay=0.1), 240) == []
    network = Residual()
    if start is not None:
        start(network)
    assert trained(network, torch.optim.SGD(network.parameters(), 3 * rate, momentum=0.9), 240) == []


def fade(network: Residual) -> None:
    network.block(3).down.weight.data.mul_(0.9)


def swell(network: Residual) -> None:
    network.block(5).down.weight.data.mul_(1.2)


def shake(network: Residual) -> None:
    nudge(network.blocks, 0.1)


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (fade, "block 3 turned to the identity"),
        (swell, "gains explode in block 5"),
        (shake, "blocks have lost their order over depth"),
    ],
)
def test_runs_in_which_something_happens_are_not(hook, text):
    network = Residual()
    smooth_start(network)
    heard = trained(network, torch.optim.SGD(network.parameters(), 1e-2), 160, hook=hook)
    assert [each for each in heard if each.startswith(text)] == heard[:1] != []


def test_weights_are_watched_through_wrappers():
    network = Residual()
    compiled: Any = torch.compile(network, backend="eager")
    monitor = DepthMonitor(compiled, group=group_of(network), every=1)
    nudge(network)
    monitor.step()
    assert monitor.measurements[1].scalars["depth/movement"] > 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_one_process_of_several_watches(tmp_path, monkeypatch):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        network = Residual()
        parallel = nn.parallel.DistributedDataParallel(network)
        monitor = DepthMonitor(parallel, group=group_of(network), every=1)
        assert monitor.step()
        monkeypatch.setattr(distributed, "get_rank", lambda: 1)
        silent = DepthMonitor(parallel, group=group_of(network), every=1)
        assert not silent.step()
        assert silent.close() is None
        assert silent.measurements == ()
        silent.load_state_dict(monitor.state_dict())
        assert silent.picture().shape == (8, 0)
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_overhead": 0.0}, "max_overhead: expected a finite number above 0"),
        ({"every": 0}, "every: expected an integer of at least 1"),
        ({"history": 1}, "history: expected at least 2"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        monitored(**options)
