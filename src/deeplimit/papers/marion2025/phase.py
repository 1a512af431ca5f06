"""Figure 7: the phase diagram over the regularity H of the weights and the exponent β (row 16 of the checklist)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit import theory
from deeplimit.claims import Claim, Measured
from deeplimit.draws import NamedDraw
from deeplimit.figures import Curve, Figure, HeatMap, Panel
from deeplimit.fits import half_width
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
    output_ratio,
    over_runs,
)
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

SAMPLES = 10
DEPTH = 1000


def _even(first: float, last: float, count: int) -> tuple[float, ...]:
    """linspace, rounded so that a value has one name."""
    return tuple(round(first + (last - first) * i / (count - 1), 6) for i in range(count))


HURST = Tiered(quick=_even(0.05, 0.97, 9), paper=_even(0.05, 0.97, 51))
BETAS = Tiered(quick=_even(0.0, 1.3, 14), paper=_even(0.0, 1.3, 70))
NETS = Tiered(quick=2, paper=5)


def draw(hurst: float, depth: int, *, seed: int, net: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """One network of Hurst index H in float32: V and W `[1, L, d, d]`, h_0 = A x `[1, n, d]`, B `[1, 1, d]`.

    Every entry of √d V and √d W is fractional Gaussian noise of variance 1 over depth, independent of the others.
    """
    import torch

    from deeplimit.processes.fractional import fractional_noise

    stream = NamedDraw().stream(seed)
    theta = {}
    for role in ("V", "W"):
        generator = stream.generator(f"{role} of net {net} at depth {depth}")
        noise = fractional_noise(hurst, depth, paths=WIDTH**2, generator=generator).float()
        theta[role] = noise.mul_(WIDTH**-0.5).T.reshape(1, depth, WIDTH, WIDTH)
    ends = stream.generator(f"ends of net {net} at depth {depth}")
    A = torch.randn(WIDTH, INPUTS, generator=ends) * INPUTS**-0.5
    x = torch.rand(1, SAMPLES, INPUTS, generator=ends)
    return theta, x @ A.mT, torch.randn(1, 1, WIDTH, generator=ends) * WIDTH**-0.5


@dataclass(frozen=True)
class PhaseColumn:
    """log10 of both ratios at one H and many β, in float32, the mean over inputs of each net.

    Rows, with the net as index and β in the column `beta`: `output`, `gradient`. V and W are drawn once per net, since β only scales
    them. Where a ratio left the range of float32 its logarithm counts as 38.5: far above what any colour shows.

    Args:
        hurst: H.
        betas: β.
        depth: L.
        nets: how many networks.
        seed: names the stream.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    hurst: float
    betas: tuple[float, ...]
    depth: int
    nets: int
    seed: int = 0
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Net by net."""
        for net in range(self.nets):
            theta, h, readout = draw(self.hurst, self.depth, seed=self.seed, net=net)
            for beta in self.betas:
                ratios = both_ratios(network(self.depth, beta), theta, h=h, readout=readout, engine=context.engine)
                for quantity, values in zip(("output", "gradient"), ratios, strict=True):
                    value = log_ratio(values).mean().item()
                    yield {"depth": self.depth, "beta": beta, "quantity": quantity, "index": net, "value": value}
            context.progress((net + 1) / self.nets)

    def cost(self) -> Cost:
        """A draw costs about as much as ten β."""
        return Cost(self.depth * self.nets * (10 + len(self.betas)), 60.0 * self.depth * WIDTH**2, 1e5)

    def probe(self, context: Context) -> float:
        """From one net of a tenth of the depth, at every tenth β."""
        sample = dataclasses.replace(self, nets=1, depth=max(10, self.depth // 10), betas=self.betas[::10])
        return seconds_for(self, sample, context=context)


@dataclass(frozen=True)
class Contours:
    """The β at which the state moves by as much as it is long: log10 ‖h_L − h_0‖/‖h_0‖ = 0, in the mean over inputs of each net.

    Found by Brent's method on the logarithm clipped to ±1, as the colours are.

    Rows, with the net as index: `contour`.

    Args:
        hurst: H.
        depth: L.
        nets: how many networks.
        first: index of the first net.
        seed: names the stream.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    hurst: float
    depth: int
    nets: int
    first: int = 0
    seed: int = 1
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Net by net."""
        for i in range(self.nets):
            net = self.first + i
            yield {
                "depth": self.depth,
                "quantity": "contour",
                "index": net,
                "value": self.root(net, engine=context.engine),
            }
            context.progress((i + 1) / self.nets)

    def root(self, net: int, *, engine: str = "auto") -> float:
        """The root of one net."""
        from scipy.optimize import brentq

        theta, h, _ = draw(self.hurst, self.depth, seed=self.seed, net=net)

        def excess(beta: float) -> float:
            ratio = output_ratio(network(self.depth, beta), theta, h=h, engine=engine)
            return float(log_ratio(ratio).mean().clamp(-1, 1))

        return float(brentq(excess, 0.0, 2.0, xtol=1e-3))

    def cost(self) -> Cost:
        """About ten values of β, forward alone, and the draw."""
        return Cost(self.depth * self.nets * 20, 60.0 * self.depth * WIDTH**2, 1e4)

    def probe(self, context: Context) -> float:
        """From one net of a tenth of the depth."""
        sample = dataclasses.replace(self, nets=1, depth=max(10, self.depth // 10))
        return seconds_for(self, sample, context=context)


# ------------------------------------------------------------------------------------------------------- the diagram


def _diagram_tasks(settings: Settings) -> Iterator[Task]:
    for hurst in settings.pick(HURST):
        betas, nets = settings.pick(BETAS), settings.pick(NETS)
        yield PhaseColumn(hurst, betas, DEPTH, nets, labels={"hurst": hurst})


def crossing(betas: Sequence[float], logs: Sequence[float]) -> float:
    """The β at which logarithms, decreasing in β, pass through 0, by linear interpolation; not a number where they do not.

    >>> crossing([0.4, 0.5, 0.6], [3.0, 1.0, -1.0])
    0.55
    """
    for i in range(len(logs) - 1):
        if logs[i] > 0 >= logs[i + 1]:
            return betas[i] + (betas[i + 1] - betas[i]) * logs[i] / (logs[i] - logs[i + 1])
    return math.nan


def _diagram_panels(rows: pl.DataFrame) -> list[HeatMap]:
    return [
        _map(only(rows, quantity="output"), AXES["output"], title="states"),
        _map(only(rows, quantity="gradient"), AXES["gradient"], title="gradients"),
    ]


def _map(rows: pl.DataFrame, label: str, *, title: str) -> HeatMap:
    """The geometric mean over nets and inputs, with the contour of 1 and the line of the theory."""
    import polars as pl

    table = rows.group_by("hurst", "beta").agg(pl.col("value").mean()).sort("hurst", "beta")
    hurst, betas = (sorted(table[name].unique().to_list()) for name in ("hurst", "beta"))
    columns = [only(table, hurst=h)["value"].to_list() for h in hurst]
    values = [[10.0 ** max(-30.0, min(column[i], 30.0)) for column in columns] for i in range(len(betas))]
    contour = [crossing(betas, [max(-1.0, min(v, 1.0)) for v in column]) for column in columns]
    lines = (
        Curve(hurst, contour, "ratio 1, measured"),
        Curve([hurst[0], 0.5, hurst[-1]], [0.5, 0.5, hurst[-1]], "max(1/2, H)", style="dashed"),
    )
    names = ("Hurst index H of the weights", "β", label, title)
    return HeatMap(values, hurst, betas, *names, limits=(0.1, 10.0), lines=lines)


DIAGRAM = Study(
    "phase-diagram",
    title="Regularity of the weights against scaling",
    text=(
        "Weights are increments of fractional Brownian motion of Hurst index H, of variance 1/d, L = 1000, d = 40; the mean of the"
        " logarithm over nets and ten inputs each (2 nets on a coarse grid at the quick tier, 5 nets on 51 × 70 cells at the paper's)."
        " Above the line the network is the identity, below it explodes. For H above ½ the contour of gradients lies below that of"
        " states at this depth. Colours end at 0.1 and 10. Claims on the"
        " line are in the next study, with more nets."
    ),
    tasks=_diagram_tasks,
    figures=(
        Figure(
            "figure7",
            "From identity to explosion",
            "Left: states; right: gradients. Solid: where the ratio is 1 at this depth; dashed: where it is in the limit.",
            _diagram_panels,
            where="Figure 7",
        ),
    ),
)


# ------------------------------------------------------------------------------------------------------- the contours

EXPECTED = {0.05: 0.47, 0.1: 0.47, 0.2: 0.46, 0.4: 0.45, 0.5: 0.47, 0.7: 0.59, 0.9: 0.81}
"""H -> β of the contour at L = 1000 (measured in an independent simulation)."""

EXTRAPOLATED = (0.2, 0.5, 0.7, 0.9)
DEPTHS = Tiered(quick=(100, 300, 1000), paper=(100, 1000, 10000))
NETS_BY_DEPTH = Tiered(quick=((2000, 16),), paper=((2000, 40), (20000, 16)))
"""(largest depth, nets)."""


def _contour_tasks(settings: Settings) -> Iterator[Task]:
    """Contours at L = 1000 for all H, at the other depths for some; in tasks of a few seconds."""
    by_depth = settings.pick(NETS_BY_DEPTH)
    for hurst in EXPECTED:
        depths = settings.pick(DEPTHS) if hurst in EXTRAPOLATED else (DEPTH,)
        for depth in depths:
            count = next(nets for largest, nets in by_depth if depth <= largest)
            part = max(1, min(count, 20_000 // depth))
            for first in range(0, count, part):
                yield Contours(hurst, depth, min(part, count - first), first=first, labels={"hurst": hurst})


def _contour(hurst: float, depth: int = DEPTH) -> Callable[[pl.DataFrame], Measured]:
    def measure(rows: pl.DataFrame) -> Measured:
        return over_runs(only(rows, hurst=hurst, depth=depth, quantity="contour")["value"], "mean over nets")

    return measure


def extrapolated(rows: pl.DataFrame, hurst: float) -> Measured:
    """The contour at infinite depth: the intercept of a line in 1/log L.

    β(L) = β_∞ + c/log L, by least squares through the means at each depth; β_∞ = Σ w_i β(L_i), so that its interval is
    ± (Σ w_i² e_i²)^{1/2} with e_i the half-widths of the means. It holds the spread over nets, and no bend of β(L).

    Raises:
        LookupError: contours at fewer than three depths.
    """
    import numpy as np

    own = only(rows, hurst=hurst, quantity="contour")
    depths = sorted(own["depth"].unique().to_list())
    if len(depths) < 3:
        raise LookupError(f"an extrapolation needs contours at three depths, found {depths}")
    nets = [only(own, depth=L)["value"].to_numpy() for L in depths]
    x = 1 / np.log(depths)
    weights = 1 / len(x) - x.mean() * (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    value = float(weights @ np.array([net.mean() for net in nets]))
    half = float(np.sqrt(((weights * np.array([half_width(net) for net in nets])) ** 2).sum()))
    note = f"line in 1/log L through L = {', '.join(map(str, depths))}; 95 % interval from the spread over nets"
    return Measured(value, value - half, value + half, min(map(len, nets)), note)


def _limit(hurst: float) -> Callable[[pl.DataFrame], Measured]:
    return lambda rows: extrapolated(rows, hurst)


def _contour_claims() -> Iterator[Claim]:
    for hurst, beta in EXPECTED.items():
        yield claim(
            f"16.contour-{hurst}",
            f"H = {hurst}: at L = 1000 identity and explosion meet at β = {beta}.",
            where="Fig. 7",
            quantity="mean over nets of the β at which the output ratio is 1, L = 1000, d = 40",
            measure=_contour(hurst),
            expected=beta,
            tolerance=0.03,
            source="measured",
            minimum_sample=5,
        )
    for hurst in EXTRAPOLATED:
        yield claim(
            f"16.limit-{hurst}",
            f"H = {hurst}: in the limit of depth identity and explosion meet at max(1/2, H).",
            where="Fig. 7; section on regularity",
            quantity="the same at L = 100, 1000 and 10000, extrapolated in 1/log L",
            measure=_limit(hurst),
            expected=theory.critical_beta(hurst),
            tolerance=0.03,
            source="derived",
            tiers=("paper",),
            minimum_sample=5,
        )


def _contour_panels(rows: pl.DataFrame) -> list[Panel]:
    """The contour at each depth against H, and against 1/log L with the extrapolation."""
    hurst = list(EXPECTED)
    at = [_contour(h)(rows) for h in hurst]
    low, high = [m.low for m in at], [m.high for m in at]
    line = sorted({*hurst, 0.5, 0.95})
    over_hurst = [
        Curve(hurst, [m.value for m in at], f"L = {DEPTH}", low=low, high=high),
        Curve(hurst, list(EXPECTED.values()), f"L = {DEPTH}, expected", style="markers"),
        Curve(line, [theory.critical_beta(h) for h in line], "max(1/2, H)", style="dashed"),
    ]
    over_depth = [curve for h in EXTRAPOLATED for curve in _against_depth(rows, h)]
    return [
        Panel(over_hurst, "Hurst index H of the weights", "β where the ratio is 1"),
        Panel(over_depth, "1 / log L", "β where the ratio is 1", title="markers at 0: max(1/2, H)"),
    ]


def _against_depth(rows: pl.DataFrame, hurst: float) -> list[Curve]:
    """Contours against 1/log L, up to the extrapolation at 0, and the limit of the theory."""
    own = only(rows, hurst=hurst, quantity="contour")
    depths = sorted(own["depth"].unique().to_list(), reverse=True)
    points = [extrapolated(rows, hurst), *(_contour(hurst, L)(rows) for L in depths)]
    x = [0.0, *(1 / math.log(L) for L in depths)]
    label = f"H = {hurst}"
    low, high = [m.low for m in points], [m.high for m in points]
    return [
        Curve(x, [m.value for m in points], label, low=low, high=high),
        # Under the name of the line, whose colour a marker takes; the legend lists a name once.
        Curve([0.0], [theory.critical_beta(hurst)], label, style="markers"),
    ]


CONTOURS = Study(
    "contours",
    title="The line between identity and explosion, against depth",
    text=(
        "For single nets the β at which the mean logarithm over ten inputs is 0, by root finding; intervals are over nets. At finite depth"
        " the contour lies below max(½, H), because β(L) − max(½, H) falls only as 1/log L: with a ratio C L^(max(½, H) − β) it is"
        " log C / log L. At H = ½ the exact law gives β(L) = ½ − log(2 log 2)/(2 log L) for the root mean square. For other H there are"
        " further terms, which a line in 1/log L does not know. Above ½ steps that do not add up coherently leave a share that falls only"
        " as L^{1 − 2H}: under L^{2β} = a L^{2H} + L/(2 log 2), with the last term as at H = ½, the line through these three depths ends"
        " about 0.04 below H = 0.7, as is measured."
    ),
    tasks=_contour_tasks,
    figures=(
        Figure(
            "contours",
            "The contour tends to max(1/2, H) as 1/log L",
            "Left: at L = 1000. Right: against 1/log L; the value at 0 is the intercept of a line.",
            _contour_panels,
        ),
    ),
    claims=tuple(_contour_claims()),
)

STUDIES = (DIAGRAM, CONTOURS)
