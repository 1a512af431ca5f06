"""Row 15 of the checklist: the smallest width that trains."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import guide, seconds_for, seed_band
from deeplimit.papers.marion2024.long_time.pl_condition import PL_TARGET
from deeplimit.papers.marion2024.long_time.pl_constant import tangent_kernel
from deeplimit.papers.marion2024.long_time.strict import claim, half, scaled, strict, strict_data
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import GradientFlow, Step, checksum, draw_members

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.training import State
    from deeplimit.training.step import Batch

GROUP = 3
"""Seeds that must all succeed at a width."""

LADDER = tuple(2**k for k in range(7))
FINE_LADDER = tuple(sorted({round(2 ** (k / 4)) for k in range(49)}))
"""Widths tried in training, and in the limit of small targets."""


def smallest(ladder: Sequence[int], passed: Callable[[int], bool]) -> int | None:
    """The first of increasing numbers that passes, by bisection; None where the last one does not.

    >>> smallest((1, 2, 4, 8), lambda m: m > 2)
    4
    """
    low, high = 0, len(ladder)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if passed(ladder[middle]) else (middle + 1, high)
    return ladder[low] if low < len(ladder) else None


def _groups(seeds: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [seeds[start : start + GROUP] for start in range(0, len(seeds), GROUP)]


@dataclass(frozen=True)
class LinearWidth:
    """The smallest inner width m at which every seed of a group reaches a loss in time, in the limit of small targets, by bisection.

    ℓ(t) = (1/n) Σ_i e^{−4 λ_i t/n} ⟨v_i, y⟩²,  λ_i and v_i the eigenpairs of the `tangent_kernel`

    Parameters move in proportion to y and the kernel with them, so that this is gradient flow up to a relative error of the size of y: the
    regime of Theorem 6, which asks for small targets.

    Rows: `rank`, n − d, the number of directions that A and B do not reach; `width`, the smallest one of `FINE_LADDER`, with the group as
    index, where there is one.

    Args:
        samples, inputs: n and d.
        horizon: flow time allowed.
        seeds: cut into groups of `GROUP`.
        goal: the loss to reach, relative to the first.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    samples: int
    inputs: int
    horizon: float
    seeds: tuple[int, ...]
    goal: float = 1e-4
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Bisect for every group."""
        data = strict_data(self.samples, inputs=self.inputs, target=1.0)
        drawn = draw_members(strict(1, inputs=self.inputs, width=1), data, seeds=self.seeds)
        context.provenance["data"] = checksum(drawn[1])
        yield {"quantity": "rank", "value": float(self.samples - self.inputs)}
        for index, group in enumerate(_groups(self.seeds)):
            width = smallest(FINE_LADDER, partial(self._passed, seeds=group))
            context.progress((index + 1) * GROUP / (len(self.seeds) + GROUP))
            if width is not None:
                yield {"quantity": "width", "index": index, "value": float(width)}

    def _passed(self, width: int, seeds: tuple[int, ...]) -> bool:
        return max(self.decay(width, seeds)) <= self.goal

    def decay(self, width: int, seeds: tuple[int, ...]) -> list[float]:
        """ℓ(t)/ℓ(0) of each seed at the horizon."""
        import torch

        network = strict(1, inputs=self.inputs, width=width)
        data = strict_data(self.samples, inputs=self.inputs, target=1.0)
        params, (x, y) = draw_members(network, data, seeds=seeds)
        eigenvalues, vectors = torch.linalg.eigh(tangent_kernel(network, params, x=x))
        shares = (vectors.mT @ y).squeeze(-1).square()
        left = shares * torch.exp(-4 / self.samples * self.horizon * eigenvalues.clamp_min(0))
        decays: list[float] = (left.sum(1) / shares.sum(1)).tolist()
        return decays

    def cost(self) -> Cost:
        """Six eigenvalue problems of size n for every seed, counted in layers of 16 samples."""
        return Cost(6 * len(self.seeds) * 20 * self.samples**3 / 16**3, 8e2 * self.samples**2, 1e4)

    def probe(self, context: Context) -> float:
        """From one group."""
        return seconds_for(self, dataclasses.replace(self, seeds=self.seeds[:GROUP]), context=context)


@dataclass(frozen=True)
class TrainedWidth:
    """The smallest inner width m at which every seed of a group reaches a loss in training, by bisection on `LADDER`.

    The bisection takes success to be monotone in m; what was seen at each width is kept in the rows. A width is trained once, all seeds
    as one ensemble, which a seed leaves when it reaches the loss or diverges.

    Rows: `width`, with the group as index, where there is one; for each width tried, as index, `missed`, the number of seeds that did not
    reach the loss, and `passage`, the flow time at which a seed did.

    Args:
        samples, inputs: n and d.
        target: standard deviation of the targets.
        horizon: flow time allowed.
        seeds: cut into groups of `GROUP`.
        goal: the loss to reach.
        depth, rate: L and the learning rate.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    samples: int
    inputs: int
    target: float
    horizon: float
    seeds: tuple[int, ...]
    goal: float = 1e-6
    depth: int = 4
    rate: float = 0.08
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Bisect for every group."""
        seen = self._resumed(context)
        for index, group in enumerate(_groups(self.seeds)):
            width = smallest(LADDER, partial(self._passed, group=group, seen=seen, context=context))
            if width is not None:
                yield {"depth": self.depth, "quantity": "width", "index": index, "value": float(width)}
        for width, times in sorted(seen.items()):
            missed = float(len(self.seeds) - len(times))
            yield {"depth": self.depth, "quantity": "missed", "index": width, "value": missed}
            for seed, reached in sorted(times.items()):
                yield {"depth": self.depth, "seed": seed, "quantity": "passage", "index": width, "value": reached}

    def passages(self, width: int, context: Context) -> dict[int, float]:
        """Seed -> the flow time at which it reaches the goal at a width; seeds that do not are absent."""
        network = strict(self.depth, inputs=self.inputs, width=width)
        data = strict_data(self.samples, inputs=self.inputs, target=self.target)
        params, batch = draw_members(network, data, seeds=self.seeds, device=context.device)
        context.provenance["data"] = checksum(batch)
        step = Step(network, GradientFlow(self.rate), engine=context.engine)
        state = step.start(params)
        found: dict[int, float] = {}
        left = list(self.seeds)
        while left and (now := state.iteration * self.rate) <= self.horizon:
            state, info = step(state, batch)
            reached = info.loss <= self.goal
            stays = ~reached & info.loss.isfinite()
            if not bool(stays.all()):
                found |= {seed: now for seed, yes in zip(left, reached.tolist(), strict=True) if yes}
                left = list(itertools.compress(left, stays.tolist()))
                state, batch = _kept(state, batch, members=stays)
        return found

    def cost(self) -> Cost:
        """About three widths for the whole time."""
        return Cost(3 * self.depth * len(self.seeds) * self.horizon / self.rate, 1e8, 1e5)

    def probe(self, context: Context) -> float:
        """From a fiftieth of the time at one width."""
        sample = dataclasses.replace(self, horizon=self.horizon / 50, goal=0.0)
        start = time.perf_counter()
        sample.passages(LADDER[len(LADDER) // 2], context)
        return 3 * 50 * (time.perf_counter() - start)

    def _passed(
        self, width: int, *, group: tuple[int, ...], seen: dict[int, dict[int, float]], context: Context
    ) -> bool:
        """Whether all of a group reach the goal at a width, which is trained where it was not yet."""
        if width not in seen:
            seen[width] = self.passages(width, context)
            context.progress(len(seen) / (len(LADDER) + 1))
            if context.checkpoint is not None:
                context.checkpoint.save({}, {"seen": [[m, list(times.items())] for m, times in seen.items()]})
        return seen[width].keys() >= set(group)

    def _resumed(self, context: Context) -> dict[int, dict[int, float]]:
        saved = context.checkpoint.load() if context.checkpoint is not None else None
        return {} if saved is None else {m: dict(times) for m, times in saved[1]["seen"]}


def _kept(state: State, batch: Batch, *, members: Tensor) -> tuple[State, Batch]:
    """The ensemble with these members alone."""
    params = {role: p[members] for role, p in state.params.items()}
    smaller = dataclasses.replace(state, params=params, alive=state.alive[members])
    return smaller, (batch[0][members], batch[1][members])


TRAINED_TIME = 1200.0
"""Flow time allowed in training."""

CLOCKS: dict[str, Callable[[int], float]] = {"10 n√n q": lambda n: 10 * scaled(n), "400 n": lambda n: 400.0 * n}
"""Flow times allowed in the limit of small targets: the clock of Theorem 6, and the one that μ ∼ 1/n suggests."""


def _width_tasks(settings: Settings) -> Iterator[Task]:
    """The limit of small targets at both clocks, and at the paper tier training."""
    seeds = settings.seeds()
    sizes = settings.pick(Tiered(quick=(16, 24, 32, 48, 64, 96, 128), paper=(16, 24, 32, 48, 64, 96, 128, 192, 256)))
    for n, (clock, horizon) in itertools.product(sizes, CLOCKS.items()):
        yield LinearWidth(n, half(n), horizon(n), seeds, labels={"samples": n, "clock": clock})
    for n in settings.pick(Tiered(quick=(), paper=(12, 16, 24, 32, 48))):
        labels: dict[str, Label] = {"samples": n, "clock": "training"}
        yield TrainedWidth(n, half(n), PL_TARGET, TRAINED_TIME, seeds, labels=labels)


def _width_exponent(clock: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in n of the smallest width, one curve per group of seeds."""

    def measure(rows: pl.DataFrame) -> Measured:
        fit = exponent(only(rows, quantity="width", clock=clock), "samples", by="index", minimum=0)
        return dataclasses.replace(fit, note=f"{fit.note} (groups of {GROUP} seeds)")

    return measure


