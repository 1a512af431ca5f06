"""The clock of λ: half-lives of the function against 1/λ, and linear models, which have none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.limits import HomogeneousFlow
from deeplimit.papers.lewkowycz2020.wide.chain import Chain
from deeplimit.papers.lewkowycz2020.wide.common import REPLICATES, against_clock, claim, extreme, mean_largest
from deeplimit.papers.lewkowycz2020.wide.training import INPUTS, WideTraining
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import seconds_for, seed_band
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl

STEP = 0.008
"""η λ of the runs for half-lives."""

DECAYS = Tiered(quick=(0.1, 0.2, 0.4, 0.8), paper=(0.05, 0.1, 0.2, 0.4))
WIDTH = Tiered(quick=4096, paper=16384)
LAST = 2.4
"""λt at the end of them."""

RIDGE_DECAY, RIDGE_RATE, RIDGE_STEPS = 0.5, 0.05, (0, 10, 20, 40, 80, 160, 320, 1600)

THEORY = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""λ at which closed forms are evaluated."""


@dataclass(frozen=True)
class ModeClock:
    """Half-lives of a single mode at infinite width, in closed form.

    Rows: `mode.half-life`, with k in the column `degree` and λ in `decay`; `mode.slope`, the exponent between that λ and the next.

    Args:
        eigenvalue: g.
        degrees: k, at least 2.
        decays: λ, increasing.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    eigenvalue: float
    degrees: tuple[int, ...]
    decays: tuple[float, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Evaluate."""
        from deeplimit.fits import local_exponents

        for k in self.degrees:
            lives = [HomogeneousFlow(k, decay).half_life(self.eigenvalue) for decay in self.decays]
            slopes = local_exponents(self.decays, lives).tolist()
            for quantity, values in (("mode.half-life", lives), ("mode.slope", slopes)):
                for decay, value in zip(self.decays, values, strict=False):
                    yield {"seed": 0, "degree": k, "decay": decay, "quantity": quantity, "value": value}

    def cost(self) -> Cost:
        """Next to nothing."""
        return Cost(float(len(self.degrees) * len(self.decays)))

    def probe(self, context: Context) -> float:
        """From the first degree."""
        return seconds_for(self, dataclasses.replace(self, degrees=self.degrees[:1]), context=context)


def _tasks(settings: Settings) -> Iterator[Task]:
    """The closed form, networks of two layers at several λ, and a linear model."""
    yield ModeClock(10.0, (2, 3), THEORY)
    width = settings.pick(WIDTH)
    for decay in settings.pick(DECAYS):
        yield WideTraining(
            Chain(2, width, INPUTS),
            decay,
            STEP / decay,
            (round(LAST / STEP),),
            settings.seeds(0),
            halving=True,
            labels={"decay": decay, "width": width},
        )
    yield WideTraining(
        Chain(1, 1, INPUTS), RIDGE_DECAY, RIDGE_RATE, RIDGE_STEPS, settings.seeds(0), labels={"layers": 1}
    )


def _mode_slopes(rows: pl.DataFrame) -> Measured:
    """All exponents between successive λ, of both degrees."""
    slopes = only(rows, quantity="mode.slope")["value"].to_list()
    return Measured(sum(slopes) / len(slopes), min(slopes), max(slopes), len(slopes), "mean; range over λ and degrees")


def _exponent(rows: pl.DataFrame) -> Measured:
    return exponent(only(rows, quantity="half-life"), "decay", minimum=0.0)


def _ratio(rows: pl.DataFrame) -> Measured:
    """The largest |ratio − 1| of half-lives to those of the flow."""
    import polars as pl

    found, flow = (only(rows, quantity=name) for name in ("half-life", "half-life.flow"))
    both = found.join(flow.select("seed", "decay", flow="value"), on=["seed", "decay"])
    return extreme("largest", both.with_columns(value=(pl.col("value") / pl.col("flow") - 1).abs()))


