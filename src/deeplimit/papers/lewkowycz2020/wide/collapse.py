"""How Theorem 2 ends at finite width: whether f tends to 0 is decided by a threshold of λ that falls like n^(−1/2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.papers.lewkowycz2020.wide.chain import Chain, collapse_decay
from deeplimit.papers.lewkowycz2020.wide.common import (
    REPLICATES,
    Measure,
    against_clock,
    claim,
    extreme,
    mean_of_rows,
)
from deeplimit.papers.lewkowycz2020.wide.kernel import DECAY, RATE
from deeplimit.papers.lewkowycz2020.wide.training import INPUTS, Problem, WideTraining
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import seconds_for, seed_band
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import checksum

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Collapse:
    """Two-layer ReLU networks under coefficients in units of the λ_c of `collapse_decay`, trained for long.

    Rows by seed: `rest`, ‖f‖/‖y‖ on the training points at the end, with λ/λ_c in the column `share`.

    Args:
        width: n.
        shares: λ/λ_c.
        step: η λ.
        steps: how many of them.
        seeds: one network and one data set each.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    width: int
    shares: tuple[float, ...]
    step: float
    steps: int
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Train the seeds at one coefficient after the other."""
        problem = Problem(self.seeds)
        context.provenance["data"] = checksum((problem.points, problem.y))
        chain = Chain(2, self.width, INPUTS)
        threshold = collapse_decay(problem.x, problem.y, width=self.width)
        for i, share in enumerate(self.shares):
            context.progress(i / len(self.shares))
            weights, decay = chain.draw(problem.streams), share * threshold
            for _ in range(self.steps):
                chain.step(weights, problem.x, y=problem.y, learning_rate=self.step / decay, weight_decay=decay)
            rest = chain.signals(weights, problem.x).values.norm(dim=1) / problem.y.norm(dim=1)
            for seed, value in zip(self.seeds, rest.tolist(), strict=True):
                yield {"seed": seed, "quantity": "rest", "share": share, "value": value}

    def cost(self) -> Cost:
        """Multiplications of every step."""
        weights = self.width * (INPUTS + 1) * len(self.seeds)
        return Cost((weights + 2e4) * self.steps * len(self.shares) / 16**2, 32.0 * weights, 1e5)

    def probe(self, context: Context) -> float:
        """From the first steps."""
        return seconds_for(self, dataclasses.replace(self, steps=max(self.steps // 20, 1)), context=context)


MEASURED = (0, 50, 100, 200, 300, 400, 600, 800, 1000, 1200, 1600, 2000, 2400)
"""Iterations with the η and λ of the study before: up to λt = 6, at which the kernel should be down to 6e-6."""

WIDTHS: Tiered[tuple[int, ...]] = Tiered(quick=(256, 1024), paper=(256, 1024, 4096))
SHARES = (0.5, 0.7, 0.85, 1.2, 1.5, 2.0)
COLLAPSE_WIDTHS: Tiered[tuple[int, ...]] = Tiered(quick=(64,), paper=(64, 256))


def _tasks(settings: Settings) -> Iterator[Task]:
    """Long runs at the λ of the study before, and runs around the threshold."""
    for width in settings.pick(WIDTHS):
        chain = Chain(2, width, INPUTS)
        yield WideTraining(chain, DECAY, RATE, MEASURED, settings.seeds(0), labels={"width": width, "part": "long"})
    for width in settings.pick(COLLAPSE_WIDTHS):
        labels: dict[str, Label] = {"width": width, "part": "threshold"}
        yield Collapse(width, SHARES, 0.01, 2500, settings.seeds(0), labels=labels)


def _at_end(quantity: str, width: int) -> Measure:
    """The mean over seeds at the end of the long runs."""

    def measure(rows: pl.DataFrame) -> Measured:
        return mean_of_rows(only(rows, quantity=quantity, width=width, iteration=MEASURED[-1]))

    return measure


def _above(rows: pl.DataFrame) -> Measured:
    import polars as pl

    return extreme("largest", only(rows, quantity="rest").filter(pl.col("share") > 1))


def _below(rows: pl.DataFrame) -> Measured:
    import polars as pl

    return extreme("least", only(rows, quantity="rest").filter(pl.col("share") < 1))


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """Kernel and function for long, and what is left around the threshold."""
    widths = sorted(only(rows, part="long")["width"].unique())
    kernels = [against_clock(rows, "kernel", label=f"n = {width}", width=width) for width in widths]
    x = kernels[0].x
    law = Curve(x, [float((1 - DECAY * RATE) ** (2 * t / (DECAY * RATE))) for t in x], "infinite width", style="dashed")
    sizes = [against_clock(rows, "size.train", label=f"n = {width}", width=width) for width in widths]
    flow = against_clock(rows, "size.flow.train", label="", width=widths[-1])
    rests = only(rows, part="threshold")
    return [
        Panel([*kernels, law], "λt", "‖Θ(t)‖ / ‖Θ(0)‖", title="kernel", yscale="log"),
        Panel(
            [*sizes, Curve(flow.x, flow.y, "infinite width", style="dashed")],
            "λt",
            "‖f‖ / ‖y‖ per point",
            title="function, training points",
        ),
        Panel(
            [seed_band(only(rests, width=n), "share", label=f"n = {n}") for n in sorted(rests["width"].unique())],
            "λ / λc",
            "‖f‖ / ‖y‖ at λt = 25",
            title="around the threshold",
            yscale="log",
        ),
    ]


COLLAPSE = Study(
    "wide-collapse",
    title="Networks of finite width and large times",
    text=(
        "At infinite width the function vanishes as t → ∞ for every λ > 0. A network of finite width leaves the law once its kernel has"
        " become small: the terms of order 1/n are then the larger ones, features are learned, and the function stays. Whether it stays is"
        " decided by λ_c = √(2/(nd)) · max over ‖w‖ = 1 of |Σ y max(w·x, 0)|, which we derive for two layers: above it every start decays,"
        " below it f = 0 is unstable. As λ_c falls like n^(−1/2), the limit of the theorem holds at any λ from some width on, and fails for"
        " small λ at any width."
    ),
    tasks=_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "wide-collapse",
            "Late, the theory of infinite width fails",
            "Mean and range over seeds at λ = 0.05, below the λc of n = 256 and 1024. Right: ends of long runs at coefficients around λc.",
            _panels,
        ),
    ),
    claims=(
        claim(
            "late.kernel",
            "The kernel's law for infinite width, taken for a network of width 256 at large times.",
            quantity="relative distance of ‖Θ‖/‖Θ(0)‖ from the law at 2λt = 12, n = 256, λ = 0.05",
            measure=_at_end("kernel.gap", 256),
            band=(0.0, 0.05),
            relation="at most",
            expected_ruling="not reproduced",
        ),
        claim(
            "late.function",
            "The function tends to 0 as t → ∞, taken for a network of width 256.",
            where="Theorem 2",
            quantity="‖f‖/‖y‖ on the training points at λt = 6, n = 256, λ = 0.05 (infinite width: below 0.01)",
            measure=_at_end("size.train", 256),
            band=(0.0, 0.05),
            relation="at most",
            expected_ruling="not reproduced",
        ),
        claim(
            "late.flow",
            "At infinite width it has nearly vanished by then.",
            where="Theorem 2",
            quantity="‖f‖/‖y‖ at infinite width from the same starts at λt = 6, λ = 0.05",
            measure=_at_end("size.flow.train", 256),
            band=(0.0, 0.05),
            relation="at most",
        ),
        claim(
            "threshold.above",
            "Above λc a network of finite width tends to f = 0.",
            where="of our own",
            source="derived",
            quantity="largest ‖f‖/‖y‖ on the training points at λt = 25, λ ≥ 1.2 λc",
            measure=_above,
            band=(0.0, 0.01),
            relation="at most",
        ),
        claim(
            "threshold.below",
            "Below it does not.",
            where="of our own",
            source="derived",
            quantity="least ‖f‖/‖y‖ on the training points at λt = 25, λ ≤ 0.85 λc",
            measure=_below,
            band=(0.02, 0.0),
            relation="at least",
        ),
    ),
)
