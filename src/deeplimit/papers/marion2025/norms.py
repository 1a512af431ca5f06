"""Figures 1, 3, 4 and 5: how far states and gradients move, against depth (rows 13 and 15 of the checklist)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from deeplimit import checks, theory
from deeplimit.claims import Claim, Measured
from deeplimit.draws import NamedDraw
from deeplimit.figures import Curve, Figure, Panel, Scale
from deeplimit.fits import exponent
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import seconds_for
from deeplimit.papers.marion2025.common import (
    AXES,
    INPUTS,
    WIDTH,
    both_ratios,
    claim,
    log_ratio,
    network,
    over_blocks,
    over_runs,
    root_mean_square,
)
from deeplimit.papers.marion2025.conditional import ConditionalRuns
from deeplimit.processes import IID, Distribution, GaussianProcess, Normal, Path, Process, Uniform
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import Tensor

DEPTHS = Tiered(
    quick=(10, 120, 340, 670, 1000),
    paper=(10, 120, 230, 340, 450, 560, 670, 780, 890, 1000),
)
"""linspace(10, 1000, 10) of the released code."""

RUNS = 50
LENGTH = 0.1
"""ℓ of the Gaussian process: the bandwidth of the code of 2023, and the root of the kernel variance 0.01 of that of 2022."""

QUANTITIES = ("output", "gradient")
_CHUNK = 5
"""Networks that run together; the same at every depth, so that smooth weights are one function read at every depth."""


@dataclass(frozen=True)
class GaussianIncrements(Process):
    """Independent entries, each std times an increment of a Gaussian process over one layer, scaled to variance 1.

    Layer k of L has std · (G(k/L) − G((k−1)/L)) / √(2 − 2 exp(−1/(2 ℓ² L²))): at large L the derivative of a smooth path, so smooth too,
    but with integral near 0 over any stretch longer than ℓ. The "smooth" weights of the code of 2022 (Marion et al. 2025); that they are
    scaled to variance 1 follows its other processes.

    Args:
        length: ℓ of G.
        std: standard deviation of each weight.
    """

    length: float
    std: float = 1.0

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Draw G."""
        return _IncrementPath(self, GaussianProcess(self.length).sample(shape, generator))


class _IncrementPath(Path):
    def __init__(self, process: GaussianIncrements, path: Path) -> None:
        self._process, self._path = process, path

    def __call__(self, depth: int) -> Tensor:
        import math

        import torch

        checks.positive_int("depth", depth)
        values = self._path.at(torch.arange(depth + 1, dtype=torch.float64) / depth)
        spread = math.sqrt(-2 * math.expm1(-((self._process.length * depth) ** -2) / 2))
        steps: Tensor = values.diff(dim=0) * (self._process.std / spread)
        return steps

    def at(self, s: Tensor) -> Tensor:
        raise checks.InputError("weights at a position s: expected a process that is a function of s, found increments")


ROOT = WIDTH**-0.5
WEIGHTS: dict[str, Process] = {
    "gaussian": IID(Normal(ROOT)),
    "uniform": IID(Uniform(3**0.5 * ROOT)),
    "values": GaussianProcess(LENGTH, ROOT),
    "increments": GaussianIncrements(LENGTH, ROOT),
}
"""Independent layers of the code of 2023 and of 2022, smooth layers of both: V and W each, of variance 1/d."""

RELEASED = ("uniform", "increments")
"""What the code of 2022, the head of the repository, does; its A and B are uniform too."""


