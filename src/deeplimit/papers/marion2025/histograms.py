"""Figure 2: the law of the last state and of the first gradient at β = ½ (row 14 of the checklist)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit import theory
from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2025.common import AXES, claim, over_blocks, root_mean_square
from deeplimit.papers.marion2025.conditional import ConditionalRuns
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

WIDTH, DEPTH = 100, 1000
RUNS = Tiered(quick=4_000, paper=20_000)
_PART = 2_000
"""Runs of one task, a few seconds each."""


def _tasks(settings: Settings) -> Iterator[Task]:
    """Runs in parts."""
    for first in range(0, settings.pick(RUNS), _PART):
        yield ConditionalRuns(DEPTH, WIDTH, _PART, 0, first=first, gradients=True)


def _over_runs(quantity: str, statistic: Callable[[Values], float], note: str) -> Callable[[pl.DataFrame], Measured]:
    def measure(rows: pl.DataFrame) -> Measured:
        return over_blocks(only(rows, quantity=quantity)["value"], statistic, note=note)

    return measure


def _mean(values: Values) -> float:
    return float(values.mean())


def _sd(values: Values) -> float:
    return float(values.std(ddof=1))


def _quantile(share: float) -> Callable[[Values], float]:
    import numpy as np

    return lambda values: float(np.quantile(values, share))


def _of_logarithm(statistic: Callable[[Values], float]) -> Callable[[Values], float]:
    import numpy as np

    return lambda values: statistic(np.log(values))


def _power_mean(power: int) -> Callable[[Values], float]:
    return lambda values: float((values**power).mean())


def _difference(rows: pl.DataFrame) -> Measured:
    """Mean of the gradient's ratio minus that of the state's, run by run."""
    both = [only(rows, quantity=quantity).sort("index")["value"].to_numpy() for quantity in ("gradient", "output")]
    return over_blocks(both[0] - both[1], _mean, note="mean over runs of the difference")


def _outside(delta: float) -> Callable[[pl.DataFrame], Measured]:
    """The share of runs outside of the bounds that hold with probability 1 − δ."""

    def outside(ratios: Values) -> float:
        low = math.exp(3 / 8 - math.sqrt(22 / (WIDTH * delta))) - 1
        high = math.exp(1 + math.sqrt(10 / (WIDTH * delta))) + 1
        return float(((ratios**2 < low) | (ratios**2 > high)).mean())

    return _over_runs("output", outside, f"share of runs outside of the bounds with δ = {delta:g}")


LOG_MEAN, LOG_SD = theory.relu_log_growth(WIDTH)


def _moments() -> Iterator[Claim]:
    """The law of ‖h_L‖/‖h_0‖: what was measured before, what is exact, and the limit."""
    growth = "‖h_L‖/‖h_0‖ over runs, d = 100, L = 1000"
    rows: tuple[tuple[str, str, Callable[[Values], float], float, float, str, tuple[str, ...]], ...] = (
        ("mean", "mean", _mean, 1.280, 0.004, "measured", ("paper",)),
        ("sd", "standard deviation", _sd, 0.091, 0.004, "measured", ("paper",)),
        ("log-mean", "mean of the logarithm", _of_logarithm(_mean), LOG_MEAN, 0.004, "derived", ("quick", "paper")),
        ("log-sd", "sd of the logarithm", _of_logarithm(_sd), LOG_SD, 0.003, "derived", ("paper",)),
        ("mean-square", "mean square", _power_mean(2), math.exp(0.5), 0.015, "derived", ("quick", "paper")),
        (
            "fourth-moment",
            "mean of the fourth power",
            _power_mean(4),
            theory.relu_fourth_growth(DEPTH, width=WIDTH, beta=0.5),
            0.06,
            "derived",
            ("quick", "paper"),
        ),
        ("low", "5 % quantile", _quantile(0.05), _lognormal(-1), 0.01, "derived", ("paper",)),
        ("high", "95 % quantile", _quantile(0.95), _lognormal(1), 0.01, "derived", ("paper",)),
    )
    for name, word, statistic, expected, tolerance, source, tiers in rows:
        yield claim(
            f"14.{name}",
            "At β = 1/2 the norm of the last state is close to lognormal.",
            where="Fig. 2",
            quantity=f"{word} of {growth}",
            measure=_over_runs("growth", statistic, word),
            expected=expected,
            tolerance=tolerance,
            source=source,
            tiers=tiers,
        )


def _lognormal(side: int) -> float:
    """The 5 % or 95 % quantile of the limit."""
    return math.exp(LOG_MEAN + side * 1.6449 * LOG_SD)


def _gradients() -> Iterator[Claim]:
    yield claim(
        "14.gradient-rms",
        "The gradient's ratio has the same root mean square as the state's, √((1 + 1/(2L))^L − 1).",
        where="Fig. 2",
        quantity="root mean square of ‖p_0 − p_L‖/‖p_L‖ over runs, d = 100, L = 1000",
        measure=_over_runs("gradient", root_mean_square, "root mean square"),
        expected=theory.relu_ratio(DEPTH, beta=0.5),
        tolerance=0.01,
        source="derived",
    )
    yield claim(
        "14.gradient-as-output",
        "The gradient's ratio has the law of the state's.",
        where="Fig. 2",
        quantity="mean over runs of the gradient's ratio minus the state's",
        measure=_difference,
        expected=0.0,
        tolerance=0.01,
        source="derived",
    )


def _bounds() -> Iterator[Claim]:
    yield claim(
        "14.bounds",
        "At β = 1/2, with probability at least 1 − δ: exp(3/8 − √(22/(dδ))) − 1 < ratio² < exp(1 + √(10/(dδ))) + 1.",
        where="theorem on independent weights (constants not verified in the text)",
        quantity="share of runs outside, δ = 1/2",
        measure=_outside(0.5),
        expected=0.5,
        tolerance=0.0,
        source="unverified",
        relation="at most",
    )
    for name, edge, relation in (("lower", math.sqrt(math.e) - 1, "at least"), ("upper", math.e**4 - 1, "at most")):
        yield claim(
            f"14.gradient-{name}-bound",
            "At β = 1/2: e^{1/2} − 1 ≤ E ‖p_0 − p_L‖²/‖p_L‖² ≤ e⁴ − 1.",
            where="theorem on independent weights (constants not verified in the text)",
            quantity="mean square of the gradient's ratio, d = 100, L = 1000 (exact: (1 + 1/(2L))^L − 1)",
            measure=_over_runs("gradient", _power_mean(2), "mean square"),
            expected=edge,
            tolerance=0.0,
            source="unverified",
            relation=relation,
        )


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """Densities of the norm, with the lognormal limit, and of both ratios."""
    import numpy as np

    x = np.linspace(0.95, 1.7, 151)
    density = np.exp(-(((np.log(x) - LOG_MEAN) / LOG_SD) ** 2) / 2) / (x * LOG_SD * math.sqrt(2 * math.pi))
    limit = Curve(x.tolist(), density.tolist(), "lognormal law of large depth", style="dashed")
    ratios = [_histogram(rows, "output", "state"), _histogram(rows, "gradient", "gradient")]
    return [
        Panel(
            [_histogram(rows, "growth", "runs"), limit],
            r"$\Vert h_L \Vert \;/\; \Vert h_0 \Vert$",
            "density",
            title="norm of the last state",
        ),
        Panel(ratios, f"{AXES['output']},   {AXES['gradient']}", "density", title="relative distances"),
    ]


def _histogram(rows: pl.DataFrame, quantity: str, label: str) -> Curve:
    """The outline of a histogram with 50 bars."""
    import numpy as np

    heights, edges = np.histogram(only(rows, quantity=quantity)["value"].to_numpy(), bins=50, density=True)
    outline = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
    return Curve(np.repeat(edges, 2).tolist(), outline.tolist(), label)


STUDIES = (
    Study(
        "histograms",
        title="The law at β = 1/2",
        text=(
            "d = 100 and L = 1000, one network per run, by the conditional Gaussian laws of what V and W do to one vector each way, so that"
            " no matrix is drawn. Squared norms are products of independent factors: in the limit of depth the logarithm of the norm is"
            " normal of mean ¼ − 1/(2d) and variance 1/(2d). The masks of ReLU are fair coins independent of the products of a row of W"
            " and its column of V, so that the Jacobian is a product of independent random matrices and its transpose has the same law: the"
            " two ratios have one law. Both are weakly correlated within a run. The mean square of either is (1 + 1/(2L))^L − 1, which is"
            " below e^{1/2} − 1 at every finite depth and tends to it: a lower bound with that constant can hold only in the limit."
        ),
        tasks=_tasks,
        figures=(
            Figure(
                "figure2",
                "Norms at β = 1/2 are lognormal, and gradients move like states",
                "Histograms over runs. Dashed: the lognormal limit of large depth, nothing fitted.",
                _panels,
                where="Figure 2",
            ),
        ),
        claims=(*_moments(), *_gradients(), *_bounds()),
    ),
)
