"""Figure 1, left: the largest distance between successive layers against depth (rows 4, 5 and 6 of the checklist)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.data import GaussianPairs
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import table_deviation
from deeplimit.measures import At, LayerGaps
from deeplimit.networks import ResidualStack
from deeplimit.papers.marion2024.common import (
    AUTHORS_DRAW,
    PRINTED_LOSS,
    RELEASED_LOSS,
    STATE,
    by_iteration,
    cells,
    only,
    printed,
    released,
    worst_exponent,
)
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import GradientFlow, SquaredError, TrainingRun

if TYPE_CHECKING:
    import polars as pl

SEED = 2
WIDTH = 32
HORIZONS = (50, 100, 150, 200, 250, 300, 350, 400, 450, 500)
# The released script says 1014; the axis and the text suggest that 1024 was meant.
DEPTHS = Tiered(quick=(2, 16, 64, 256), paper=(2, 16, 64, 256, 1014))
DATA = GaussianPairs(100, STATE, STATE)
# Replicates measure exponents only; fewer iterations decide them at the quick tier.
REPLICATE_DEPTHS = Tiered(quick=(16, 32, 64, 128), paper=(16, 64, 256, 1014))
REPLICATE_ITERATIONS = Tiered(quick=200, paper=500)

# Read off the published figure (vector paths, about 3 digits): {iterations: {depth: value}}.
PUBLISHED = {
    50: {2: 0.41, 16: 0.162, 64: 0.0815, 256: 0.0408, 1014: 0.0207},
    100: {2: 1.65, 16: 0.589, 64: 0.295, 256: 0.146, 1014: 0.0740},
    450: {2: 18.5, 16: 6.94, 64: 3.41, 256: 1.69, 1014: 0.853},
}


def _tasks(settings: Settings) -> Iterator[Task]:
    """The released model on the authors' draw in every precision, then replicates of the released and of the printed model."""
    for depth in settings.pick(DEPTHS):
        for dtype in settings.dtypes:
            labels = {"draw": "authors", "model": "released", "dtype": dtype}
            yield _run(released(depth, WIDTH), (SEED,), loss=RELEASED_LOSS, iterations=500, labels=labels)
    for depth in settings.pick(REPLICATE_DEPTHS) if settings.seeds() else ():
        for model, network, loss in (("released", released, RELEASED_LOSS), ("printed", printed, PRINTED_LOSS)):
            labels = {"draw": "replicates", "model": model, "dtype": settings.dtypes[0]}
            iterations = settings.pick(REPLICATE_ITERATIONS)
            yield _run(network(depth, WIDTH), settings.seeds(), loss=loss, iterations=iterations, labels=labels)


def _run(
    network: ResidualStack, seeds: tuple[int, ...], *, loss: SquaredError, iterations: int, labels: dict[str, str]
) -> TrainingRun:
    return TrainingRun(
        networks=(network,),
        data=DATA,
        optimizer=GradientFlow(1e-2),
        iterations=iterations,
        measures=(LayerGaps(At(HORIZONS)),),
        seeds=seeds,
        loss=loss,
        draw=AUTHORS_DRAW,
        dtype=labels["dtype"],
        labels=labels,
    )


def _slope(quantity: str, model: str = "released") -> Callable[[pl.DataFrame], Measured]:
    """The exponent in depth over replicates, at every horizon that they reach."""

    def measure(rows: pl.DataFrame) -> Measured:
        return worst_exponent(by_iteration(only(rows, draw="replicates", quantity=quantity, model=model)))

    return measure


def _published(*depths: int) -> Callable[[pl.DataFrame], Measured]:
    """The largest relative deviation from the published curves at these depths, on the authors' draw."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, draw="authors", quantity="gap.aggregate")
        return table_deviation(own, cells(PUBLISHED, depths), keys=["iteration", "depth"])

    return measure


def _growth(later: int, earlier: int) -> Callable[[pl.DataFrame], Measured]:
    """The ratio of the true maximum at two horizons at L = 64 on the authors' draw."""

    def measure(rows: pl.DataFrame) -> Measured:
        return _over_precisions(rows, lambda gap: gap[later] / gap[earlier])

    return measure


