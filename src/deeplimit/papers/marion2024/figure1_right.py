"""Figure 1, right: the weights converge as functions of depth and time (rows 7, 8 and 9 of the checklist)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.data import GaussianPairs
from deeplimit.figures import Curve, Figure, HeatMap, Panel
from deeplimit.fits import table_deviation
from deeplimit.measures import At, Every, StateDistance, WeightDistance
from deeplimit.papers.marion2024.common import (
    AUTHORS_DRAW,
    RELEASED_LOSS,
    STATE,
    by_iteration,
    cells,
    in_released_precision,
    only,
    released,
    worst_exponent,
)
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import GradientFlow, TrainingRun

if TYPE_CHECKING:
    import polars as pl

SEED = 0
WIDTH = 32
DATA = GaussianPairs(100, STATE, STATE)
ITERATIONS = Tiered(quick=100, paper=500)
COLUMNS = Tiered(quick=Every(2), paper=Every(10))
COARSE = Tiered(quick=At((50, 100)), paper=At((50, 150, 250, 350, 490, 500)))
DEPTHS = Tiered(quick=(2, 4, 8, 16, 32, 64, 128), paper=tuple(2**i for i in range(1, 11)))
REFERENCE = Tiered(quick=512, paper=2**14)
# Replicates measure exponents only: fitted against 1/L − 1/L_ref, they do not need the authors' reference depth.
REPLICATE_DEPTHS = Tiered(quick=(16, 32, 64, 128), paper=(16, 32, 64, 128, 256, 512))
REPLICATE_REFERENCE = Tiered(quick=512, paper=4096)

# Read off the published heat maps by inverting their colours (about 3 %, 12 % in the worst cells): {iteration: {depth: value}}.
_POWERS = [2**i for i in range(1, 11)]
PUBLISHED_V = {
    50: dict(zip(_POWERS, (0.078, 0.036, 0.017, 0.0089, 0.0045, 0.0022, 0.0011, 5.6e-4, 2.9e-4, 1.2e-4), strict=True)),
    490: dict(zip(_POWERS, (0.66, 0.36, 0.19, 0.097, 0.046, 0.023, 0.012, 0.0056, 0.0029, 0.0013), strict=True)),
}
PUBLISHED_W = {
    50: {2: 0.0017, 1024: 3.2e-6},
    490: dict(zip(_POWERS, (0.085, 0.049, 0.025, 0.011, 0.0058, 0.0029, 0.0014, 7.0e-4, 3.3e-4, 1.6e-4), strict=True)),
}


def _tasks(settings: Settings) -> Iterator[Task]:
    """The authors' draw in every precision, then the replicates."""
    for dtype in settings.dtypes:
        yield _run(settings, (*settings.pick(DEPTHS), settings.pick(REFERENCE)), seeds=(SEED,), dtype=dtype)
    replicates = settings.seeds()
    if replicates:
        depths = (*settings.pick(REPLICATE_DEPTHS), settings.pick(REPLICATE_REFERENCE))
        yield _run(settings, depths, seeds=replicates, dtype=settings.dtypes[0])


def _run(settings: Settings, depths: tuple[int, ...], *, seeds: tuple[int, ...], dtype: str) -> TrainingRun:
    coarse = settings.pick(COARSE)
    return TrainingRun(
        networks=tuple(released(depth, WIDTH) for depth in depths),
        data=DATA,
        optimizer=GradientFlow(1e-2),
        iterations=settings.pick(ITERATIONS),
        measures=(
            WeightDistance(settings.pick(COLUMNS)),
            WeightDistance(coarse, alignment="paper"),
            StateDistance(coarse),
        ),
        seeds=seeds,
        loss=RELEASED_LOSS,
        draw=AUTHORS_DRAW,
        dtype=dtype,
        labels={"draw": "authors" if seeds == (SEED,) else "replicates", "reference": depths[-1], "dtype": dtype},
    )


