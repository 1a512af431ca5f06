"""The equations of the supplement that are exact at any width, in float64, and the size of the term that Theorem 1 drops."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Measured
from deeplimit.draws import NamedDraw
from deeplimit.figures import Figure, Panel
from deeplimit.fits import exponent
from deeplimit.limits import euler_defect, kernel_drift, motion, tangent_kernel
from deeplimit.papers.lewkowycz2020.wide.chain import Chain
from deeplimit.papers.lewkowycz2020.wide.common import REPLICATES, claim, extreme
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import guide, seconds_for, seed_band
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.networks import Parameters

DECAY = 0.3
"""λ of the exact equations."""

POINTS, INPUTS = 4, 3
"""Points, the last of them not trained on, and d."""

DRAWS = 256
"""Draws of the weights over which T is averaged."""

INTERVAL = 1e-6
"""Of time, for differences."""


@dataclass(frozen=True)
class Identities:
    """Small networks at their start against Euler's identities and the equations of motion.

    Rows by seed, with `width` and `layers` as columns: `euler`, the largest relative error of Euler's identities along 0, 1 and 2
    random directions; `motion`, that of dΘ/dt against central differences of Θ along the flow; `drift`, |mean over draws of tr T|.

    Args:
        chains: the networks.
        seeds: one data set each.
        draws: weights for the mean of T; the first are those of the identities.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    chains: tuple[Chain, ...]
    seeds: tuple[int, ...]
    draws: int
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Evaluate every network and seed."""
        for chain, seed in itertools.product(self.chains, self.seeds):
            x, y = _normal(seed, "x", POINTS, INPUTS), _normal(seed, "y", POINTS)
            weights = _weights(chain, range(seed * self.draws, (seed + 1) * self.draws))
            first = {role: W[0] for role, W in weights.items()}
            found = {
                "euler": _euler(chain, first, x=x),
                "motion": _motion(chain, first, x=x, y=y),
                "drift": abs(_traces(chain, weights, x=x).mean().item()),
            }
            facts = {"seed": seed, "width": chain.width, "layers": chain.layers}
            yield from ({**facts, "quantity": quantity, "value": value} for quantity, value in found.items())

    def cost(self) -> Cost:
        """Derivatives of all draws at once, most of it the calls."""
        return Cost(len(self.seeds) * len(self.chains) * 1.5e4, 1e8, 1e4)

    def probe(self, context: Context) -> float:
        """From one seed and network."""
        few = dataclasses.replace(self, seeds=self.seeds[:1], chains=self.chains[:1])
        return seconds_for(self, few, context=context)


def _normal(seed: int, name: str, *shape: int) -> Tensor:
    import torch

    return torch.randn(shape, generator=NamedDraw().stream(seed).generator(name), dtype=torch.float64)


def _weights(chain: Chain, seeds: Iterable[int]) -> Parameters:
    """By layer, with one network of each seed on the first axis."""
    return {f"W{i}": W for i, W in enumerate(chain.draw([NamedDraw().stream(seed) for seed in seeds]), start=1)}


def _function(chain: Chain) -> Callable[[Parameters, Tensor], Tensor]:
    return lambda params, x: chain.signals([W[None] for W in params.values()], x[None]).values[0]


def _euler(chain: Chain, params: Parameters, *, x: Tensor) -> float:
    """The largest error along 0, 1 and 2 directions, other networks' weights."""
    directions = [{role: W[0] for role, W in _weights(chain, (seed,)).items()} for seed in (-1, -2)]
    errors = [
        euler_defect(_function(chain), params, x=x, degree=chain.layers, along=directions[:order])
        for order in range(min(chain.layers, 2) + 1)
    ]
    return max(errors)