@dataclass(frozen=True)
class Ratios:
    """Both ratios of `both_ratios` at the initialisation, in float64, of networks with matrices drawn in full.

    Rows, with the run as index and β in the column `beta`: `output`, `gradient`. All β share their weights, which enter scaled alone.

    Args:
        depth: L.
        betas: β.
        weights: of V and of W.
        runs: how many networks, each with its own A, B and x.
        seed: names the stream.
        uniform_ends: whether A and B are uniform with variance 1/fan-in, or normal with the same.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    depth: int
    betas: tuple[float, ...]
    weights: Process
    runs: int
    seed: int
    uniform_ends: bool = False
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Chunk by chunk."""
        for first in range(0, self.runs, _CHUNK):
            count = min(_CHUNK, self.runs - first)
            yield from self._chunk(first, count, engine=context.engine)
            context.progress((first + count) / self.runs)

    def _chunk(self, first: int, count: int, *, engine: str) -> Iterator[Row]:
        """The rows of some networks that run together."""
        theta, h, readout = self.draw(first, count)
        for beta in self.betas:
            ratios = both_ratios(network(self.depth, beta), theta, h=h, readout=readout, engine=engine)
            for quantity, values in zip(QUANTITIES, ratios, strict=True):
                for i, value in enumerate(values[:, 0].tolist(), first):
                    yield {"depth": self.depth, "beta": beta, "quantity": quantity, "index": i, "value": value}

    def draw(self, first: int, count: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """V and W `[E, L, d, d]`, h_0 = A x `[E, 1, d]`, B `[E, 1, d]`."""
        import torch

        stream = NamedDraw().stream(self.seed)
        theta = {}
        for role in ("V", "W"):
            path = self.weights.sample((count, WIDTH, WIDTH), stream.generator(f"{role} from {first}"))
            theta[role] = path(self.depth).double().transpose(0, 1).contiguous()
        ends = stream.generator(f"ends from {first}")
        A = self._end(INPUTS).draw((count, WIDTH, INPUTS), ends).double()
        B = self._end(WIDTH).draw((count, 1, WIDTH), ends).double()
        x = torch.rand(count, 1, INPUTS, generator=ends).double()
        return theta, x @ A.mT, B

    def _end(self, fan_in: int) -> Distribution:
        """The law of an entry of A or B."""
        return Uniform((3 / fan_in) ** 0.5) if self.uniform_ends else Normal(fan_in**-0.5)

    def cost(self) -> Cost:
        """Both ways through every layer for every β, and the draw, which costs as much as two of them."""
        bytes_per_layer = 8 * WIDTH**2 * 2 * _CHUNK
        return Cost(self.depth * self.runs * (2 + 2 * len(self.betas)), 6.0 * bytes_per_layer * self.depth + 1e7, 1e5)

    def probe(self, context: Context) -> float:
        """From one chunk at a tenth of the depth."""
        sample = dataclasses.replace(self, runs=min(self.runs, _CHUNK), depth=max(10, self.depth // 10))
        return seconds_for(self, sample, context=context)


def _tasks(kinds: Sequence[str], betas: tuple[float, ...]) -> Callable[[Settings], Iterator[Task]]:
    """Each kind of weights at each depth."""

    def tasks(settings: Settings) -> Iterator[Task]:
        depths = settings.pick(DEPTHS)
        for kind, depth in itertools.product(kinds, depths):
            released = kind in RELEASED
            labels: dict[str, Label] = {"weights": kind}
            yield Ratios(depth, betas, WEIGHTS[kind], settings.replicates, 0, uniform_ends=released, labels=labels)

    return tasks


# ----------------------------------------------------------------------------------------------------------- measures

Measure = Callable[["pl.DataFrame"], Measured]


def _in_depth(**columns: object) -> Measure:
    """The exponent in L, one curve per run."""

    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(only(rows, **columns), by="index", minimum=100)

    return measure


def _level(power: float, **columns: object) -> Measure:
    """The mean of ratio · L^power at the deepest networks; the interval holds those of all depths from 100 on."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        kept = only(rows, **columns).filter(pl.col("depth") >= 100).sort("depth")
        levels = [
            over_runs(part["value"] * L**power, "mean over runs")
            for (L,), part in kept.group_by(["depth"], maintain_order=True)
        ]
        last = levels[-1]
        note = f"{last.note}, at the largest L; the interval holds those of {len(levels)} depths"
        return Measured(last.value, min(m.low for m in levels), max(m.high for m in levels), last.sample, note)

    return measure


def _logarithm(depth: int, *, against: int | None = None, **columns: object) -> Measure:
    """The mean over runs of log10 of the ratio at a depth, or of its increase since another depth."""

    def logs(rows: pl.DataFrame, L: int) -> Tensor:
        import torch

        values = only(rows, depth=L, **columns).sort("index")["value"].to_list()
        return log_ratio(torch.tensor(values, dtype=torch.float64))

    def measure(rows: pl.DataFrame) -> Measured:
        own = logs(rows, depth)
        return over_runs(own if against is None else own - logs(rows, against), "mean over runs of log10")

    return measure


# ------------------------------------------------------------------------------------------------------------- figures


def _figure_panels(quantity: str, kinds: Mapping[str, str], *, exact: bool) -> Callable[[pl.DataFrame], list[Panel]]:
    """One panel for each kind of weights: median and deciles over runs, for every β."""
    ylabel = AXES[quantity]

    def panels(rows: pl.DataFrame) -> list[Panel]:
        return [
            Panel(
                _curves(only(rows, weights=kind, quantity=quantity), exact=exact),
                "depth L",
                ylabel,
                title=title,
                xscale="log",
                yscale="log",
            )
            for kind, title in kinds.items()
        ]

    return panels


def _curves(rows: pl.DataFrame, *, exact: bool) -> list[Curve]:
    """Median with deciles as band, and the exact root mean square."""
    import polars as pl

    value = pl.col("value")
    bands = [value.median(), value.quantile(0.1).alias("low"), value.quantile(0.9).alias("high")]
    table = rows.group_by("beta", "depth").agg(bands).sort("beta", "depth")
    curves = []
    for (beta,), part in table.group_by(["beta"], maintain_order=True):
        columns = {name: part[name].to_list() for name in ("depth", "value", "low", "high")}
        label = f"β = {NAMES[float(str(beta))]}"
        curves.append(Curve(columns["depth"], columns["value"], label, low=columns["low"], high=columns["high"]))
    return curves + [
        _exact(curve, beta) for curve, beta in zip(curves, table["beta"].unique().sort(), strict=True) if exact
    ]


def _exact(curve: Curve, beta: float) -> Curve:
    """The exact root mean square at the depths of a curve."""
    return Curve(curve.x, [theory.relu_ratio(int(L), beta=beta) for L in curve.x], "exact rms", style="dashed")


NAMES = {0.25: "¼", 0.5: "½", 1.0: "1", 2.0: "2"}


def _figures(first: int, second: int, *, kinds: Mapping[str, str], exact: bool, caption: str) -> tuple[Figure, Figure]:
    """The figure of states and that of gradients."""
    return (
        Figure(
            f"figure{first}",
            "How far the state moves",
            f"Median over runs with deciles. {caption}",
            _figure_panels("output", kinds, exact=exact),
            where=f"Figure {first}",
        ),
        Figure(
            f"figure{second}",
            "How far the gradient moves",
            f"The same for p_k, the gradient of the loss in h_k. {caption}",
            _figure_panels("gradient", kinds, exact=exact),
            where=f"Figure {second}",
        ),
    )


# ------------------------------------------------------------------------------------------- independent layers, row 13


def _iid_claims() -> Iterator[Claim]:
    for kind, quantity in itertools.product(("gaussian", "uniform"), QUANTITIES):
        name = f"{quantity}-{kind}"
        own: dict[str, Any] = {"weights": kind, "quantity": quantity}
        released = " (uniform entries)" if kind == "uniform" else ""
        yield claim(
            f"13.vanishing-{name}",
            f"Independent layers, β = 1: the network tends to the identity as L^(−1/2){released}.",
            where="Fig. 1 and 3",
            quantity=f"exponent in L of the {quantity} ratio, L ≥ 100, one curve per run",
            measure=_in_depth(beta=1.0, **own),
            expected=-0.5,
            tolerance=0.05,
            source="derived",
            minimum_sample=5,
        )
        yield claim(
            f"13.explosion-{name}",
            f"Independent layers, β = 1/4: the network explodes, beyond 10³ at L = 1000{released}.",
            where="Fig. 1 and 3",
            quantity=f"mean over runs of log10 of the {quantity} ratio at L = 1000",
            measure=_logarithm(1000, beta=0.25, **own),
            expected=3.0,
            tolerance=0.0,
            source="measured",
            relation="at least",
            minimum_sample=5,
        )


IID_STUDY = Study(
    "iid",
    title="Independent layers: identity, a limit, or explosion",
    text=(
        "Model h_{k+1} = h_k + L^(−β) V ReLU(W h_k) at the initialisation, d = 40, all weights of variance 1/d and independent. What"
        " decides is L α² = L^(1 − 2β). Beside medians over runs stands the exact root mean square √((1 + α²/2)^L − 1), which is that of"
        " states and of gradients, for Gaussian and for uniform entries. At β = ¼ the law is so skewed that the median falls below it."
        " Computed in float64, in which nothing overflows here."
    ),
    tasks=_tasks(("gaussian", "uniform"), (0.25, 0.5, 1.0)),
    replicates=RUNS,
    figures=_figures(
        1,
        3,
        kinds={"gaussian": "Gaussian entries", "uniform": "uniform entries (code of 2022)"},
        exact=True,
        caption="It vanishes at β = 1, stays at β = ½, and explodes at β = ¼.",
    ),
    claims=tuple(_iid_claims()),
)


# --------------------------------------------------------------------------------- root mean squares, by two ways, row 13

RMS_DEPTHS = (100, 340, 1000)
RMS_RUNS = Tiered(quick=10_000, paper=100_000)
DIRECT_DEPTH = 100
DIRECT_RUNS = Tiered(quick=1_000, paper=10_000)
_PART = 10_000
"""Runs of one task."""


def _rms_tasks(settings: Settings) -> Iterator[Task]:
    """Conditional laws at three depths and two β, and matrices in full at one."""
    for depth, beta in itertools.product(RMS_DEPTHS, (0.5, 1.0)):
        runs = settings.pick(RMS_RUNS) if beta == 0.5 else _PART
        for first in range(0, runs, _PART):
            labels: dict[str, Label] = {"way": "conditional", "beta": beta}
            yield ConditionalRuns(depth, WIDTH, _PART, 0, first=first, beta=beta, labels=labels)
    per_task = 1_000
    for part in range(settings.pick(DIRECT_RUNS) // per_task):
        yield Ratios(
            DIRECT_DEPTH, (0.5,), WEIGHTS["gaussian"], per_task, 1 + part, labels={"way": "direct", "part": part}
        )


def _rms(depth: int, way: str, *, beta: float = 0.5, quantity: str = "output", power: float = 0.0) -> Measure:
    """The root mean square of a ratio over runs, times L^power."""

    def measure(rows: pl.DataFrame) -> Measured:
        values = only(rows, depth=depth, way=way, beta=beta, quantity=quantity)["value"]
        return over_blocks(values.to_numpy() * depth**power, root_mean_square, note="root mean square over runs")

    return measure


def _rms_claims() -> Iterator[Claim]:
    for depth in RMS_DEPTHS:
        exact = theory.relu_ratio(depth, beta=0.5)
        yield claim(
            f"13.exact-{depth}",
            f"β = 1/2, L = {depth}: the root mean square of the ratio is √((1 + 1/(2L))^L − 1).",
            where="Fig. 1; derived for Gaussian weights",
            quantity="root mean square of the output ratio, d = 40, by conditional laws",
            measure=_rms(depth, "conditional"),
            expected=exact,
            tolerance=0.01,
            source="derived",
        )
        yield claim(
            f"13.level-{depth}",
            f"β = 1/2, L = {depth}: the ratio is of order 1, close to 0.80.",
            where="Fig. 1",
            quantity="root mean square of the output ratio, d = 40, by conditional laws",
            measure=_rms(depth, "conditional"),
            expected=0.80,
            tolerance=0.03,
            source="measured",
        )
        yield claim(
            f"13.vanishing-{depth}",
            f"β = 1, L = {depth}: the ratio is (2L)^(−1/2).",
            where="Fig. 1",
            quantity="root mean square of the output ratio times √L, d = 40, by conditional laws",
            measure=_rms(depth, "conditional", beta=1.0, power=0.5),
            expected=0.5**0.5,
            tolerance=0.01,
            source="derived",
        )


def _direct_claims() -> Iterator[Claim]:
    for quantity in QUANTITIES:
        yield claim(
            f"13.direct-{quantity}",
            "β = 1/2, with matrices drawn in full: the same root mean square, of states and of gradients.",
            where="Fig. 1 and 3; derived for Gaussian weights",
            quantity=f"root mean square of the {quantity} ratio, d = 40, L = {DIRECT_DEPTH}",
            measure=_rms(DIRECT_DEPTH, "direct", quantity=quantity),
            expected=theory.relu_ratio(DIRECT_DEPTH, beta=0.5),
            tolerance=0.01,
            source="derived",
            tiers=("paper",),
        )


def _rms_panels(rows: pl.DataFrame) -> list[Panel]:
    """The measured root mean squares with their intervals, and the exact ones."""
    panels = []
    for beta in (0.5, 1.0):
        measured = [_rms(L, "conditional", beta=beta)(rows) for L in RMS_DEPTHS]
        low, high = [m.low for m in measured], [m.high for m in measured]
        curves = [
            Curve(RMS_DEPTHS, [m.value for m in measured], "measured", low=low, high=high),
            Curve(RMS_DEPTHS, [theory.relu_ratio(L, beta=beta) for L in RMS_DEPTHS], "exact", style="dashed"),
        ]
        if beta == 0.5:
            direct = _rms(DIRECT_DEPTH, "direct")(rows)
            curves.append(Curve([DIRECT_DEPTH], [direct.value], "matrices in full", style="markers"))
        yscale: Scale = "linear" if beta == 0.5 else "log"
        title = f"root mean square, β = {NAMES[beta]}"
        panels.append(Panel(curves, "depth L", AXES["output"], title=title, xscale="log", yscale=yscale))
    return panels


RMS_STUDY = Study(
    "root-mean-square",
    title="The exact root mean square",
    text=(
        "With Gaussian weights the mean square of the ratio is (1 + α²/2)^L − 1 at every width and depth. Networks are run in two ways:"
        " with V and W drawn in full, and by the conditional Gaussian laws of W h and V g, which need no matrix."
    ),
    tasks=_rms_tasks,
    figures=(
        Figure(
            "rms",
            "Root mean squares on the exact curve",
            "Measured by conditional laws, with 95 % intervals over runs as band; marker: with matrices drawn in full.",
            _rms_panels,
        ),
    ),
    claims=(*_rms_claims(), *_direct_claims()),
)


# ------------------------------------------------------------------------------------------------ smooth layers, row 15

LEVEL_DEPTHS = Tiered(quick=(120,), paper=(120, 1000))
LEVEL_RUNS = 500


def _smooth_tasks(settings: Settings) -> Iterator[Task]:
    """The runs of the figures, and many more at few depths, which the level at β = 1 needs."""
    yield from _tasks(("values", "increments"), (0.5, 1.0, 2.0))(settings)
    depths, per_task = settings.pick(LEVEL_DEPTHS), 100
    for depth, part in itertools.product(depths, range(LEVEL_RUNS // per_task)):
        labels: dict[str, Label] = {"weights": "values, many runs", "part": part}
        yield Ratios(depth, (1.0, 2.0), WEIGHTS["values"], per_task, 1 + part, labels=labels)


def _level_claims() -> Iterator[Claim]:
    yield claim(
        "15.level",
        "Smooth layers, β = 1: the ratio tends to a constant, about 0.30.",
        where="Fig. 4",
        quantity=f"mean over {LEVEL_RUNS} runs of the output ratio, L = 120 (paper tier: and 1000)",
        measure=_level(0.0, weights="values, many runs", quantity="output", beta=1.0),
        expected=0.30,
        tolerance=0.02,
        source="measured",
    )
    yield claim(
        "15.identity-level",
        "Smooth layers, β = 2: the ratio is 0.30/L.",
        where="Fig. 4",
        quantity=f"mean over {LEVEL_RUNS} runs of L times the output ratio, L = 120 (paper tier: and 1000)",
        measure=_level(1.0, weights="values, many runs", quantity="output", beta=2.0),
        expected=0.30,
        tolerance=0.02,
        source="measured",
    )
    yield claim(
        "15.level-increments",
        "Smooth layers that are increments of the process (code of 2022), β = 1: the state moves less than with values.",
        where="Fig. 4",
        quantity="mean over runs of the output ratio, at every L ≥ 100",
        measure=_level(0.0, weights="increments", quantity="output", beta=1.0),
        expected=0.28,
        tolerance=0.0,
        source="derived",
        relation="at most",
    )


def _power_claims() -> Iterator[Claim]:
    for kind, quantity in itertools.product(("values", "increments"), QUANTITIES):
        name = f"{quantity}-{kind}"
        own: dict[str, Any] = {"weights": kind, "quantity": quantity}
        as_of = " (increments, code of 2022)" if kind == "increments" else ""
        for word, beta, expected in (("flat", 1.0, 0.0), ("identity", 2.0, -1.0)):
            yield claim(
                f"15.{word}-{name}",
                f"Smooth layers, β = {beta:g}: the ratio is of order L^{expected:g}{as_of}.",
                where="Fig. 4 and 5; theorem on smooth weights",
                quantity=f"exponent in L of the {quantity} ratio, L ≥ 100, one curve per run",
                measure=_in_depth(beta=beta, **own),
                expected=expected,
                tolerance=0.05,
                source="theorem",
                minimum_sample=5,
            )
        yield claim(
            f"15.explosion-{name}",
            f"Smooth layers, β = 1/2: the network explodes{as_of}.",
            where="Fig. 4 and 5; theorem on smooth weights",
            quantity=f"mean over runs of log10 of the {quantity} ratio at L = 1000 over that at L = 120",
            measure=_logarithm(1000, against=120, beta=0.5, **own),
            expected=1.0,
            tolerance=0.0,
            source="theorem",
            relation="at least",
            minimum_sample=5,
        )


SMOOTH_STUDY = Study(
    "smooth",
    title="Smooth layers: the neural ODE is at β = 1",
    text=(
        "The same with entries of V and W that are smooth functions of depth: values of a Gaussian process of length 0.1, one path read at"
        " every depth. The code of 2022 took increments of the process in place of its values, scaled to variance 1. They are smooth as"
        " well, so that the critical β is the same; but a derivative adds up to little over a stretch longer than 0.1, and the state moves"
        " less."
    ),
    tasks=_smooth_tasks,
    replicates=RUNS,
    figures=_figures(
        4,
        5,
        kinds={"values": "values of the process", "increments": "increments (code of 2022)"},
        exact=False,
        caption="It vanishes at β = 2, stays at β = 1, and explodes at β = ½.",
    ),
    claims=(*_level_claims(), *_power_claims()),
)

STUDIES = (IID_STUDY, RMS_STUDY, SMOOTH_STUDY)
