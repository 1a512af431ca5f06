"""What the fully-connected experiments share: the two families, their tasks, how they are trained, the depths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deeplimit import checks
from deeplimit.branches import OneMatrix, ReLU, Tanh
from deeplimit.data import OscillatingFlow, Pairs
from deeplimit.measures import DepthStatistics, Entry, FullLoss, Last, Measure
from deeplimit.networks import ResidualStack
from deeplimit.processes import IID, Constant, DepthScaled, Distribution, Normal, Process
from deeplimit.records import Context, Label
from deeplimit.scaling import DepthScaling
from deeplimit.study import Tiered
from deeplimit.training import SGD, Adam, Batches, EpochStop, Optimizer, SquaredError, TrainingRun

if TYPE_CHECKING:
    from deeplimit.networks import Parameters

STATE = 10
SYNTHETIC = OscillatingFlow(1024, STATE)
LOSS = SquaredError(per_entry=True)
BATCH, EPOCHS = 32, 10

DEEPEST = 10321
DEEPEST_RELU = 9100
TANH_BASE, RELU_BASE = 2 ** (1 / 3), 1.2

QUICKEST = 203
"""Deepest network of the quick tier."""

MIDDLE = 1625
"""Deepest network to which the exponents of tanh are fitted: beyond, one step of Adam at 1e-2 is larger than δ."""

RELU_MIDDLE = 2116
"""Deepest ReLU network that Adam at 1e-2 still trains to the threshold; the loss of deeper ones grows, in the end without bound."""


@dataclass(frozen=True)
class Setting:
    """A family of networks and how it is trained.

    Args:
        family: `tanh`, one trained δ for all layers, 1/L at the start; `relu`, one trained δ_k per layer, normal of deviation 1/L.
        optimizer: the update rule.
        start: A has entries of deviation s/d, b of s/√d; with `xavier-depth` both are divided by L.
        size: s.
        below: the mean loss of an epoch at which training stops.
    """

    family: Literal["tanh", "relu"]
    optimizer: Optimizer
    start: Literal["xavier", "xavier-depth"] = "xavier-depth"
    size: float = 0.01
    below: float = 1e-3

    def network(self, depth: int, state: int = STATE) -> ResidualStack:
        """The network of a depth, δ σ(A h + b) in each layer, with the state as output."""

        def entries(sd: float) -> Process:
            drawn: Distribution = Normal(self.size * sd)
            return DepthScaled(IID(drawn)) if self.start == "xavier-depth" else IID(drawn)

        tanh = self.family == "tanh"
        init = {
            "delta": DepthScaled(Constant(1.0) if tanh else IID(Normal(1.0))),
            "A": entries(1 / state),
            "b": entries(1 / math.sqrt(state)),
        }
        branch = OneMatrix(state, Tanh(), "shared") if tanh else OneMatrix(state, ReLU(), "layer")
        return ResidualStack(branch, depth, scaling=DepthScaling(0.0), init=init)

    def run(
        self,
        depth: int,
        seeds: tuple[int, ...],
        *,
        data: Pairs = SYNTHETIC,
        batches: Batches | None = None,
        measures: tuple[Measure, ...] = (),
        labels: Mapping[str, Label] | None = None,
    ) -> TrainingRun:
        """Training at a depth: at most ten epochs of mini-batches, statistics and loss at the end.

        Without measures the weights are kept instead.
        """
        samples = int(getattr(data, "samples", 1))
        state = STATE if isinstance(data, OscillatingFlow) else 25
        feed = batches or Batches(BATCH)
        return TrainingRun(
            networks=(self.network(depth, state),),
            data=data,
            optimizer=self.optimizer,
            iterations=EPOCHS * feed.per_epoch(samples),
            measures=measures,
            seeds=seeds,
            loss=LOSS,
            dtype="float32",
            batches=feed,
            stop=EpochStop(self.below),
            keep_weights=not measures,
            labels=labels or {},
        )


SETTINGS: dict[str, Setting] = {
    "tanh, Adam 0.01": Setting("tanh", Adam(1e-2)),
    "tanh, Adam 0.01, loss 0.01": Setting("tanh", Adam(1e-2), below=1e-2),
    "tanh, Adam 0.001": Setting("tanh", Adam(1e-3)),
    "tanh, SGD 0.1": Setting("tanh", SGD(0.1)),
    "ReLU, Adam 0.01": Setting("relu", Adam(1e-2), "xavier", 1.0),
    "ReLU, Adam 0.01, loss 0.01": Setting("relu", Adam(1e-2), "xavier", 1.0, 1e-2),
    "ReLU, Adam 0.01, small start": Setting("relu", Adam(1e-2)),
    "ReLU, SGD 0.1": Setting("relu", SGD(0.1), "xavier", 1.0),
    "ReLU, Adam 0.001, small start": Setting("relu", Adam(1e-3)),
}
"""Name, which is a column of the rows -> family and training. The first is what the released code ships with."""

SHOWN = (128, 197, 203, 1020, 1024, DEEPEST_RELU, DEEPEST)
"""Depths at which single weights are kept, whatever other depths a sweep has: equal runs of two studies are one."""

TANH, RELU = "tanh, Adam 0.01", "ReLU, Adam 0.01"
TANH_COARSE, RELU_COARSE = "tanh, Adam 0.01, loss 0.01", "ReLU, Adam 0.01, loss 0.01"
ENTRIES: dict[str, dict[str, tuple[int, ...]]] = {"tanh": {"A": (7, 9), "b": (5,)}, "relu": {"A": (7, 7), "b": (6,)}}
"""Family -> the entries that are shown against the layer. The released code stores the transpose of A."""


def depth_grid(base: float, last: int, *, first: int = 3) -> tuple[int, ...]:
    """The depths ⌊baseⁿ⌋ from `first` to `last`, each once.

    A power that is an integer up to rounding counts as that integer: 2^(1/3) has some.

    Raises:
        InputError: a base that is not above 1.

    >>> depth_grid(2 ** (1 / 3), 20)
    (3, 4, 5, 6, 8, 10, 12, 16, 20)
    """
    if not base > 1:
        raise checks.InputError(f"base: expected a number above 1, found {base}")
    powers = range(math.ceil(math.log(last + 1) / math.log(base)) + 1)
    depths = {math.floor(base**n * (1 + 1e-12)) for n in powers}
    return tuple(sorted(depth for depth in depths if first <= depth <= last))


TANH_DEPTHS = Tiered(quick=depth_grid(TANH_BASE, QUICKEST), paper=depth_grid(TANH_BASE, DEEPEST))
RELU_DEPTHS = Tiered(quick=depth_grid(RELU_BASE, QUICKEST), paper=depth_grid(RELU_BASE, DEEPEST_RELU))


def up_to(depths: Tiered[tuple[int, ...]], last: int) -> Tiered[tuple[int, ...]]:
    """The depths of each tier that are at most `last`."""
    return Tiered(**{tier: tuple(L for L in found if last >= L) for tier, found in depths.by_tier.items()})


def sweep(
    name: str,
    depths: tuple[int, ...],
    *,
    seeds: tuple[int, ...],
    data: Pairs = SYNTHETIC,
    batches: Batches | None = None,
) -> Iterator[TrainingRun]:
    """A setting at every depth, with all statistics; at some depths also single weights, layer by layer."""
    setting = SETTINGS[name]
    for depth in depths:
        measures: tuple[Measure, ...] = (DepthStatistics(), FullLoss())
        if depth in SHOWN:
            entries = ENTRIES[setting.family].items()
            measures += tuple(Entry(role, place, Last(), identified=True) for role, place in entries)
            measures += (Entry("delta", (), Last()),) if setting.family == "relu" else ()
        yield setting.run(depth, seeds, data=data, batches=batches, measures=measures, labels={"setting": name})


def trained(setting: Setting, depth: int, *, seeds: tuple[int, ...], context: Context) -> Parameters:
    """Train as part of another task: the final parameters `[E, …]` by role.

    A depth is trained again when the task is interrupted and goes on.
    """
    import torch

    inner = Context(context.engine, context.device, context.threads)
    for _ in setting.run(depth, seeds).run(inner):
        pass
    context.provenance |= inner.provenance
    return {name.partition("/")[2]: torch.from_numpy(array) for name, array in inner.weights.items()}