def _traces(chain: Chain, weights: Parameters, *, x: Tensor) -> Tensor:
    """tr T of every network, with y = 0: y moves T by what is odd in the last layer, and so not its mean."""
    import torch

    f = _function(chain)
    found: Tensor = torch.func.vmap(lambda params: kernel_drift(f, params, x=x, slope=f(params, x)).trace())(weights)
    return found


def _motion(chain: Chain, params: Parameters, *, x: Tensor, y: Tensor) -> float:
    """The largest error of dΘ/dt in units of its largest entry; the last point is not trained on."""
    import torch

    function, trained = _function(chain), torch.ones(POINTS, dtype=x.dtype)
    trained[-1] = 0

    def loss(p: Parameters) -> Tensor:
        squares = (trained * (function(p, x) - y).square()).sum() / 2
        return squares + DECAY / 2 * torch.stack([W.square().sum() for W in p.values()]).sum()

    gradient = torch.func.grad(loss)(params)

    def kernel(time: float) -> Tensor:
        return tangent_kernel(function, {role: W - time * gradient[role] for role, W in params.items()}, x=x)

    slope = trained * (function(params, x) - y)
    rate = motion(function, params, x=x, slope=slope, degree=chain.layers, weight_decay=DECAY)[1]
    difference = (kernel(INTERVAL) - kernel(-INTERVAL)) / (2 * INTERVAL)
    return ((difference - rate).abs().max() / rate.abs().max()).item()


WIDTHS = (16, 32, 64, 128)
CHAINS = (*[Chain(2, width, INPUTS) for width in WIDTHS], Chain(3, WIDTHS[0], INPUTS))


def _tasks(settings: Settings) -> Iterator[Task]:
    """All networks."""
    yield Identities(CHAINS, settings.seeds(0)[:5], DRAWS)


def _worst(quantity: str) -> Callable[[pl.DataFrame], Measured]:
    return lambda rows: extreme("largest", only(rows, quantity=quantity))


def _drift(rows: pl.DataFrame) -> Measured:
    return exponent(only(rows, quantity="drift", layers=2), "width", minimum=16)


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """The mean of T against the width."""
    curve = seed_band(only(rows, quantity="drift", layers=2), "width", label="k = 2")
    guides = [guide(curve, -1.0, factor=0.5)]
    return [Panel([curve, *guides], "width n", "|mean of tr T|", xscale="log", yscale="log")]


IDENTITIES = Study(
    "wide-identities",
    title="The equations that hold at any width",
    text=(
        "Euler's identities for derivatives of f, and dΘ/dt = −2(k−1)λΘ + T + Tᵀ with all its terms, are evaluated by automatic"
        " differentiation in float64 on small networks, the second against central differences of the kernel along the flow. T is what"
        " Theorem 1 drops: its mean over draws of the weights falls like 1/n."
    ),
    tasks=_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "wide-drift",
            "The term that infinite width drops",
            "Absolute mean over draws of the trace of T at the start; mean and range over seeds of the data.",
            _panels,
        ),
    ),
    claims=(
        claim(
            "exact.euler",
            "Derivatives of a network of degree k obey Euler's identities.",
            where="supplement",
            source="derived",
            quantity="largest relative error along 0, 1 and 2 directions, two and three layers",
            measure=_worst("euler"),
            band=(0.0, 1e-10),
            relation="at most",
        ),
        claim(
            "exact.motion",
            "The kernel of a network of any width obeys dΘ/dt = −2(k−1)λΘ + T + Tᵀ.",
            where="supplement",
            quantity="largest relative distance from central differences of the kernel, two and three layers, n = 16…128",
            measure=_worst("motion"),
            band=(0.0, 1e-4),
            relation="at most",
        ),
        claim(
            "exact.drift",
            "At initialisation the mean of T is of order 1/width.",
            where="conjecture of Dyer and Gur-Ari",
            quantity="exponent in n of |mean over draws of tr T|, two layers of ReLU, n = 16…128",
            measure=_drift,
            band=(-1.0, 0.2),
        ),
    ),
)