def _width_panels(rows: pl.DataFrame) -> list[Panel]:
    """The smallest width against n in the limit of small targets; where there was training, that too and the times it took."""
    rank = only(rows, quantity="rank").unique(["samples"]).sort("samples")
    curves = [seed_band(only(rows, quantity="width", clock=clock), "samples", label=f"t = {clock}") for clock in CLOCKS]
    curves += [
        Curve(rank["samples"].to_list(), rank["value"].to_list(), "n − d", style="dashed"),
        guide(curves[0], 1.0),
    ]
    panels = [_width_panel(curves, "small targets")]
    if "training" in rows["clock"].to_list():
        own = only(rows, clock="training")
        trained = seed_band(
            only(own, quantity="width"), "samples", label=f"t = {TRAINED_TIME:g}, y of scale {PL_TARGET}"
        )
        panels += [
            _width_panel([trained, guide(trained, 1.0)], "training"),
            _passage_panel(only(own, quantity="passage")),
        ]
    return panels


def _width_panel(curves: list[Curve], title: str) -> Panel:
    return Panel(curves, "samples n", "smallest width m", title=title, xscale="log", yscale="log")


def _passage_panel(rows: pl.DataFrame) -> Panel:
    """The median time to the loss against the width."""
    import polars as pl

    medians = rows.group_by("samples", "index").agg(pl.col("value").median()).sort("samples", "index")
    parts = [(n, only(medians, samples=n)) for n in medians["samples"].unique(maintain_order=True)]
    curves = [Curve(part["index"].to_list(), part["value"].to_list(), f"n = {n}") for n, part in parts]
    return Panel(
        curves, "width m", "flow time to loss 1e-6", title="median of seeds that reach it", xscale="log", yscale="log"
    )


