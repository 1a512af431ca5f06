"""The exponents depend on the optimiser (row 7 of the checklist)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import mean_over_seeds
from deeplimit.papers.cohen2021.exponents import MAX_A, RSSQ_A, SUM_A
from deeplimit.papers.cohen2021.networks import MIDDLE, QUICKEST, TANH, TANH_DEPTHS, sweep, up_to
from deeplimit.papers.cohen2021.rows import DELTA, against_depth, curve, product, slope
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study

if TYPE_CHECKING:
    import polars as pl

SLOW, SGD = "tanh, Adam 0.001", "tanh, SGD 0.1"
OPTIMISERS = (TANH, SLOW, SGD)
RSSQ_B = "statistic.root_sum_of_squares.b"
LATE = 100


def _tasks(settings: Settings) -> Iterator[Task]:
    for name in OPTIMISERS:
        yield from sweep(name, settings.pick(up_to(TANH_DEPTHS, MIDDLE)), seeds=settings.seeds())


def conserved(rows: pl.DataFrame) -> Measured:
    """Σ_k (‖A_k‖² + ‖b_k‖²) / δ² of networks trained by SGD: 1 where all of δ² came with the weights."""
    own = only(rows, setting=SGD, depth=QUICKEST)
    parts = [product(own, {quantity: 2.0, DELTA: -2.0})["value"] for quantity in (RSSQ_A, RSSQ_B)]
    return mean_over_seeds((parts[0] + parts[1]).to_list(), f"L = {QUICKEST}")


def _curves(rows: pl.DataFrame) -> list[Panel]:
    """δ, the largest norm and the norm of the sum, by optimiser."""
    panels = []
    for quantity, ylabel in ((DELTA, "δ"), (MAX_A, "max ‖A‖"), (SUM_A, "‖ΣA‖")):
        curves = [curve(only(rows, setting=s, quantity=quantity), s.removeprefix("tanh, ")) for s in OPTIMISERS]
        panels.append(against_depth(curves, ylabel))
    return panels


def _plane(rows: pl.DataFrame) -> list[Panel]:
    """α and β of each optimiser beside the conditions of the limits."""
    curves = [
        Curve([0.0, 1.0], [1.0, 0.0], "α + β = 1: alternative ODE", style="dashed"),
        Curve([1.0], [0.0], "neural ODE", style="markers"),
        Curve([0.25], [0.75], "gradient flow, linear σ", style="markers"),
    ]
    for setting in OPTIMISERS:
        alpha, beta = (slope(setting, q, sign=-1.0, last=MIDDLE)(rows) for q in (DELTA, MAX_A))
        curves.append(Curve([alpha.value], [beta.value], setting.removeprefix("tanh, "), style="markers"))
    return [Panel(curves, "α, of δ", "β, of max ‖A‖")]


STUDY = Study(
    "optimisers",
    title="The exponents depend on the optimiser",
    text=(
        "The networks of the tanh study, trained by Adam with two learning rates and by plain SGD to the same loss. All keep δ ΣA of order"
        " 1; how that order is shared between δ and the weights is the optimiser's doing. Gradient flow of a network that is linear in its"
        " weights keeps δ² − Σ(‖A_k‖² + ‖b_k‖²), so that all of δ² ends in the weights and α = 1/4, β = 3/4 follow; Adam moves every"
        " parameter at the same speed, however small its gradient is, and leaves the weights larger."
    ),
    replicates=5,
    tasks=_tasks,
    figures=(
        Figure(
            "optimisers",
            "Three optimisers, three pairs of exponents",
            "δ, the largest norm of A and the norm of ΣA against depth, tanh on the synthetic task.",
            _curves,
        ),
        Figure(
            "optimisers-plane",
            "α and β by optimiser",
            "Means over seeds. Every optimiser is a little below the line of the alternative ODE, none near the point of the neural ODE."
            " SGD is near the point that the conservation law of gradient flow gives.",
            _plane,
        ),
    ),
    claims=(
        Claim(
            "cohen2021.7.alpha-sgd",
            "With SGD in place of Adam α is 0.2, far from the 0.7 of Adam.",
            "a smaller run of the same setting",
            f"minus the exponent of δ, 3 ≤ L ≤ {MIDDLE}",
            slope(SGD, DELTA, last=MIDDLE, sign=-1.0),
            expected=0.2,
            tolerance=0.07,
            source="measured",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.7.beta-sgd",
            "With SGD in place of Adam β is 0.7, far from the 0.2 of Adam.",
            "a smaller run of the same setting",
            f"minus the exponent of max ‖A‖, 3 ≤ L ≤ {MIDDLE}",
            slope(SGD, MAX_A, last=MIDDLE, sign=-1.0),
            expected=0.7,
            tolerance=0.07,
            source="measured",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.7.conserved-alpha",
            "For deep networks and SGD α tends to 1/4, as the conservation law of gradient flow says.",
            "derived",
            f"minus the exponent of δ, {LATE} ≤ L ≤ {MIDDLE}",
            slope(SGD, DELTA, first=LATE, last=MIDDLE, sign=-1.0),
            expected=0.25,
            tolerance=0.03,
            source="derived",
            tiers=("paper",),
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.7.conserved-beta",
            "For deep networks and SGD β tends to 3/4.",
            "derived",
            f"minus the exponent of max ‖A‖, {LATE} ≤ L ≤ {MIDDLE}",
            slope(SGD, MAX_A, first=LATE, last=MIDDLE, sign=-1.0),
            expected=0.75,
            tolerance=0.03,
            source="derived",
            tiers=("paper",),
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.7.conserved",
            "For SGD the squares of all weights add up to δ², as the conservation law says of networks that start small; steps of 0.1 keep"
            " to the law at some hundred layers, and leave it as networks get deeper.",
            "derived",
            f"Σ(‖A_k‖² + ‖b_k‖²) / δ², L = {QUICKEST}",
            conserved,
            expected=1.0,
            tolerance=0.1,
            source="derived",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.7.alpha-slow",
            "A learning rate ten times smaller changes α of Adam.",
            "a smaller run of the same setting",
            f"minus the exponent of δ, 3 ≤ L ≤ {MIDDLE}, Adam 0.001",
            slope(SLOW, DELTA, last=MIDDLE, sign=-1.0),
            expected=0.53,
            tolerance=0.07,
            source="measured",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.7.beta-slow",
            "And β.",
            "a smaller run of the same setting",
            f"minus the exponent of max ‖A‖, 3 ≤ L ≤ {MIDDLE}, Adam 0.001",
            slope(SLOW, MAX_A, last=MIDDLE, sign=-1.0),
            expected=0.37,
            tolerance=0.07,
            source="measured",
            minimum_sample=5,
        ),
    ),
)