def _ridge(rows: pl.DataFrame) -> Measured:
    """The distance from ridge regression, to which the flow has come within rounding, at the end."""
    return extreme("largest", only(rows, layers=1, quantity="gap.train", iteration=RIDGE_STEPS[-1]))


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """λ times half-life for modes and networks; a linear model."""
    modes = only(rows, quantity="mode.half-life")
    curves = []
    for k in (2, 3):
        own = only(modes, degree=k)
        scaled = (own["value"] * own["decay"]).to_list()
        curves.append(Curve(own["decay"].to_list(), scaled, f"one mode, g = 10, k = {k}"))
    for name, style in (("half-life", "markers"), ("half-life.flow", "dotted")):
        own = only(rows, quantity=name)
        mean = seed_band(own.with_columns(value=own["value"] * own["decay"]), "decay", label="")
        label = f"networks, k = 2, n = {own['width'][0]}" if style == "markers" else "their flows"
        curves.append(Curve(mean.x, mean.y, label, style="markers" if style == "markers" else "dotted"))
    linear = only(rows, layers=1, seed=0)
    linear = linear.filter(linear["clock"] > 0)
    ridge = [against_clock(linear, quantity, label="") for quantity in ("size.train", "size.flow.train")]
    return [
        Panel(curves, "λ", "λ × half-life", title="forgetting", xscale="log"),
        Panel(
            [
                Curve(ridge[0].x, ridge[0].y, "linear model"),
                Curve(ridge[1].x, ridge[1].y, "closed form", style="dashed"),
            ],
            "λt",
            "‖f‖ / ‖y‖ per point",
            title="k = 1: nothing is forgotten",
            xscale="log",
        ),
    ]


CLOCK = Study(
    "wide-clock",
    title="The function is forgotten after 1/λ times a logarithm",
    text=(
        "Half-lives of the function, the last time at which its overlap with the targets is half of the most that the flow from f = 0"
        " reaches: in closed form for one mode over four decades of λ, and in trained networks of two layers against the flow from the"
        " same start. λ has to stay above"
        " the λc of the study of large times, below which a network of that width forgets nothing. The half-life is ln(g/λ)/λ up to"
        " constants, so that its apparent exponent in λ is steeper than −1. A linear model is the comparison: its kernel stays, and it"
        " ends at ridge regression."
    ),
    tasks=_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "wide-clock",
            "Half-lives are 1/λ up to a logarithm",
            "A pure 1/λ would be level on the left. Networks, mean over seeds, mix modes of smaller g than the one drawn."
            " Right: k = 1 ends at ridge regression, one seed.",
            _panels,
        ),
    ),
    claims=(
        claim(
            "clock.modes",
            "Times on which the function decays are proportional to 1/λ.",
            where="remark after Theorem 1",
            source="derived",
            quantity="exponent in λ of the half-life of a mode at infinite width, g = 10, k = 2 and 3, λ = 1e-5…0.1, per decade",
            measure=_mode_slopes,
            band=(-1.0, 0.2),
        ),
        claim(
            "clock.networks",
            "The half-life of trained networks is proportional to 1/λ, up to the same logarithm.",
            where="remark after Theorem 1",
            quantity="exponent in λ of the half-life, two layers of ReLU",
            measure=_exponent,
            band=(-1.0, 0.2),
        ),
        claim(
            "clock.flow",
            "It is that of the flow at infinite width.",
            where="Theorems 1 and 2",
            source="derived",
            quantity="largest |half-life / half-life of the flow − 1| over seeds and λ, two layers of ReLU",
            measure=_ratio,
            band=(0.0, 0.05),
            relation="at most",
        ),
        claim(
            "linear.kernel",
            "The kernel of a linear model does not change.",
            source="derived",
            quantity="largest |‖Θ‖/‖Θ(0)‖ − 1|, k = 1",
            measure=mean_largest("kernel.gap", until=RIDGE_STEPS[-1], layers=1),
            band=(0.0, 1e-12),
            relation="at most",
        ),
        claim(
            "linear.ridge",
            "A linear model ends at ridge regression, y g/(g + λ) in every mode.",
            source="derived",
            quantity="largest ‖f − f_ridge‖/‖f_ridge‖ on training points at λt = 40, λ = 0.5",
            measure=_ridge,
            band=(0.0, 1e-6),
            relation="at most",
        ),
    ),
)