def _width_claim(name: str, clock: str, *, reach: str, tiers: tuple[str, ...] = ("quick", "paper")) -> Claim:
    return claim(
        f"15.{name}",
        "Linear width suffices: the smallest width at which every seed trains grows at most linearly with n.",
        where="Prop. 5; Theorem 6",
        quantity=f"exponent in n of the smallest width m at which all {GROUP} seeds of a group reach {reach}, d = n/2",
        measure=_width_exponent(clock),
        tiers=tiers,
        minimum_sample=5,
    )


WIDTH = Study(
    "smallest-width",
    title="The smallest width that trains",
    text=(
        "For each n the smallest inner width m is found by bisection at which all three seeds of a group train; five groups give five"
        " curves m(n), and the interval of the exponent is the t-interval over them. Theorem 6 speaks of the time n√n q, so that this"
        " is the clock by which linear width must suffice. In the limit of small targets the flow is solved exactly, and n can be"
        " large: m(n) stays above n − d, the number of directions that A and B leave to the layers. By the shorter clock 400 n, which"
        " μ ∼ 1/n suggests, it is nearly linear. By a clock that does not grow with n no theorem holds: at a rate μ ∼ 1/n the width"
        " must make up for ever less time. In training with targets of scale 0.1 (paper tier) A, B and W move enough to speed all this"
        " up: a handful of neurons per layer suffices wherever a width is found. At n = 32 some seeds do not reach the goal"
        " within flow time 1200 at any width: there time decides and not width, and the claim stays undecided."
    ),
    tasks=_width_tasks,
    replicates=5 * GROUP,
    figures=(
        Figure(
            "smallest-width",
            "The smallest width that trains",
            "In the limit of small targets the smallest width grows like n − d or more slowly; with targets that are not small training"
            " gets by with far less.",
            _width_panels,
        ),
    ),
    claims=(
        _width_claim(
            "smallest-width",
            "10 n√n q",
            reach="1e-4 of the first loss by flow time 10 n√n q, in the limit of small targets",
        ),
        _width_claim(
            "smallest-width-short",
            "400 n",
            reach="1e-4 of the first loss by flow time 400 n, in the limit of small targets",
        ),
        _width_claim(
            "smallest-width-trained",
            "training",
            reach=f"loss 1e-6 by flow time {TRAINED_TIME:g} in training, targets of scale {PL_TARGET}",
            tiers=("paper",),
        ),
    ),
)
