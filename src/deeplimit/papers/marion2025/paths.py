"""Figure 6: fractional Brownian motion, the family of weights between rough and smooth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Claim, Measured
from deeplimit.draws import NamedDraw
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import seconds_for
from deeplimit.papers.marion2025.common import claim
from deeplimit.processes import FractionalBrownianMotion
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study

if TYPE_CHECKING:
    import polars as pl

HURST = (0.2, 0.5, 0.8)
STEPS = 1000
LAGS = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class MotionPaths:
    """Paths of fractional Brownian motion, and the size of their increments.

    Rows: `path`, the first path of the first seed, with the step as index; `increment`, for each seed with the lag as index, the root mean
    square of B(s + lag/N) − B(s) over s and paths.

    Args:
        hurst: H.
        seeds: one stream each.
        steps: N.
        paths: paths per seed.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    hurst: float
    seeds: tuple[int, ...]
    steps: int = STEPS
    paths: int = 200
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Draw and measure."""
        process = FractionalBrownianMotion(self.hurst, finest=self.steps)
        for seed in self.seeds:
            values = process.sample((self.paths,), NamedDraw().stream(seed).generator("B"))(self.steps)
            if seed == self.seeds[0]:
                for k, value in enumerate([0.0, *values[:, 0].tolist()]):
                    yield {"seed": seed, "quantity": "path", "index": k, "value": value}
            for lag in LAGS:
                size = (values[lag:] - values[:-lag]).square().mean().sqrt().item()
                yield {"seed": seed, "quantity": "increment", "index": lag, "value": size}

    def cost(self) -> Cost:
        """Counted in layers of a network of width 40, of 3200 numbers each."""
        numbers = self.steps * self.paths * len(self.seeds)
        return Cost(numbers / 3200, 50.0 * self.steps * self.paths, 1e5)

    def probe(self, context: Context) -> float:
        """From one seed."""
        return seconds_for(self, dataclasses.replace(self, seeds=self.seeds[:1]), context=context)


def _tasks(settings: Settings) -> Iterator[Task]:
    for hurst in HURST:
        yield MotionPaths(hurst, settings.seeds(0), labels={"hurst": hurst})


def _exponent(hurst: float) -> Callable[[pl.DataFrame], Measured]:
    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(only(rows, hurst=hurst, quantity="increment"), "index", minimum=1)

    return measure


def _claims() -> Iterator[Claim]:
    for hurst in HURST:
        yield claim(
            f"fbm.exponent-{hurst}",
            f"Increments of a path of Hurst index {hurst} grow like the lag to the power {hurst}.",
            where="Fig. 6; definition of fractional Brownian motion",
            quantity="exponent of the root mean square increment in the lag, 1 to 100 steps of 1000",
            measure=_exponent(hurst),
            expected=hurst,
            tolerance=0.02,
            source="theorem",
            minimum_sample=5,
        )


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """One path for each index."""
    panels = []
    for hurst in HURST:
        path = only(rows, hurst=hurst, quantity="path").sort("index")
        curve = Curve([k / STEPS for k in path["index"]], path["value"].to_list())
        panels.append(Panel([curve], "s", "B(s)", title=f"H = {hurst}"))
    return panels


STUDIES = (
    Study(
        "fbm",
        title="Paths between rough and smooth",
        text=(
            "Fractional Brownian motion, exact in law by circulant embedding. Weights of the phase diagram are its increments, scaled to"
            " variance 1: independent for H = ½, and the smoother the closer H is to 1."
        ),
        tasks=_tasks,
        replicates=9,
        figures=(
            Figure(
                "figure6",
                "Fractional Brownian motion",
                "One path of 1000 steps each, made of the same random numbers.",
                _panels,
                where="Figure 6",
            ),
        ),
        claims=tuple(_claims()),
    ),
)
