"""Watching the depth of a network while it trains, at a cost that is agreed on beforehand."""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deeplimit import checks
from deeplimit.diagnosis.blocks.group import Group
from deeplimit.diagnosis.blocks.structure import choose, find_groups
from deeplimit.diagnosis.sources import ModuleSource
from deeplimit.diagnosis.watching import alarms, gauge, picture

if TYPE_CHECKING:
    from torch import nn

_MARGIN = 1.25  # a measurement also takes from the caches what the step after it needs: that time is not seen
_FLOOR = 1e-8  # what the picture shows a gain of 0 as


class DepthWarning(UserWarning):
    """A network in training has left its regime, has lost blocks, or is about to diverge."""


def _warn(text: str) -> None:
    warnings.warn(text, DepthWarning, stacklevel=4)  # where `step` is called


@dataclass(frozen=True)
class Measurement:
    """What was measured after one step.

    Args:
        step: number of the step; that of the start is 0.
        scalars: name -> number, what loggers get; what is not finite is left out there.
        column: a number for each block: its gain, or with a batch ‖update‖ / ‖stream‖.
    """

    step: int
    scalars: Mapping[str, float]
    column: tuple[float, ...]


@dataclass(eq=False)
class DepthMonitor:
    """Measures the blocks of a network now and then while it trains, from its weights alone or with a batch.

    Call `step` after every `optimizer.step()`. A measurement reads the matrices of the group once and adds at most ten numbers:

        depth/order_ratio        Σ‖A_k − A_{k−1}‖² / Σ‖A_k − mean‖²: 2 for blocks without an order, near 0 for smooth weights
        depth/roughness          local Hurst index over depth: 0 white noise, ½ Brownian, 1 and more smooth; from 5 blocks on
        depth/increment          ‖A_k − A_{k−1}‖ / ‖A_k‖, root mean square over blocks
        depth/smallest_gain      of a block over the median; near 0 for a block that does nothing
        depth/largest_gain       of a block over the median
        depth/identity_blocks    how many have a gain below 0.05 × the median
        depth/sum_of_gains       a bound of the logarithm of how much the whole group can amplify; should not grow with depth
        depth/movement           ‖A − A_start‖ / ‖A_start‖
        depth/update_ratio       with a batch: ‖update‖ / ‖stream‖, median over blocks
        depth/alignment          with a batch: mean cosine between successive updates: 1 averaging or flow, 0 diffusion

    The gain of a block bounds the norm of its branch as a map of the residual stream: products of operator norms, and of LayerScale where
    there is one. What stands in code alone (a factor 1/L, the division by a norm's standard deviation) is not in it: compare gains among
    blocks and over time.

    The budget: the monitor times itself and the time between its calls, and measures when measurements so far and one more like the last
    take no more than `max_overhead` of the time since it was made; it keeps a fifth of that aside for what it slows beside. The start is
    measured at once and counts: a run that lasts 1/max_overhead measurements has paid for it. `close` measures once more whatever the
    budget says. On a GPU a measurement waits for the step before it, and counts that time as its own.

    From weights alone there are no hooks, and nothing of the model is changed: it works under torch.compile and
    DistributedDataParallel, where process 0 measures and the others do nothing. Weights that are spread over processes (FSDP, DeepSpeed's
    third stage) are refused. With a batch, one forward pass of the model outside its wrappers, in evaluation mode, is added to each
    measurement.

    Args:
        model: the network, wrapped or not.
        group: its blocks, or the name of one of the groups that are found in it; None for the deepest of them.
        batch: inputs that are passed at each measurement; None for weights alone.
        log: called as log(numbers, step): `wandb.log`, `mlflow.log_metrics`, …
        warn: called with a text when something happens that deserves a look; `warnings.warn` of a `DepthWarning` unless given.
        max_overhead: share of the time that measurements may take.
        every: measure each time so many steps have passed, whatever it costs.
        history: measurements that are kept, at most: when there are more, every second one is dropped, and so from then on.
        clock: seconds, for tests.

    Raises:
        InputError: what cannot be watched: no blocks or fewer than 3, no matrices, weights that are spread over processes.
    """

    model: nn.Module
    _: KW_ONLY
    group: Group | str | None = None
    batch: Any = None
    log: Callable[[dict[str, float], int], object] | None = None
    warn: Callable[[str], object] = _warn
    max_overhead: float = 0.01
    every: int | None = None
    history: int = 256
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        """Check the numbers, find the blocks, and measure the start."""
        self._begun = self.clock()
        checks.positive("max_overhead", self.max_overhead)
        if checks.positive_int("history", self.history) < 2:
            raise checks.InputError("history: expected at least 2, for the start and the end, found 1")
        if self.every is not None:
            checks.positive_int("every", self.every)
        self._model = gauge.whole(self.model)
        self.blocks = self.group if isinstance(self.group, Group) else _found(self._model, self.group)
        self._steps, self._count, self._stride = 0, 0, 1
        self._alarms = alarms.Alarms()
        self._measurements: list[Measurement] = []
        self._watching = _is_first_process()
        if self._watching:
            self._gauge = gauge.WeightGauge(self._model, self.blocks)
            # Not logged: a run that is about to be resumed has logged other steps by now.
            self._cost = self._measure(log=False)
        self._spent = self.clock() - self._begun

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What is kept, in the order of steps; the last one always."""
        return tuple(self._measurements)

    @property
    def overhead(self) -> float:
        """Share of the time since the monitor was made that measurements have taken."""
        return self._spent / max(self.clock() - self._begun, 1e-9)

    def step(self, step: int | None = None) -> bool:
        """Take note of an update, after it; returns whether the weights were measured.

        Args:
            step: its number as loggers count; None to count calls from 1.
        """
        self._steps = self._steps + 1 if step is None else step
        due = self._watching and self._due()
        if due:
            self._cost = self._measure()
            self._spent += self._cost
        return due

    def close(self) -> Measurement | None:
        """Measure the end, if the last step was not measured, whatever the budget says; None in processes that do not watch."""
        if self._watching and self._steps > self._measurements[-1].step:
            self._spent += self._measure()
        return self._measurements[-1] if self._measurements else None

    def picture(self) -> NDArray[np.float32]:
        """log₁₀ of the gain, or with a batch of ‖update‖ / ‖stream‖, `[blocks, measurements]`; NaN where it is not finite."""
        columns = np.array([measurement.column for measurement in self._measurements], dtype=np.float64)
        shown: NDArray[np.float32] = np.log10(columns.reshape(-1, self.blocks.depth).T.clip(_FLOOR)).astype(np.float32)
        shown[~np.isfinite(shown)] = np.nan
        return shown

    def image(self) -> NDArray[np.uint8]:
        """The picture in colours, `[height, width, 3]`: first block on top, time to the right, light is large, red is not finite."""
        return picture.colours(self.picture())

    def png(self) -> bytes:
        """The image as a PNG file."""
        return picture.png(self.image())

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, with which an equal monitor goes on; `torch.load(weights_only=True)` reads them."""
        return {
            "steps": self._steps,
            "count": self._count,
            "stride": self._stride,
            "spent": self._spent,
            "elapsed": self.clock() - self._begun,
            "start": list(self._gauge.start) if self._watching else [],
            "alarms": self._alarms.state(),
            "measurements": [[kept.step, dict(kept.scalars), list(kept.column)] for kept in self._measurements],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave: picture, start, alarms and budget; what was measured before is forgotten.

        Raises:
            InputError: the state of something else, or of a network of another depth.
        """
        expected, found = sorted(self.state_dict()), sorted(saved)
        if found != expected:
            raise checks.InputError(f"state of DepthMonitor: expected the entries {expected}, found {found}")
        if not self._watching or not saved["measurements"]:
            return
        depth = len(saved["measurements"][-1][2])
        if depth != self.blocks.depth or len(saved["start"]) != len(self._gauge.start):
            raise checks.InputError(
                f"state of DepthMonitor: expected {self.blocks.depth} blocks and {len(self._gauge.start)} entries of the start, "
                f"found {depth} and {len(saved['start'])}"
            )
        self._steps, self._count, self._stride = int(saved["steps"]), int(saved["count"]), int(saved["stride"])
        self._begun, self._spent = self._begun - saved["elapsed"], self._spent + saved["spent"]
        self._gauge.start, self._alarms = list(saved["start"]), alarms.restored(saved["alarms"])
        self._measurements = [
            Measurement(step, scalars, tuple(column)) for step, scalars, column in saved["measurements"]
        ]

    def _due(self) -> bool:
        if self.every is not None:
            return self._steps - self._measurements[-1].step >= self.every
        return _MARGIN * (self._spent + self._cost) <= self.max_overhead * (self.clock() - self._begun)

    def _measure(self, *, log: bool = True) -> float:
        """Measure, and return the seconds that it took."""
        before = self.clock()
        reading = self._gauge.read()
        scalars, column = _scalars(reading), reading.gains
        if self.batch is not None:
            column, alignment = gauge.passage(self._model, self.blocks, batch=self.batch)
            scalars |= {"depth/update_ratio": statistics.median(column), "depth/alignment": alignment}
        self._keep(Measurement(self._steps, scalars, column))
        for text in self._alarms.look(self._steps, reading):
            self.warn(text)
        if log and self.log is not None:
            self.log({name: number for name, number in scalars.items() if math.isfinite(number)}, self._steps)
        return self.clock() - before

    def _keep(self, measurement: Measurement) -> None:
        """Add the latest; the one before stays where its number is a multiple of the stride."""
        if self._measurements and (self._count - 1) % self._stride:
            self._measurements.pop()
        self._measurements.append(measurement)
        self._count += 1
        while len(self._measurements) > self.history:
            last = self._measurements[-1]
            self._stride *= 2
            self._measurements = self._measurements[::2]
            if self._measurements[-1] is not last:
                self._measurements.append(last)


def _scalars(reading: gauge.Reading) -> dict[str, float]:
    """The numbers that loggers get from weights alone."""
    gains, median = reading.gains, statistics.median(reading.gains)
    return {
        "depth/order_ratio": reading.order_ratio,
        "depth/roughness": reading.roughness,
        "depth/increment": reading.increment,
        "depth/smallest_gain": min(gains) / median if median > 0 else math.nan,
        "depth/largest_gain": max(gains) / median if median > 0 else math.nan,
        "depth/identity_blocks": float(sum(gain <= alarms.LITTLE * median for gain in gains)),
        "depth/sum_of_gains": sum(gains),
        "depth/movement": reading.movement,
    }


def _found(model: nn.Module, name: str | None) -> Group:
    """The deepest group of a module, of that name where one is given."""
    return choose(find_groups(ModuleSource(model)), group=name)[0]


def _is_first_process() -> bool:
    from torch import distributed

    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