def _late_exponent(rows: pl.DataFrame) -> Measured:
    """The exponent of the true maximum in the horizon, between 300 and 500 iterations at L = 64."""
    import math

    return _over_precisions(rows, lambda gap: math.log(gap[500] / gap[300]) / math.log(500 / 300))


def _against_exponential(rows: pl.DataFrame) -> Measured:
    """Growth factor from 300 to 500 iterations over that from 100 to 300: 1 for an exponential."""
    return _over_precisions(rows, lambda gap: gap[500] / gap[300] / (gap[300] / gap[100]))


def _over_precisions(rows: pl.DataFrame, number: Callable[[dict[int, float]], float]) -> Measured:
    own = only(rows, draw="authors", quantity="gap.max", depth=64)
    curves = [only(own, dtype=dtype) for dtype in sorted(own["dtype"].unique(), reverse=True)]
    return Measured.spread([number(dict(zip(c["iteration"], c["value"], strict=True))) for c in curves])


CLAIMS = (
    Claim(
        "marion2024.4.true-maximum",
        "The largest distance between successive layers, over layers and training time, decays as 1/L at every horizon.",
        "Prop. 3; Fig. 1 left (caption)",
        "exponent in L of max over k, t of ‖Z_{k+1} − Z_k‖_F, at every horizon, L ≥ 16",
        _slope("gap.max"),
        expected=-1.0,
        tolerance=0.02,
        source="theorem",
        minimum_sample=5,
    ),
    Claim(
        "marion2024.4.true-maximum-printed-model",
        "The same holds for the model as printed, with the factors 1/√m and 1/√q and the loss summed over coordinates.",
        "Prop. 3; equation (3)",
        "exponent in L of max over k, t of ‖Z_{k+1} − Z_k‖_F in model (3), at every horizon, L ≥ 16",
        _slope("gap.max", "printed"),
        expected=-1.0,
        tolerance=0.02,
        source="theorem",
        minimum_sample=5,
    ),
    Claim(
        "marion2024.4.published-aggregate",
        "What the released script plots, a root of sums of squares over layers and iterations, decays as L^(−1/2).",
        "Fig. 1 left (curves)",
        "exponent in L of the released statistic, at every horizon, L ≥ 16",
        _slope("gap.aggregate"),
        expected=-0.5,
        tolerance=0.02,
        source="derived",
        minimum_sample=5,
    ),
    Claim(
        "marion2024.4.caption-of-the-plotted-curves",
        "As printed: the plotted curves are the maximum over layers and time and decay as 1/L.",
        "Fig. 1 left (label and caption)",
        "exponent in L of the released statistic, at every horizon, L ≥ 16",
        _slope("gap.aggregate"),
        expected=-1.0,
        tolerance=0.02,
        source="text",
        expected_ruling="not reproduced",
        minimum_sample=5,
    ),
    Claim(
        "marion2024.5.growth",
        "At fixed depth the distance grows with training time: 18-fold from 50 to 500 iterations.",
        "Fig. 1 left; section 5.1",
        "ratio of the true maximum at 500 and at 50 iterations, L = 64",
        _growth(500, 50),
        expected=18.0,
        tolerance=1.0,
        source="measured",
    ),
    Claim(
        "marion2024.5.late-growth",
        "Late growth is slow: about 2.2-fold from 250 to 500 iterations.",
        "Fig. 1 left; section 5.1",
        "ratio of the true maximum at 500 and at 250 iterations, L = 64",
        _growth(500, 250),
        expected=2.2,
        tolerance=0.2,
        source="measured",
    ),
    Claim(
        "marion2024.5.late-exponent",
        "Late growth is close to linear in training time, far from the exponential bound K of Proposition 3.",
        "Fig. 1 left; Prop. 3",
        "exponent of the true maximum in the number of iterations between 300 and 500, L = 64",
        _late_exponent,
        expected=1.2,
        tolerance=0.1,
        source="measured",
    ),
    Claim(
        "marion2024.5.sub-exponential",
        "The growth is sub-exponential.",
        "section 5.1",
        "growth factor from 300 to 500 iterations over that from 100 to 300, L = 64 (1 for an exponential)",
        _against_exponential,
        expected=1.0,
        tolerance=0.0,
        source="text",
        relation="at most",
    ),
    Claim(
        "marion2024.6.published-curves",
        "The released statistic on the authors' draw gives the published curves.",
        "Fig. 1 left",
        "largest relative deviation from the published values at L = 16, 64, 256 and 50, 100, 450 iterations",
        _published(16, 64, 256),
        expected=0.0,
        tolerance=0.02,
        source="figure",
    ),
    Claim(
        "marion2024.6.published-curves-deepest",
        "The same at the largest depth, 1014 in the released script.",
        "Fig. 1 left",
        "largest relative deviation from the published values at L = 1014",
        _published(1014),
        expected=0.0,
        tolerance=0.02,
        source="figure",
        tiers=("paper",),
    ),
    Claim(
        "marion2024.6.published-curves-shallowest",
        "The same at L = 2.",
        "Fig. 1 left",
        "largest relative deviation from the published values at L = 2",
        _published(2),
        expected=0.0,
        tolerance=0.03,
        source="figure",
    ),
)


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """The true maximum, and the released statistic with the published values."""
    own = only(rows, draw="authors")
    own = only(own, dtype=max(own["dtype"]))
    maximum = _horizons(only(own, quantity="gap.max"))
    aggregate = _horizons(only(own, quantity="gap.aggregate"))
    deepest = max(own["depth"])
    markers = [_marker(t, row, deepest) for t, row in PUBLISHED.items()]
    return [
        _panel([*maximum, _guide(maximum[-1], -1.0)], "max over k, t of ‖Z(k+1) − Z(k)‖", title="true maximum"),
        _panel(
            [*aggregate, *markers, _guide(aggregate[-1], -0.5)], "released statistic", title="as plotted in the paper"
        ),
    ]


