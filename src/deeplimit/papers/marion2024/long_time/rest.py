"""Row 17 of the checklist: rest, with the constants of Prop. 8."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deeplimit import theory
from deeplimit.claims import Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.measures import At, Drift, Every, Loss, Measure, PLRatio
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import REPLICATES
from deeplimit.papers.marion2024.long_time.double_limit import NAMES, Settling
from deeplimit.papers.marion2024.long_time.strict import claim, largest_of, strict, strict_data
from deeplimit.study import Study, Tiered
from deeplimit.training import GradientFlow

if TYPE_CHECKING:
    import polars as pl


SNAPSHOTS = 40
RADII = tuple(10 ** (k / 20) for k in range(-400, 1))
"""Radii M that Prop. 8 is tried with, a twentieth of a decade apart."""

ABOVE_ROUNDING = 1e-26
"""The PL ratio and the distances are read while the loss is above this part of the first one."""

Reach = Literal["ball", "printed"]


@dataclass(frozen=True)
class Rest:
    """A run that comes to rest: n, d, m, the scale of the targets, the flow time and the learning rate."""

    samples: int
    inputs: int
    width: int
    target: float
    horizon: float
    rate: float

    @property
    def every(self) -> int:
        """Iterations between two kept sets of parameters, a multiple of 10."""
        return 10 * round(self.horizon / self.rate / SNAPSHOTS / 10)

    @property
    def at(self) -> At:
        """Iterations at which parameters are kept."""
        return At(tuple(range(0, SNAPSHOTS * self.every + 1, self.every)))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Loss and ratio ten times as often as the parameters."""
        often = Every(self.every // 10)
        return (Loss(often), PLRatio(often), Drift(At((0,))), Settling(self.at))


RESTS = {
    "n = 4, y 1e-5": Rest(4, 6, 8, 1e-5, 60.0, 0.05),
    "n = 4, y 1e-15": Rest(4, 6, 8, 1e-15, 60.0, 0.05),
    "n = 8, y 1e-6": Rest(8, 6, 32, 1e-6, 4000.0, 0.1),
}
PRINTED_CASE = "n = 4, y 1e-15"


@dataclass(frozen=True)
class Suprema:
    """Bounds on the first derivatives of f where V = 0 at the start, |σ| ≤ 1 and |σ′| ≤ 1.

    With ‖V‖ ≤ v, ‖W‖ ≤ w and ‖h‖ ≤ e^{K₁} M_A M_X:  ‖∂₁f‖ ≤ K₁ = v w/√(qm),  ‖∂₂f‖ ≤ K₂ = max(1, v ‖h‖/√(qm)),  K = max(K₁, K₂)

    Over the ball of radius M around the start, which the proof of Prop. 8 does not leave, v = M and w = ‖W(0)‖_F + M. As printed (Prop. 7)
    the suprema are over all ‖V‖ + ‖W‖ ≤ M_Z = ‖W(0)‖_F + M, so that v ≤ M_Z and v w ≤ M_Z²/4, and e^K is larger by many orders.

    Args:
        case: sizes.
        start: ‖W(0)‖_F.
        reach: over the ball, or as printed.
    """

    case: Rest
    start: float
    reach: Reach

    def ball(self, radius: float) -> theory.Ball:
        """The constants of Prop. 8 at radius M."""
        state, total = self.case.inputs + 1, self.start + radius
        v, product = (radius, radius * total) if self.reach == "ball" else (total, total**2 / 4)
        first = product / math.sqrt(state * self.case.width)
        height = math.exp(first) * (1 + radius) * math.sqrt(state)
        largest = max(first, 1.0, v * height / math.sqrt(state * self.case.width))
        return theory.Ball(1 + radius, 1 + radius, math.sqrt(state), largest)

    def threshold(self, radius: float, loss: float) -> float:
        """The μ of Prop. 8 at radius M and initial loss ℓ(0)."""
        return theory.pl_threshold(self.ball(radius), radius=radius, initial_loss=loss)


@dataclass(frozen=True)
class Rested:
    """What a run left: its case, ‖W(0)‖_F, ℓ(0), the least PL ratio, the last time above rounding, and its rows."""

    case: Rest
    start: float
    loss: float
    mu: float
    until: float
    rows: pl.DataFrame

    def least_threshold(self, reach: Reach) -> float:
        """The least μ of Prop. 8 over all radii."""
        suprema = Suprema(self.case, self.start, reach)
        return min(suprema.threshold(radius, self.loss) for radius in RADII)

    @property
    def radius(self) -> float:
        """M: the smallest radius whose threshold the measured μ reaches, with suprema over the ball.

        Raises:
            LookupError: there is none.
        """
        suprema = Suprema(self.case, self.start, "ball")
        for radius in RADII:
            if suprema.threshold(radius, self.loss) <= self.mu:
                return radius
        raise LookupError(f"the measured ratio {self.mu:g} is below the threshold of Prop. 8 at every radius")

    def bound(self, when: float) -> float:
        """(M/2) e^{−μt/2}."""
        return theory.parameter_distance_bound(when, radius=self.radius, mu=self.mu)


def _rested(rows: pl.DataFrame) -> Iterator[Rested]:
    """Every run."""
    import polars as pl

    for own in only(rows, quantity="norm.W").iter_rows(named=True):
        run, case = only(rows, case=own["case"], seed=own["seed"]), RESTS[own["case"]]
        losses = only(run, quantity="loss").sort("iteration")
        first = losses["value"][0]
        above = losses.filter(pl.col("value") > ABOVE_ROUNDING * first)["iteration"]
        ratios = only(run, quantity="pl").filter(pl.col("iteration").is_in(above.to_list()))
        yield Rested(case, own["value"], first, min(ratios["value"]), case.rate * max(above), run)


def _condition(reach: Reach) -> Callable[[pl.DataFrame], Measured]:
    """The least threshold of Prop. 8 relative to the measured μ."""

    def measure(rows: pl.DataFrame) -> Measured:
        chosen = rows if reach == "ball" else only(rows, case=PRINTED_CASE)
        return largest_of([run.least_threshold(reach) / run.mu for run in _rested(chosen)], "cases and seeds")

    return measure


def _way(rows: pl.DataFrame) -> Measured:
    """The longest way from the start, relative to M/2."""
    ways = [
        max(max(only(run.rows, quantity=f"moved.{name}")["value"]) for name in NAMES) / run.bound(0.0)
        for run in _rested(rows)
    ]
    return largest_of(ways, "cases and seeds of the largest over times, A, B and layers")


def _rate(rows: pl.DataFrame) -> Measured:
    """The largest distance to the end of the run relative to (M/2) e^{−μt/2}, in the first half of the time."""
    worst = [max(max(_relative_distances(run, name)) for name in NAMES) for run in _rested(rows)]
    return largest_of(
        worst,
        "cases and seeds of the largest over times up to half of the run (whose end stands for the limit), A, B and layers",
    )


def _relative_distances(run: Rested, name: str) -> Iterator[float]:
    """Distances to the end of the run relative to the bound."""
    rest = only(run.rows, quantity=f"rest.{name}")
    for iteration, distance in zip(rest["index"], rest["value"], strict=True):
        when = run.case.rate * iteration
        if 0 < when <= min(run.until, run.case.horizon / 2):
            yield distance / run.bound(when)


def _rest_panels(rows: pl.DataFrame) -> list[Panel]:
    """A, B and the layers against time with the bound, one panel per case, first seed."""
    return [_rest_panel(only(rows, case=case), case) for case in rows["case"].unique(maintain_order=True)]


def _rest_panel(rows: pl.DataFrame, case: str) -> Panel:
    run = next(_rested(only(rows, seed=min(rows["seed"]))))
    curves = []
    for name, label in NAMES.items():
        rest = only(run.rows, quantity=f"rest.{name}").sort("index")
        kept = rest.filter(rest["index"] * run.case.rate <= run.until)
        curves.append(Curve((run.case.rate * kept["index"]).to_list(), kept["value"].to_list(), label))
    bound = [run.bound(when) for when in curves[0].x]
    curves.append(Curve(curves[0].x, bound, "(M/2) e^(−μt/2)", style="dashed"))
    return Panel(curves, "flow time t", "distance to the end of the run", title=case, yscale="log")


REST = Study(
    "rest",
    title="The parameters come to rest",
    text=(
        "Prop. 8 with its own constants. Targets are so small that the least PL ratio of a run, μ, is above the threshold that the"
        " proposition derives from the radius M, ℓ(0) and suprema K of derivatives; M is the smallest radius for which it is. With the"
        " suprema taken over the ball of radius M, which the proof does not leave, K is 1 and targets of scale 1e-5 do. As printed they"
        " are taken over all weights of norm M_Z: then e^K is so large that targets of 1e-15 are needed, even with m = 8."
        " Four samples in six dimensions; at the paper tier also eight, more than A and B can fit."
    ),
    grid={"case": Tiered(quick=dict(itertools.islice(RESTS.items(), 2)), paper=RESTS)},
    replicates=REPLICATES,
    network=lambda case: strict(8, inputs=case.inputs, width=case.width),
    data=lambda case: strict_data(case.samples, inputs=case.inputs, target=case.target),
    optimizer=lambda case: GradientFlow(case.rate),
    iterations=lambda case: case.at.iterations[-1],
    measures=lambda case: case.measures,
    figures=(
        Figure(
            "rest",
            "Distance to the limit",
            "Embedding, read-out and layers approach their limits at the rate of the bound or faster, well below it.",
            _rest_panels,
        ),
    ),
    claims=(
        claim(
            "17.condition",
            "With small enough targets the condition of Prop. 8 holds.",
            where="Prop. 8",
            quantity="least threshold over radii M, suprema over the ball of radius M, relative to the least PL ratio",
            measure=_condition("ball"),
        ),
        claim(
            "17.condition-as-printed",
            "So it does with the suprema as printed, over all weights of norm M_Z, for targets of scale 1e-15.",
            where="Prop. 8; Prop. 7",
            quantity="least threshold over radii M, suprema over ‖V‖ + ‖W‖ ≤ M_Z, relative to the least PL ratio",
            measure=_condition("printed"),
        ),
        claim(
            "17.ball",
            "No parameter moves by more than M/2.",
            where="Prop. 8 (i)",
            quantity="largest distance of A, B or a layer from its start relative to M/2, M the smallest radius that Prop. 8 gives",
            measure=_way,
        ),
        claim(
            "17.rate",
            "The parameters converge exponentially: ‖A_∞ − A(t)‖ ≤ (M/2) e^(−μt/2), and so do B and the layers.",
            where="Prop. 8 (iv)",
            quantity="largest distance to the limit relative to (M/2) e^(−μt/2), μ the least PL ratio of the run",
            measure=_rate,
        ),
    ),
)
