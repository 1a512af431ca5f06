"""Families of weights whose regime is known, against which the verdict on weights is tested and its power measured.

A family draws the weights of one role at several depths from one generator, smooth parts and paths being the same at every depth, as the
networks of one experiment would share a limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.regimes.weights import WeightLabel

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Curve = Callable[[Tensor], Tensor]

_NOISES = (0.3, 3.0)
"""Noise beside trends of size 1 is between these, log-uniformly."""


@dataclass(frozen=True)
class Family:
    """Weights of a known regime.

    Args:
        name: with its parameter.
        label: what the verdict should be.
        at: (generator, depth, entries) -> function of depth that gives `[entries, L]`; drawn once for all depths.
    """

    name: str
    label: WeightLabel
    at: Callable[[torch.Generator, int, int], Callable[[int], Tensor]]

    def draw(self, depths: Sequence[int], entries: int, *, seed: int) -> dict[int, Tensor]:
        """Weights `[1, L, entries]` at each depth; the depths divide the largest.

        Raises:
            InputError: a depth does not divide the largest.
        """
        import torch

        finest = max(depths)
        for depth in depths:
            if finest % depth:
                raise checks.InputError(f"depth: expected a divisor of the largest, {finest}, found {depth}")
        paths = self.at(torch.Generator().manual_seed(seed), finest, entries)
        return {depth: paths(depth).T[None] for depth in depths}


def _smooth(generator: torch.Generator, finest: int, entries: int, *, beta: float) -> Callable[[int], Tensor]:
    """L^(−β) Ā(k/L), Ā of three slow waves."""
    curve = _trend(generator, entries)
    return lambda depth: depth**-beta * curve(_grid(depth))


def _kinked(generator: torch.Generator, finest: int, entries: int, *, beta: float) -> Callable[[int], Tensor]:
    """L^(−β) Ā(k/L), Ā piecewise linear with two kinks."""
    import torch

    places = 0.2 + 0.6 * torch.rand(2, generator=generator, dtype=torch.float64)
    slopes, level = _normal(generator, entries, 2), _normal(generator, entries, 1)
    return lambda depth: depth**-beta * (level + slopes @ (_grid(depth) - places[:, None]).abs())


def _fractional(generator: torch.Generator, finest: int, entries: int, *, hurst: float) -> Callable[[int], Tensor]:
    """Fractional Brownian motion from a random level."""
    from deeplimit.processes import FractionalBrownianMotion

    level = 0.5 * _normal(generator, entries, 1)
    path = FractionalBrownianMotion(hurst, finest=finest).sample((entries,), generator)
    return lambda depth: level + path(depth).T


def _trend_and_noise(generator: torch.Generator, finest: int, entries: int, *, beta: float) -> Callable[[int], Tensor]:
    """L^(−β) Ā(k/L) and increments of a Brownian motion."""
    curve, size = _trend(generator, entries), _size(generator)
    return lambda depth: depth**-beta * curve(_grid(depth)) + size * depth**-0.5 * _normal(generator, entries, depth)


def _tied_and_noise(generator: torch.Generator, finest: int, entries: int, *, gamma: float) -> Callable[[int], Tensor]:
    """Equal layers and independent noise of size L^(−γ)."""
    level, size = _normal(generator, entries, 1), _size(generator)
    return lambda depth: level + size * depth**-gamma * _normal(generator, entries, depth)


def _independent(generator: torch.Generator, finest: int, entries: int, *, gamma: float) -> Callable[[int], Tensor]:
    """Independent layers of size L^(−γ)."""
    return lambda depth: depth**-gamma * _normal(generator, entries, depth)


def _remembering(generator: torch.Generator, finest: int, entries: int, *, hurst: float) -> Callable[[int], Tensor]:
    """Fractional Gaussian noise of variance 1: neighbours are related, at every depth in the same way."""
    from deeplimit.processes.fractional import fractional_noise

    return lambda depth: fractional_noise(hurst, depth, paths=entries, generator=generator)


def _jumping(generator: torch.Generator, finest: int, entries: int, *, jumps: int) -> Callable[[int], Tensor]:
    """Constant between some jumps."""
    import torch

    places = 0.15 + 0.7 * torch.rand(jumps, generator=generator, dtype=torch.float64).sort().values
    levels = _normal(generator, entries, jumps + 1)
    return lambda depth: levels[:, torch.searchsorted(places, _grid(depth))]


def _sparse(generator: torch.Generator, finest: int, entries: int, *, layers: int) -> Callable[[int], Tensor]:
    """A few layers of size 1, the rest noise of size 1/L."""
    import torch

    places = torch.rand(layers, generator=generator, dtype=torch.float64)
    spikes = _normal(generator, entries, layers)

    def paths(depth: int) -> Tensor:
        weights = _normal(generator, entries, depth) / depth
        return weights.index_add(1, (places * depth).long(), spikes)

    return paths


FAMILIES: tuple[Family, ...] = (
    *(Family(f"smooth, β = {b:g}", "hypothesis 1", partial(_smooth, beta=b)) for b in (0, 0.25, 0.5, 1)),
    *(Family(f"kinked, β = {b:g}", "hypothesis 1", partial(_kinked, beta=b)) for b in (0, 0.5)),
    *(Family(f"fractional, H = {h / 10:g}", "hypothesis 1", partial(_fractional, hurst=h / 10)) for h in range(1, 10)),
    *(
        Family(f"trend + noise, β = {b:g}", "hypothesis 2", partial(_trend_and_noise, beta=b))
        for b in (0, 0.25, 0.5, 0.75, 1)
    ),
    Family("tied + noise", "hypothesis 2", partial(_tied_and_noise, gamma=0.5)),
    Family("tied + layers of size 1", "i.i.d.-like", partial(_tied_and_noise, gamma=0.0)),
    *(Family(f"independent, size L^-{g:g}", "i.i.d.-like", partial(_independent, gamma=g)) for g in (0, 0.25, 1)),
    *(Family(f"remembering, H = {h:g}", "i.i.d.-like", partial(_remembering, hurst=h)) for h in (0.3, 0.7, 0.9)),
    *(Family(f"piecewise, {j} jumps", "piecewise", partial(_jumping, jumps=j)) for j in (1, 3)),
    Family("sparse, 3 layers", "sparse", partial(_sparse, layers=3)),
)
"""All families, with the label that each should get."""


def _grid(depth: int) -> Tensor:
    import torch

    return torch.arange(1, depth + 1, dtype=torch.float64) / depth


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    import torch

    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _size(generator: torch.Generator) -> float:
    import torch

    low, high = map(math.log, _NOISES)
    return math.exp(low + (high - low) * float(torch.rand((), generator=generator)))


def _trend(generator: torch.Generator, entries: int) -> Curve:
    """A level and three cosines of ½, 1 and 2 periods, of random size and phase for each entry."""
    import torch

    periods = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    level, sizes = _normal(generator, entries, 1), _normal(generator, entries, 3) / (1 + periods)
    phases = 2 * math.pi * torch.rand(entries, 3, generator=generator, dtype=torch.float64)

    def curve(s: Tensor) -> Tensor:
        waves = torch.cos(2 * math.pi * periods[None, :, None] * s + phases[:, :, None])
        return level + (sizes[:, :, None] * waves).sum(1)

    return curve