def _panel(curves: list[Curve], ylabel: str, *, title: str) -> Panel:
    return Panel(
        curves,
        xlabel="depth L",
        ylabel=ylabel,
        title=title,
        xscale="log",
        yscale="log",
        shade_label="training iteration",
        shade_range=(0, 500),
    )


def _horizons(rows: pl.DataFrame) -> list[Curve]:
    """One curve per horizon, shaded by it."""
    groups = [group.sort("depth") for group in by_iteration(rows)]
    return [Curve(g["depth"].to_list(), g["value"].to_list(), shade=g["iteration"][0] / 500) for g in groups]


def _marker(t: int, row: dict[int, float], deepest: int) -> Curve:
    kept = {L: value for L, value in row.items() if deepest >= L}
    return Curve(
        list(kept),
        list(kept.values()),
        label="published" if t == min(PUBLISHED) else "",
        shade=t / 500,
        style="markers",
    )


def _guide(curve: Curve, slope: float) -> Curve:
    """A straight line of the given slope through the last point of a curve, a little above it."""
    x = [curve.x[0], curve.x[-1]]
    return Curve(
        x, [1.6 * curve.y[-1] * (L / curve.x[-1]) ** slope for L in x], label=f"slope {slope:g}", style="dashed"
    )


STUDIES = (
    Study(
        "figure1-left",
        title="Distance between successive layers",
        text=(
            "Networks of growing depth start from equal layers and are trained by full-batch gradient descent with a step"
            " proportional to depth. Do their layers stay O(1/L) apart? The released script plots, under the label of a"
            " maximum, the root of a sum of squares over layers and iterations, which decays as L^(−1/2) exactly when the"
            " layers are O(1/L) apart. Both are computed here; values at a horizon T are over iterations before T, as in"
            " the script. Exponents are over five replicates of the authors' draw, with horizons up to 200 at the quick tier"
            " and up to 500 at the paper's."
        ),
        tasks=_tasks,
        replicates=5,
        dtypes=("float64", "float32"),
        figures=(
            Figure(
                "figure1-left",
                "Successive layers approach each other as 1/L",
                "One curve per training horizon, on the authors' draw. Left: the maximum over layers and time, of slope −1. Right: the"
                " statistic of the released script, of slope −1/2, with the values read off the published figure.",
                _panels,
                where="Figure 1, left",
            ),
        ),
        claims=CLAIMS,
    ),
)
