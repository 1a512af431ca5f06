"""Trend and noise of trained weights, and the loss without the noise (row 10 of the checklist).

Under hypothesis 2 A_k = L^(−β) Ā(k/L) + W((k + 1)/L) − W(k/L), so that S_L(s) = L^(β − 1) Σ_{k < sL} A_k tends to ∫_0^s Ā. The mean of S
over some deep networks stands for the integral, its differences give the trend at every depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from deeplimit import checks
from deeplimit.claims import Claim, Measured
from deeplimit.draws import NamedDraw
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import mean_over_seeds
from deeplimit.papers.cohen2021.networks import (
    ENTRIES,
    LOSS,
    RELU,
    SETTINGS,
    SYNTHETIC,
    TANH,
    TANH_BASE,
    Setting,
    depth_grid,
    trained,
)
from deeplimit.papers.cohen2021.rows import against_depth, curve, layers_panel
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.networks import Parameters

    Weights = Mapping[str, Tensor]

FACTORS = {TANH: 0.2, RELU: 0.5}
"""β of the released code, which scales the sums with it."""

# The released code takes the 5th to 8th deepest of its sweep to 10321 for the trend, and looks at depths above 500.
DEPTHS = Tiered(quick=(64, 80, 101), paper=depth_grid(TANH_BASE, 4096, first=501))
TREND = Tiered(quick=(161, 203), paper=(2048, 2580, 3250, 4096))
NODES = Tiered(quick=50, paper=500)
OWN_NODES = 25
"""Pieces on which a network's own trend is constant."""


@dataclass(frozen=True)
class Denoising:
    """Train at several depths, take the noise off the weights and compare the losses.

    Rows by depth and seed: `loss.trained`; `loss.denoised`, with the trend of the deep networks in place of the weights; `loss.released`,
    the same with pieces of the trend as the released code cuts them; `loss.own`, with the means of the network's own weights over 25 pieces
    in place of them. At the depth before the trend's, by layer and role: `trend`,
    L^β times the trend; `noise`, Σ_{j ≤ k} (A_j − trend_j), which is W under hypothesis 2; `noise.released`, L^(β − 1) times it, as the
    released code plots.

    Args:
        setting: family and training.
        beta: β.
        depths: where losses are compared.
        trend: depths whose mean sum stands for ∫Ā.
        nodes: pieces on which the trend is constant, at most as many as the shallowest network has layers.
        seeds: of weights, data and batches.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    setting: Setting
    beta: float
    depths: tuple[int, ...]
    trend: tuple[int, ...]
    nodes: int
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuse more pieces than layers."""
        if self.nodes > min(*self.depths, *self.trend):
            raise checks.InputError(
                f"nodes: expected at most the {min(*self.depths, *self.trend)} layers of the shallowest network, found {self.nodes}"
            )

    def run(self, context: Context) -> Iterator[Row]:
        """Train all depths, then denoise."""
        from deeplimit.networks import effective

        depths = sorted({*self.depths, *self.trend})
        params: dict[int, Parameters] = {}
        for number, depth in enumerate(depths):
            params[depth] = trained(self.setting, depth, seeds=self.seeds, context=context)
            context.progress((number + 1) / (len(depths) + 1))
        weights = {depth: effective(self.setting.network(depth), p) for depth, p in params.items()}
        deep = [weights[depth] for depth in self.trend]
        ours, released = (self._integrals(deep, whole=whole) for whole in (False, True))
        for depth in self.depths:
            trends = {"denoised": self._trends(ours, depth), "released": self._trends(released, depth)}
            yield from self._losses(depth, params[depth], weights=weights[depth], trends=trends)
        shown = max(depth for depth in self.depths if depth not in self.trend)
        yield from self._profiles(shown, weights[shown], self._trends(ours, shown))

    def cost(self) -> Cost:
        """That of the training runs."""
        costs = [self.setting.run(depth, self.seeds).cost() for depth in {*self.depths, *self.trend}]
        weights = sum({*self.depths, *self.trend}) * len(self.seeds) * 4 * 111
        return Cost(sum(c.layer_steps for c in costs), max(c.memory_bytes for c in costs) + 3 * weights, 1e6)

    def probe(self, context: Context) -> float:
        """Seconds of the training run at the deepest, in proportion to layers."""
        depths = {*self.depths, *self.trend}
        return self.setting.run(max(depths), self.seeds).probe(context) * sum(depths) / max(depths)

    def _integrals(self, deep: Sequence[Weights], *, whole: bool) -> Weights:
        import torch

        return {
            role: torch.stack([integral(w[role], self.beta, nodes=self.nodes, whole=whole) for w in deep]).mean(0)
            for role in ENTRIES[self.setting.family]
        }

    def _trends(self, integrals: Weights, depth: int) -> Weights:
        return {role: trend_of(tensor, depth, beta=self.beta) for role, tensor in integrals.items()}

    def _losses(
        self, depth: int, params: Parameters, *, weights: Weights, trends: Mapping[str, Weights]
    ) -> Iterator[Row]:
        import torch

        from deeplimit.training.members import draw_members

        network = self.setting.network(depth)
        _, (x, y) = draw_members(network, SYNTHETIC, seeds=self.seeds, draw=NamedDraw(), dtype="float32", device="cpu")
        sign = params["delta"].sign() if self.setting.family == "relu" else params["delta"]
        own = {role: averaged(weights[role], OWN_NODES) for role in ENTRIES[self.setting.family]}
        versions: dict[str, Weights] = {"trained": params}
        versions |= {name: {**w, "delta": sign} for name, w in (*trends.items(), ("own", own))}
        with torch.no_grad():
            for name, version in versions.items():
                losses = LOSS(network({role: w.to(x) for role, w in version.items()}, x), y).tolist()
                for seed, loss in zip(self.seeds, losses, strict=True):
                    yield {"depth": depth, "seed": seed, "quantity": f"loss.{name}", "value": loss}

    def _profiles(self, depth: int, weights: Weights, trends: Weights) -> Iterator[Row]:
        for role, place in ENTRIES[self.setting.family].items():
            trend = _entry(trends[role], place).double()
            noise = (_entry(weights[role], place).double() - trend).cumsum(1)
            curves = {
                "trend": depth**self.beta * trend,
                "noise": noise,
                "noise.released": depth ** (self.beta - 1) * noise,
            }
            for name, table in curves.items():
                for seed, values in zip(self.seeds, table.tolist(), strict=True):
                    row: Row = {"depth": depth, "seed": seed, "quantity": f"{name}.{role}"}
                    yield from ({**row, "index": k, "value": v} for k, v in enumerate(values, start=1))


