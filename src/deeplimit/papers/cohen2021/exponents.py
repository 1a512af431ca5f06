"""Exponents of trained weights on the synthetic task: tanh with one δ, ReLU with one per layer (rows 6 and 8 of the checklist)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim
from deeplimit.figures import Figure, Panel
from deeplimit.papers.cohen2021.networks import (
    DEEPEST_RELU,
    MIDDLE,
    RELU,
    RELU_DEPTHS,
    RELU_MIDDLE,
    TANH,
    TANH_COARSE,
    TANH_DEPTHS,
    sweep,
    up_to,
)
from deeplimit.papers.cohen2021.rows import (
    DELTA,
    against_depth,
    curve,
    layers_panel,
    slope,
    statistics_panels,
)
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl

COARSE = TANH_COARSE
RELU_OTHERS = {
    "ReLU, Adam 0.01, small start": 9100,
    "ReLU, SGD 0.1": 410,
    "ReLU, Adam 0.001, small start": 2116,
}
"""Further settings for ReLU -> the deepest network. SGD diverges at some depths above."""

MAX_A, SUM_A = "statistic.maximum.A", "statistic.cumulative_sum.A"
INCREMENT_A, RSSQ_A, QV_A = (
    f"statistic.{name}.A" for name in ("increment", "root_sum_of_squares", "quadratic_variation")
)
TANH_FACTOR, RELU_FACTOR = 0.2, 0.5
"""β of the authors' plots of scaled increments."""

BETA_RANGES: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("beta-shallow", 200, ("quick", "paper")),
    ("beta", RELU_MIDDLE, ("paper",)),
    ("beta-all-depths", DEEPEST_RELU, ("paper",)),
)
"""Name of a claim, deepest network, tiers: the exponent of ReLU depends on the depths it is fitted to."""

COARSER = Tiered(quick=2, paper=1)
"""Every how manieth depth of the grid of ReLU is taken for the further settings."""


def _tanh_tasks(settings: Settings) -> Iterator[Task]:
    yield from sweep(TANH, settings.pick(TANH_DEPTHS), seeds=settings.seeds())
    yield from sweep(COARSE, settings.pick(up_to(TANH_DEPTHS, MIDDLE)), seeds=settings.seeds())


def _relu_tasks(settings: Settings) -> Iterator[Task]:
    yield from sweep(RELU, settings.pick(RELU_DEPTHS), seeds=settings.seeds())
    for name, last in RELU_OTHERS.items():
        depths = settings.pick(up_to(RELU_DEPTHS, last))[:: settings.pick(COARSER)]
        yield from sweep(name, depths, seeds=settings.seeds())


def _delta_panels(rows: pl.DataFrame) -> list[Panel]:
    """δ for both thresholds, with δ times the norm of the sum, and the final loss."""
    panels = []
    for setting, title in ((TANH, "stop at loss 0.001"), (COARSE, "stop at loss 0.01")):
        own = only(rows, setting=setting)
        curves = [curve(only(own, quantity=DELTA), "δ"), curve(only(own, quantity=SUM_A), "‖ΣA‖")]
        panels.append(against_depth(curves, "δ, ‖ΣA‖", title=title))
    losses = [
        curve(only(rows, setting=s, quantity="loss.full"), label) for s, label in ((TANH, "0.001"), (COARSE, "0.01"))
    ]
    return [*panels, against_depth(losses, "final loss", title="by threshold")]


def _statistics(setting: str, role: str, factor: float) -> Figure:
    family, slug = ("tanh", "tanh") if setting == TANH else ("ReLU", "relu")
    name = role if family == "tanh" else f"|δ|{role}"
    return Figure(
        f"{slug}-{role.lower()}",
        f"Statistics of {name} against depth: {family}, synthetic task",
        f"Geometric mean over seeds, band: range over seeds; the exponents of the curves stand in the legend. Left: what the paper plots"
        f" (increments times L to the power {factor:g}, the exponent of its own plots). Right: the statistics that tell hypothesis 1"
        " (quadratic variation falls as L^(−1−2β)) from hypothesis 2 (it tends to a constant).",
        lambda rows: statistics_panels(only(rows, setting=setting), role, factor=factor),
        where="section 4, statistics of trained weights",
    )


def _tanh_layers(rows: pl.DataFrame) -> list[Panel]:
    own = only(rows, setting=TANH)
    return [
        layers_panel(own, "entry.A", ylabel="A(7, 9)"),
        layers_panel(own, "entry.A", ylabel="sum of A(7, 9)", sums=True),
        layers_panel(own, "entry.b", ylabel="b(5)"),
    ]


def _relu_layers(rows: pl.DataFrame) -> list[Panel]:
    own = only(rows, setting=RELU)
    return [
        layers_panel(own, "entry.A", ylabel="|δ|A(7, 7)"),
        layers_panel(own, "entry.A", ylabel="sum of |δ|A(7, 7)", sums=True),
        layers_panel(own, "entry.delta", ylabel="δ"),
    ]


