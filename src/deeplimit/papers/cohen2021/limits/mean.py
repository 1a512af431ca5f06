"""Independent layers against their deterministic limit, the mean ODE (Chizat 2025, arXiv 2509.10167)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.branches import GELU, Perceptron
from deeplimit.claims import Claim
from deeplimit.draws import NamedDraw
from deeplimit.figures import Figure, Panel
from deeplimit.networks import Initialisation, ResidualStack
from deeplimit.papers.cohen2021.limits.common import claim, largest, panel, slope
from deeplimit.papers.marion2024.finite_time import seconds_for
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.branches import Branch
    from deeplimit.draws import Stream


@dataclass(frozen=True)
class Aligned(Initialisation):
    """Independent perceptrons whose field does not average to 0: W normal, V = (c Wᵀ + N)/√m with N normal, every layer anew.

    With the perceptron's own factors f(h) = (1/m) Σ_j (c w_j + n_j) σ(w_j · h/√q), of mean (c/√q) E[σ′(‖h‖ Z/√q)] h for a normal Z.

    Args:
        alignment: c.
    """

    alignment: float

    def stacked(self, branch: Branch, depth: int, stream: Stream) -> dict[str, Tensor]:
        """V `[depth, q, m]` and W `[depth, m, q]` in float64."""
        import torch

        draws = {
            role: torch.randn(depth, *shape, generator=stream.generator(role), dtype=torch.float64)
            for role, shape in branch.shapes.items()
        }
        V = self.alignment * draws["W"].mT + draws["V"]
        return {"V": V / math.sqrt(V.shape[-1]), "W": draws["W"]}


@dataclass(frozen=True)
class MeanOde:
    """Networks with independent layers of several depths and widths against their mean ODE.

    With GELU, E[σ′(u Z)] = ½ for every u, and the mean ODE of `Aligned` layers is dH/ds = (c/(2√q)) H, solved by
    H(1) = exp(c/(2√q)) x. Rows by seed and depth with the columns `width` and `units` = L M: `gap`, max over inputs of ‖h_L − H(1)‖;
    `shortfall`, the mean over inputs of ⟨H(1) − h_L, H(1)⟩/‖H(1)‖, which the noise leaves unbiased. And once `sample.error`, of the mean
    ODE solved from a sample of layers: the root mean square error of H(1) in units of that of its standard errors.

    Args:
        shapes: pairs of depth L and width M.
        seeds: one network of each shape each.
        layers: of the sample.
        units: M of the layers of the sample.
        alignment: c/√q.
        state: q.
        inputs: how many points x, on the sphere of radius √q.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    shapes: tuple[tuple[int, int], ...]
    seeds: tuple[int, ...]
    layers: int
    units: int = 64
    alignment: float = 2.0
    state: int = 4
    inputs: int = 8
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Hold the sampled mean ODE against its closed form, then each network."""
        import torch

        from deeplimit.limits import solve_mean

        x = torch.randn(self.inputs, self.state, generator=NamedDraw().stream(0).generator("x"), dtype=torch.float64)
        x = math.sqrt(self.state) * x / x.norm(dim=1, keepdim=True)
        exact = math.exp(self.alignment / 2) * x
        sample = self._network(self.layers, self.units)
        mean = solve_mean(sample, sample.initialise(0, dtype=torch.float64), x=x, steps=8)
        errors = (mean.outputs - exact).square().mean() / mean.standard_error[-1].square().mean()
        yield {"quantity": "sample.error", "value": errors.sqrt().item()}
        for depth, width in self.shapes:
            network = self._network(depth, width)
            for seed in self.seeds:
                missing = exact - network(network.initialise(seed, dtype=torch.float64), x, engine=context.engine)
                facts: Row = {"depth": depth, "seed": seed, "width": width, "units": depth * width}
                yield facts | {"quantity": "gap", "value": missing.norm(dim=1).max().item()}
                radial = (missing * exact).sum(1) / exact.norm(dim=1)
                yield facts | {"quantity": "shortfall", "value": radial.mean().item()}

    def cost(self) -> Cost:
        """Units: of the networks, and of two passes over the sample at 4 stages of 8 steps."""
        sample, shapes = self.layers * self.units, [L * M for L, M in self.shapes]
        numbers = max(sample, *shapes) * 4 * (self.state + self.inputs)
        return Cost(64.0 * sample + len(self.seeds) * sum(shapes), 8.0 * numbers, 1e5)

    def probe(self, context: Context) -> float:
        """From the same with a smaller sample and one shape."""
        small = dataclasses.replace(self, shapes=self.shapes[:1], layers=max(8, self.layers // 64 // 8 * 8))
        return seconds_for(self, small, context=context)

    def _network(self, depth: int, width: int) -> ResidualStack:
        init = Aligned(self.alignment * math.sqrt(self.state))
        return ResidualStack(Perceptron(self.state, width, GELU()), depth, init=init)


NARROW = 4
"""M of the networks that grow in depth: noise prevails."""

WIDE = 2**13
"""M of the networks in which the error of the Euler scheme prevails."""

FIXED_DEPTH = 256
NARROW_DEPTHS = (FIXED_DEPTH, 1024, 4096)
WIDE_DEPTHS = (16, 32, 64)
WIDTHS = (1, NARROW, 16, 64)
SHAPES = tuple(
    dict.fromkeys(
        [
            *((depth, NARROW) for depth in NARROW_DEPTHS),
            *((depth, WIDE) for depth in WIDE_DEPTHS),
            *((FIXED_DEPTH, width) for width in WIDTHS),
        ]
    )
)


def _tasks(settings: Settings) -> Iterator[Task]:
    yield MeanOde(SHAPES, settings.seeds(0), settings.pick(Tiered(quick=2**12, paper=2**14)))


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """The gap against L M where noise prevails, and the shortfall against L where it does not."""
    noise = {
        f"M = {NARROW}, L grows": {"quantity": "gap", "width": NARROW},
        f"L = {FIXED_DEPTH}, M grows": {"quantity": "gap", "depth": FIXED_DEPTH},
    }
    euler = {f"M = {WIDE}": {"quantity": "shortfall", "width": WIDE}}
    lacking = ("depth L", "what h_L lacks of H(1), along it")
    return [
        panel(rows, noise, x="units", labels=("L M", "largest distance of h_L to H(1)"), slopes=(-0.5,)),
        panel(rows, euler, labels=lacking, slopes=(-1.0,)),
    ]


def _claims() -> Iterator[Claim]:
    gap = "exponent in L M of max over x of ‖h_L − H(1)‖"
    yield claim(
        "mean-ode.depth",
        f"At width M = {NARROW} the distance to the mean ODE falls like 1/√(L M) as depth grows.",
        quantity=f"{gap}, L = {NARROW_DEPTHS[0]}…{NARROW_DEPTHS[-1]}",
        measure=slope("gap", "units", width=NARROW),
        band=(-0.5, 0.1),
    )
    yield claim(
        "mean-ode.width",
        f"At depth L = {FIXED_DEPTH} it falls like 1/√(L M) as width grows.",
        quantity=f"{gap}, M = {WIDTHS[0]}…{WIDTHS[-1]}",
        measure=slope("gap", "units", depth=FIXED_DEPTH),
        band=(-0.5, 0.1),
    )
    yield claim(
        "mean-ode.euler",
        "What the noise does not explain of it falls like 1/L.",
        quantity=f"exponent in L of what h_L lacks of H(1) along H(1), L = {WIDE_DEPTHS[0]}…{WIDE_DEPTHS[-1]}, M = {WIDE}",
        measure=slope("shortfall", width=WIDE),
        band=(-1.0, 0.1),
    )
    yield claim(
        "mean-ode.sample",
        "The mean ODE solved from a sample of layers is its closed form within the standard error that it states.",
        quantity="root mean square error of H(1) over the root mean square of its standard errors",
        measure=largest(quantity="sample.error"),
        band=(2.0, 0.0),
        relation="at most",
        minimum_sample=1,
    )


MEAN = Study(
    "limit-mean-ode",
    title="Independent layers and a deterministic limit: the mean ODE",
    text=(
        "Perceptrons whose layers are drawn independently, with scale 1/(L M): weights without any limit as functions of depth (Chizat"
        " 2025, arXiv 2509.10167). V has a part along Wᵀ, so that the field does not average to 0; with GELU the mean ODE then has a closed"
        " form, against which its solution from a sample of layers is checked too."
    ),
    tasks=_tasks,
    replicates=31,
    figures=(
        Figure(
            "limit-mean-ode",
            "Distance to the mean ODE",
            "The noise falls like 1/√(L M) whether depth or width grows; what is left for wide networks is 1/L, the Euler scheme's.",
            _panels,
        ),
    ),
    claims=tuple(_claims()),
)