def _slope(*quantities: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent over replicates from iteration 50 on, against 1/L − 1/L_ref, for each quantity."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, draw="replicates")
        groups = [
            g
            for q in quantities
            for g in by_iteration(only(own, quantity=q), first=50)
            if g["iteration"][0] % 50 in (0, 40)
        ]
        return worst_exponent(groups, reference=own["reference"][0])

    return measure


def _published(role: str, table: dict[int, dict[int, float]]) -> Callable[[pl.DataFrame], Measured]:
    """The largest relative deviation from the published cells, on the authors' draw and in their precision."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = in_released_precision(only(rows, draw="authors", quantity=f"distance.l2.{role}"))
        return table_deviation(own, cells(table, _POWERS), keys=["iteration", "depth"])

    return measure


def _smallest_growth(rows: pl.DataFrame) -> Measured:
    """The smallest ratio of the distance at two successive iterations looked at, over roles and depths."""
    import polars as pl

    smallest = []
    for dtype in sorted(only(rows, draw="authors")["dtype"].unique(), reverse=True):
        own = only(rows, draw="authors", dtype=dtype).filter(
            pl.col("quantity").is_in(["distance.l2.V", "distance.l2.W"]) & (pl.col("iteration") >= 10)
        )
        ratios = own.sort("iteration").select((pl.col("value") / pl.col("value").shift(1)).over("quantity", "depth"))
        smallest.append(float(ratios["value"].drop_nulls().min()))  # type: ignore[arg-type]
    return Measured.spread(smallest)


def _convergence(
    name: str, statement: str, where: str, quantities: tuple[str, ...], *, what: str, tolerance: float
) -> Claim:
    """A claim that distances to the deepest network decay as 1/L."""
    return Claim(
        f"marion2024.{name}",
        statement,
        where,
        f"exponent in L of {what}, from iteration 50 on, L ≥ 16",
        _slope(*quantities),
        expected=-1.0,
        tolerance=tolerance,
        source="measured",
        minimum_sample=5,
    )


CLAIMS = (
    _convergence(
        "7.l2",
        "The weights converge in L²(s) to a limit, at rate 1/L (the theorem states no rate).",
        "Theorem 4 (ii); Fig. 1 right",
        ("distance.l2.V", "distance.l2.W"),
        what="(∫ ‖Z^L − Z^ref‖² ds)^{1/2}, V and W, aligned at left edges",
        tolerance=0.05,
    ),
    _convergence(
        "7.l2-paper-alignment",
        "The same with layers aligned as in equation (8).",
        "Theorem 4 (ii); equation (8)",
        ("distance.l2.V.paper", "distance.l2.W.paper"),
        what="(∫ ‖Z^L − Z^ref‖² ds)^{1/2}, V and W, aligned by equation (8)",
        tolerance=0.05,
    ),
    Claim(
        "marion2024.7.grows-with-time",
        "At fixed depth the distance to the limit grows with training time.",
        "Fig. 1 right; section 5.1",
        "smallest ratio of distances at successive iterations from 10 on, over roles and depths",
        _smallest_growth,
        expected=1.0,
        tolerance=0.0,
        source="figure",
        relation="at least",
    ),
    Claim(
        "marion2024.7.published-V",
        "The published heat map of V.",
        "Fig. 1 right",
        "largest relative deviation from the published cells in float32, iterations 50 and 490, L = 2…1024",
        _published("V", PUBLISHED_V),
        expected=0.0,
        tolerance=0.12,
        source="figure",
        tiers=("paper",),
    ),
    Claim(
        "marion2024.7.published-W",
        "The published heat map of W.",
        "Fig. 1 right",
        "largest relative deviation from the published cells in float32, iteration 490 at L = 2…1024, 50 at L = 2, 1024",
        _published("W", PUBLISHED_W),
        expected=0.0,
        tolerance=0.12,
        source="figure",
        tiers=("paper",),
    ),
    _convergence(
        "8.sup",
        "The convergence is uniform over s.",
        "Theorem 4 (ii)",
        ("distance.sup.V.paper", "distance.sup.W.paper"),
        what="sup over s of ‖Z^L − Z^ref‖_F, V and W, aligned by equation (8)",
        tolerance=0.1,
    ),
    _convergence(
        "9.states",
        "The hidden states converge uniformly over depth and samples.",
        "Theorem 4 (iii)",
        ("distance.states",),
        what="sup over s and samples of ‖h_{⌊Ls⌋} − h^ref_{⌊L_ref s⌋}‖",
        tolerance=0.1,
    ),
    _convergence(
        "9.outputs",
        "The outputs converge uniformly over samples.",
        "Theorem 4 (iv)",
        ("distance.outputs",),
        what="max over samples of ‖F^L(x) − F^ref(x)‖",
        tolerance=0.1,
    ),
)


def _maps(rows: pl.DataFrame) -> list[HeatMap]:
    """Distance over iterations and depths, for V and for W."""
    return [_map(_authors(rows), role) for role in ("V", "W")]


def _authors(rows: pl.DataFrame) -> pl.DataFrame:
    own = only(rows, draw="authors")
    return only(own, dtype=max(own["dtype"]))


def _map(rows: pl.DataFrame, role: str) -> HeatMap:
    import polars as pl

    own = only(rows, quantity=f"distance.l2.{role}").filter(pl.col("iteration") >= 4)
    table = own.pivot(on="iteration", index="depth", values="value", maintain_order=True).sort("depth")
    iterations = sorted(own["iteration"].unique())
    values = table.select([str(t) for t in iterations]).rows()
    depths = [str(L) for L in table["depth"]]
    return HeatMap(
        values,
        iterations,
        depths,
        xlabel="training iteration",
        ylabel="depth L",
        label="L² distance",
        title=f"{role}: distance to the deepest network",
    )


def _profiles(rows: pl.DataFrame) -> list[Panel]:
    """Distance against depth with the published cells, for V and for W."""
    own = _authors(rows)
    return [_profile(own, role, table) for role, table in (("V", PUBLISHED_V), ("W", PUBLISHED_W))]


def _profile(rows: pl.DataFrame, role: str, published: dict[int, dict[int, float]]) -> Panel:
    curves = []
    for t, row in published.items():
        ours = rows.filter((rows["quantity"] == f"distance.l2.{role}") & (rows["iteration"] == t)).sort("depth")
        curves.append(
            Curve(ours["depth"].to_list(), ours["value"].to_list(), label=f"iteration {t}" if len(ours) else "")
        )
        if len(ours) and rows["iteration"].max() == 500:
            curves.append(Curve(list(row), list(row.values()), label="published" if t == 490 else "", style="markers"))
    return Panel(curves, xlabel="depth L", ylabel="L² distance", title=role, xscale="log", yscale="log")


STUDIES = (
    Study(
        "figure1-right",
        title="Convergence of the weights as functions of depth and time",
        text=(
            "Networks of many depths are trained in lock-step and compared with the deepest one: weights as functions of"
            " s = k/L in L² and uniformly, hidden states and outputs. Theorem 4 says that they converge and states no rate;"
            " all distances decay as 1/L. They are distances to a network of finite depth, so exponents are fitted against"
            " 1/L − 1/L_ref."
        ),
        tasks=_tasks,
        replicates=5,
        dtypes=("float64", "float32"),
        figures=(
            Figure(
                "figure1-right",
                "The weights converge uniformly in training time",
                "Distance of the weights to those of the deepest network, by training iteration and depth, on the authors'"
                " draw. Rows get lighter with depth and darker with training time.",
                _maps,
                where="Figure 1, right",
            ),
            Figure(
                "figure1-right-profiles",
                "The same against depth",
                "Two columns of the maps. Published values (paper tier) are read off the colours of a bitmap.",
                _profiles,
                where="Figure 1, right",
            ),
        ),
        claims=CLAIMS,
    ),
)