def _beta_panels(rows: pl.DataFrame) -> list[Panel]:
    """The largest |δ|A and its quadratic variation in each setting."""
    panels = []
    for quantity, ylabel in ((MAX_A, "max ‖|δ|A‖"), (RSSQ_A, "root sum of squares"), (QV_A, "quadratic variation")):
        curves = [
            curve(only(rows, setting=s, quantity=quantity), s.removeprefix("ReLU, ")) for s in (RELU, *RELU_OTHERS)
        ]
        panels.append(against_depth(curves, ylabel))
    return panels


TANH_STUDY = Study(
    "tanh-exponents",
    title="tanh with one δ for all layers, trained by Adam",
    text=(
        "Networks h + δ tanh(A_k h + b_k) of growing depth, δ and all A_k, b_k trained, on the synthetic task of the released code: Adam"
        " with a learning rate of 0.01, mini-batches of 32, at most 10 epochs, stopped at a mean loss of 0.001 (or 0.01, which the paper's"
        " plots suggest). How do δ, the weights and their sums scale? A sum of exponents of 0 for δ and ΣA says that the whole of the"
        " network's linear part stays of order 1. Seeds differ in weights, data and batches; the paper has one. Exponents are fitted for"
        f" 3 ≤ L ≤ {MIDDLE}: deeper, one step of Adam is larger than δ."
    ),
    replicates=5,
    tasks=_tanh_tasks,
    figures=(
        Figure(
            "tanh-delta",
            "δ and the sum of the weights against depth: tanh, synthetic task",
            "δ falls almost as fast as the norm of ΣA grows: their product hardly depends on depth. Beyond a thousand layers a step of Adam"
            " (0.01) is as large as δ itself.",
            _delta_panels,
            where="section 4, tanh: α",
        ),
        _statistics(TANH, "A", TANH_FACTOR),
        _statistics(TANH, "b", TANH_FACTOR),
        Figure(
            "tanh-layers",
            "Weights against the layer: tanh",
            "One entry at every layer of the deepest network of one seed: a trend with noise beside it.",
            _tanh_layers,
            where="section 4, weights against the layer",
        ),
    ),
    claims=(
        Claim(
            "cohen2021.6.beta",
            "tanh: the largest norm of A falls as L^(−β) with β = 0.2.",
            "factor of the plotted increments in the released code",
            f"minus the exponent of max ‖A‖, 3 ≤ L ≤ {MIDDLE}, loss 0.001",
            slope(TANH, MAX_A, last=MIDDLE, sign=-1.0),
            expected=0.2,
            tolerance=0.1,
            source="code",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.6.beta-coarse",
            "The same where training stops at a loss of 0.01.",
            "factor of the plotted increments in the released code",
            f"minus the exponent of max ‖A‖, 3 ≤ L ≤ {MIDDLE}, loss 0.01",
            slope(COARSE, MAX_A, last=MIDDLE, sign=-1.0),
            expected=0.2,
            tolerance=0.1,
            source="code",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.6.alpha",
            "tanh: δ falls as L^(−α) with α = 0.7.",
            "section 4 (not verified)",
            f"minus the exponent of δ, 3 ≤ L ≤ {MIDDLE}, loss 0.001",
            slope(TANH, DELTA, last=MIDDLE, sign=-1.0),
            expected=0.7,
            tolerance=0.1,
            source="unverified",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.6.alpha-plus-beta",
            "tanh: α + β = 1, the condition of the alternative ODE.",
            "section 4 (not verified)",
            f"minus the exponent of δ max ‖A‖, 3 ≤ L ≤ {MIDDLE}, loss 0.001",
            slope(TANH, {DELTA: 1.0, MAX_A: 1.0}, last=MIDDLE, sign=-1.0),
            expected=1.0,
            tolerance=0.1,
            source="unverified",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.6.delta-times-sum",
            "tanh: δ ΣA does not scale with depth, whatever α and β are.",
            "a smaller run of the same setting",
            f"exponent of δ ‖ΣA‖, 3 ≤ L ≤ {MIDDLE}, loss 0.001",
            slope(TANH, {DELTA: 1.0, SUM_A: 1.0}, last=MIDDLE),
            expected=0.0,
            tolerance=0.15,
            source="measured",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.6.quadratic-variation",
            "tanh: the quadratic variation of A falls with depth, though not as fast as under hypothesis 1 (−1 − 2β = −1.4).",
            "a smaller run of the same setting",
            f"exponent of Σ‖A_k − A_(k−1)‖², 3 ≤ L ≤ {MIDDLE}, loss 0.001",
            slope(TANH, QV_A, last=MIDDLE),
            expected=-0.8,
            tolerance=0.3,
            source="measured",
            tiers=("paper",),
            minimum_sample=5,
        ),
    ),
)