def _entry(weights: Tensor, place: tuple[int, ...]) -> Tensor:
    """One entry of each layer, `[E, L]`."""
    for i in place:
        weights = weights.select(2, i)
    return weights


def integral(weights: Tensor, beta: float, *, nodes: int, whole: bool = False) -> Tensor:
    """S_L at i/nodes, i = 0 … nodes: L^(β − 1) Σ_{k < iL/nodes} A_k.

    Args:
        weights: `[E, L, *shape]`.
        beta: β.
        nodes: number of pieces.
        whole: count layers whole, as the released code does: pieces then have one layer more or less, and the trend is a saw-tooth. Else
            a layer that lies across i/nodes counts in part.

    Returns:
        `[E, nodes + 1, *shape]` in float64.
    """
    import torch

    depth = weights.shape[1]
    sums = weights.double().cumsum(1)
    sums = torch.cat([torch.zeros_like(sums[:, :1]), sums], dim=1)
    above = [-(-i * depth // nodes) for i in range(nodes + 1)]  # k < iL/nodes: this many k
    if whole:
        return sums[:, above] * math.pow(depth, beta - 1)
    below = [i * depth // nodes for i in range(nodes + 1)]
    part = torch.tensor([i * depth % nodes / nodes for i in range(nodes + 1)], dtype=torch.float64)
    between = torch.lerp(sums[:, below], sums[:, above], part.reshape(1, -1, *[1] * (weights.dim() - 2)))
    return between * math.pow(depth, beta - 1)


def trend_of(integral: Tensor, depth: int, *, beta: float) -> Tensor:
    """L^(−β) Ā(k/L): differences of the integral over the piece in which layer k lies, `[E, L, *shape]`.

    Args:
        integral: `[E, nodes + 1, *shape]`.
        depth: L.
        beta: β.
    """
    nodes = integral.shape[1] - 1
    pieces = [nodes * k // depth for k in range(depth)]
    trend: Tensor = integral.diff(dim=1)[:, pieces] * (nodes * math.pow(depth, -beta))
    return trend


def averaged(weights: Tensor, nodes: int) -> Tensor:
    """Every layer's weights replaced by the mean over the layers of its piece, `[E, L, *shape]`."""
    import torch

    depth = weights.shape[1]
    pieces = torch.tensor([nodes * k // depth for k in range(depth)])
    counts = torch.bincount(pieces, minlength=nodes).to(weights)
    sums = weights.new_zeros(weights.shape[0], nodes, *weights.shape[2:]).index_add(1, pieces, weights)
    means: Tensor = sums / counts.reshape(1, -1, *[1] * (weights.dim() - 2))
    return means[:, pieces]


def _tasks(settings: Settings) -> Iterator[Task]:
    sizes: dict[str, Any] = {"depths": DEPTHS, "trend": TREND, "nodes": NODES}
    for name, beta in FACTORS.items():
        given = {size: settings.pick(value) for size, value in sizes.items()}
        yield Denoising(SETTINGS[name], beta, **given, seeds=settings.seeds(), labels={"setting": name})


def ratio(setting: str, quantity: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the decimal logarithm of a loss over that of the trained network: mean over depths, then over seeds."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, setting=setting)
        seeds = sorted(set(own["seed"].drop_nulls()))
        logs = []
        for seed in seeds:
            new, old = (only(own, seed=seed, quantity=q).sort("depth")["value"] for q in (quantity, "loss.trained"))
            logs.append(float((new / old).log10().mean()))  # type: ignore[arg-type]
        return mean_over_seeds(logs, f"log10 of the ratio, mean over depths of {min(own['depth'])} and more")

    return measure


def _losses(rows: pl.DataFrame) -> list[Panel]:
    names = {"trained": "trained", "denoised": "trend of deep nets", "released": "as released", "own": "own trend"}
    panels = []
    for setting in FACTORS:
        own = only(rows, setting=setting)
        curves = [curve(only(own, quantity=f"loss.{name}"), label) for name, label in names.items()]
        depths = [min(curves[0].x), max(curves[0].x)]
        curves.append(Curve(depths, [1e-2, 1e-2], "0.01", style="dotted"))
        panels.append(against_depth(curves, "loss", title=setting))
    return panels


def _decomposition(setting: str) -> Callable[[pl.DataFrame], list[Panel]]:
    def panels(rows: pl.DataFrame) -> list[Panel]:
        own = only(rows, setting=setting)
        return [
            layers_panel(own, "trend.A", ylabel="L^β × trend of A"),
            layers_panel(own, "noise.A", ylabel="sum of the noise of A"),
            layers_panel(own, "noise.released.A", ylabel="as released, × L^(β−1)"),
        ]

    return panels


STUDY = Study(
    "denoising",
    title="Trend and noise, and the loss without the noise",
    text=(
        "The mean of the scaled sums of the weights over four deep networks stands for the integral of the trend. What is left of the"
        " weights of a shallower one is the noise. Does the network need it? Losses on the training data are compared with the trained"
        " weights and with the trend alone, which says two things at once: that noise is irrelevant, and that all depths have one trend."
        " To tell them apart each network is also evaluated with its own weights averaged over 25 pieces of depth. The released script"
        " plots the noise with a factor L^(β−1) that hypothesis 2 does not have, and cuts the sums at whole layers, which gives the trend"
        " a saw-tooth; both versions are computed. As released, the script cannot be run."
    ),
    replicates=5,
    tasks=_tasks,
    figures=(
        Figure(
            "denoising-loss",
            "The loss with and without the noise",
            "Geometric mean over seeds, band: their range. Trained weights, the trend of the deep networks, and each network's own trend.",
            _losses,
            where="section 4, loss of denoised networks",
        ),
        Figure(
            "denoising-tanh",
            "Trend and noise of one entry: tanh",
            "The deepest network that is not part of the trend, one seed.",
            _decomposition(TANH),
            where="section 4, decomposition",
        ),
        Figure(
            "denoising-relu",
            "Trend and noise of one entry: ReLU",
            "The deepest network that is not part of the trend, one seed.",
            _decomposition(RELU),
            where="section 4, decomposition",
        ),
    ),
    claims=(
        Claim(
            "cohen2021.10.tanh",
            "tanh: the loss without the noise is that of the trained network.",
            "section 4 (not verified)",
            "log10 of denoised over trained loss",
            ratio(TANH, "loss.denoised"),
            expected=0.0,
            tolerance=0.3,
            source="unverified",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.10.relu",
            "ReLU: the loss without the noise is much larger than that of the trained network.",
            "section 4 (not verified)",
            "log10 of denoised over trained loss",
            ratio(RELU, "loss.denoised"),
            expected=1.0,
            tolerance=0.0,
            source="unverified",
            relation="at least",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.10.tanh-own-trend",
            "tanh: the same with each network's own weights, averaged over 25 pieces of depth.",
            "section 4 (not verified)",
            "log10 of the loss with averaged weights over the trained loss",
            ratio(TANH, "loss.own"),
            expected=0.0,
            tolerance=0.3,
            source="unverified",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.10.relu-own-trend",
            "ReLU: the same with each network's own weights, averaged over 25 pieces of depth.",
            "section 4 (not verified)",
            "log10 of the loss with averaged weights over the trained loss",
            ratio(RELU, "loss.own"),
            expected=1.0,
            tolerance=0.0,
            source="unverified",
            relation="at least",
            minimum_sample=5,
        ),
    ),
)