RELU_STUDY = Study(
    "relu-exponents",
    title="ReLU with one δ per layer",
    text=(
        "Networks h + δ_k ReLU(A_k h + b_k) with every δ_k, A_k, b_k trained, on the same task. ReLU identifies |δ_k| A_k and |δ_k| b_k"
        " alone; all statistics are of these. Under hypothesis 2 increments, once divided by the size of the weights, the root of the sum"
        " of squares and the quadratic variation do not scale with depth. The first setting has A of deviation 1/d at the start, the"
        " others vary the size at the start and the optimiser: the exponent depends on both, and on the depths. Beyond"
        f" {RELU_MIDDLE} layers steps of 0.01 are too large: the loss grows with depth, and the weights are not those of trained networks."
    ),
    replicates=5,
    tasks=_relu_tasks,
    figures=(
        _statistics(RELU, "A", RELU_FACTOR),
        _statistics(RELU, "b", RELU_FACTOR),
        Figure(
            "relu-layers",
            "Weights against the layer: ReLU",
            "The deepest network of one seed: one entry of |δ_k| A_k at every layer, its sums over layers, and δ_k, of both signs and with"
            " no visible limit as a function of depth.",
            _relu_layers,
            where="section 4, δ and weights against the layer",
        ),
        Figure(
            "relu-settings",
            "ReLU: what depends on start and optimiser",
            "The largest norm of |δ_k| A_k, the root of the sum of squares and the quadratic variation in four settings.",
            _beta_panels,
        ),
    ),
    claims=(
        *(
            Claim(
                f"cohen2021.8.{slug}",
                f"ReLU: the largest norm of |δ|A falls as L^(−β) with β = 0.5, for 3 ≤ L ≤ {last}.",
                "factor of the plotted increments in the released code",
                f"minus the exponent of max ‖|δ|A‖, 3 ≤ L ≤ {last}",
                slope(RELU, MAX_A, last=last, sign=-1.0),
                expected=0.5,
                tolerance=0.1,
                source="code",
                tiers=tiers,
                minimum_sample=5,
            )
            for slug, last, tiers in BETA_RANGES
        ),
        Claim(
            "cohen2021.8.scaled-increments",
            "ReLU: increments scaled by L^β do not vanish with depth.",
            "section 4; released code",
            f"exponent of max ‖increment‖ / max ‖|δ|A‖, 3 ≤ L ≤ {RELU_MIDDLE}",
            slope(RELU, {INCREMENT_A: 1.0, MAX_A: -1.0}, last=RELU_MIDDLE),
            expected=0.0,
            tolerance=0.15,
            source="code",
            minimum_sample=5,
        ),
        *(
            Claim(
                f"cohen2021.8.{slug}",
                f"ReLU: the {name} tends to a constant.",
                "section 4; released code",
                f"exponent of the {name} of |δ|A, 100 ≤ L ≤ {RELU_MIDDLE}",
                slope(RELU, quantity, first=100, last=RELU_MIDDLE),
                expected=0.0,
                tolerance=tolerance,
                source="measured",
                tiers=("paper",),
                minimum_sample=5,
            )
            for slug, name, quantity, tolerance in (
                ("root-sum-of-squares", "root of the sum of squares", RSSQ_A, 0.1),
                ("quadratic-variation", "quadratic variation", QV_A, 0.2),
            )
        ),
        *(
            Claim(
                f"cohen2021.8.beta-{slug}",
                f"ReLU: the same exponent in the setting {setting.removeprefix('ReLU, ')}.",
                "a smaller run of the same setting, at depths that were not noted",
                f"minus the exponent of max ‖|δ|A‖, L ≤ {RELU_OTHERS[setting]}",
                slope(setting, MAX_A, sign=-1.0),
                expected=expected,
                tolerance=0.1,
                source="unverified",
                tiers=("paper",),
                minimum_sample=5,
            )
            for slug, setting, expected in zip(
                ("small-start", "sgd", "slow"), RELU_OTHERS, (0.36, 0.35, 0.89), strict=True
            )
        ),
        Claim(
            "cohen2021.8.root-sum-of-squares-slow",
            "ReLU with Adam at 0.001 from a small start: the root of the sum of squares falls with depth, which hypothesis 2 excludes.",
            "a smaller run of the same setting",
            "exponent of (Σ‖|δ|A‖²)^(1/2), L ≥ 100, Adam 0.001, small start",
            slope("ReLU, Adam 0.001, small start", RSSQ_A, first=100),
            expected=-0.2,
            tolerance=0.0,
            source="measured",
            relation="at most",
            tiers=("paper",),
            minimum_sample=5,
        ),
    ),
)

STUDIES = (TANH_STUDY, RELU_STUDY)
