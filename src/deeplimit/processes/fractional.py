"""Fractional Brownian motion over depth and its increments, exact in law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.processes.process import Path, Process

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Entries whose transforms are in memory at once.
_CHUNK = 128


@dataclass(frozen=True)
class FractionalBrownianMotion(Process):
    """Independent entries, each std · B(s) with B fractional Brownian motion on [0, 1] of Hurst index H.

    Cov(B(s), B(s′)) = (s^{2H} + s′^{2H} − |s − s′|^{2H}) / 2. H = ½ is Brownian motion; paths are Hölder of every exponent below H.

    A path is drawn once, on the grid k/finest, by circulant embedding (Davies and Harte 1987): exact in law, at the cost of a fast Fourier
    transform per pair of entries. A network whose depth divides `finest` reads it at k/L, so that networks of all these depths have the
    same weights.

    Reference: Marion et al. 2025, the family of weights between the i.i.d. and the smooth case.

    Args:
        hurst: H, strictly between 0 and 1.
        std: standard deviation of each entry at s = 1.
        finest: number of steps of the grid.

    >>> import torch
    >>> path = FractionalBrownianMotion(0.7, finest=64).sample((2,), torch.Generator().manual_seed(0))
    >>> torch.equal(path(64)[3::4], path(16))
    True
    """

    hurst: float
    std: float = 1.0
    finest: int = 2**12

    def __post_init__(self) -> None:
        """Refuse an index outside of (0, 1), a scale that is not positive, and a grid without steps."""
        _check_index(self.hurst)
        checks.positive("std", self.std)
        checks.positive_int("finest", self.finest)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Draw one path on the whole grid."""
        noise = fractional_noise(self.hurst, self.finest, paths=math.prod(shape), generator=generator)
        values = noise.cumsum(1).mul_(self.std * self.finest**-self.hurst)
        return _GridPath(values.T.reshape(self.finest, *shape))


@dataclass(frozen=True)
class FractionalNoise(Process):
    """Independent entries, each std times the increments of fractional Brownian motion over one layer, scaled to variance 1.

    Layer k of L has std · L^H (B(k/L) − B((k−1)/L)): a stationary sequence over k whose law does not depend on L, with covariance
    (|j+1|^{2H} − 2|j|^{2H} + |j−1|^{2H}) / 2 at lag j. H = ½ is independent layers. Networks whose depths divide `finest` stand on one
    path of B.

    Reference: as `FractionalBrownianMotion`.

    Args:
        hurst: H, strictly between 0 and 1.
        std: standard deviation of each weight.
        finest: number of steps of the grid that B is drawn on.
    """

    hurst: float
    std: float = 1.0
    finest: int = 2**12

    def __post_init__(self) -> None:
        """Refuse what the motion refuses."""
        FractionalBrownianMotion(self.hurst, self.std, self.finest)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Draw B."""
        motion = FractionalBrownianMotion(self.hurst, self.std, self.finest).sample(shape, generator)
        return _IncrementPath(motion, self.hurst)


class _GridPath(Path):
    """Values at 1/N, …, 1; the value at 0 is 0."""

    def __init__(self, values: Tensor) -> None:
        self._values = values

    def __call__(self, depth: int) -> Tensor:
        checks.positive_int("depth", depth)
        finest = len(self._values)
        if finest % depth:
            raise checks.InputError(f"depth: expected a divisor of finest = {finest}, found {depth}")
        stride = finest // depth
        return self._values[stride - 1 :: stride].clone()

    def at(self, s: Tensor) -> Tensor:
        finest = len(self._values)
        k = (s.double() * finest).round().long()
        if bool((s.double() * finest - k).abs().max() > 1e-6) or bool((k < 0).any() | (k > finest).any()):
            raise checks.InputError(
                f"s: expected multiples of 1/{finest} in [0, 1], where the path was drawn; found {s}"
            )
        found = self._values[k - 1]
        found[k == 0] = 0.0
        return found


class _IncrementPath(Path):
    def __init__(self, motion: Path, hurst: float) -> None:
        self._motion, self._hurst = motion, hurst

    def __call__(self, depth: int) -> Tensor:
        import torch

        values = self._motion(depth)
        steps: Tensor = torch.diff(values, dim=0, prepend=torch.zeros_like(values[:1]))
        scaled: Tensor = steps * depth**self._hurst
        return scaled

    def at(self, s: Tensor) -> Tensor:
        raise checks.InputError("weights at a position s: expected a process that is a function of s, found increments")


def noise_covariance(hurst: float, count: int) -> Tensor:
    """The covariance of fractional Gaussian noise of variance 1 at lags 0 … count − 1, `[count]` in float64."""
    import torch

    j = torch.arange(count, dtype=torch.float64)
    power = 2 * hurst
    covariance: Tensor = ((j + 1) ** power - 2 * j**power + (j - 1).abs() ** power) / 2
    return covariance


def fractional_noise(hurst: float, steps: int, *, paths: int, generator: torch.Generator) -> Tensor:
    """Independent stretches of fractional Gaussian noise, exact in law, `[paths, steps]` in float64.

    The covariance of `steps` numbers is a corner of a circulant matrix of order 2 · steps, whose eigenvalues are the transform of its
    first row, and not negative for any H. The transform of complex normal numbers, times the roots of the eigenvalues, has independent
    noise as real and as imaginary part.

    Args:
        hurst: H, strictly between 0 and 1.
        steps: length of a stretch.
        paths: how many of them.
        generator: where the random numbers come from.
    """
    import torch

    _check_index(hurst)
    checks.positive_int("steps", steps)
    checks.positive_int("paths", paths)
    covariance = noise_covariance(hurst, steps + 1)
    roots = torch.fft.fft(torch.cat([covariance, covariance[1:-1].flip(0)])).real.clamp_min(0).div(2 * steps).sqrt()
    found = torch.empty(paths, steps, dtype=torch.float64)
    for first in range(0, paths, _CHUNK):
        count = min(_CHUNK, paths - first)
        normal = torch.randn(2, (count + 1) // 2, 2 * steps, generator=generator, dtype=torch.float64)
        noise = torch.fft.fft(torch.complex(normal[0], normal[1]) * roots)[:, :steps]
        found[first : first + count] = torch.cat([noise.real, noise.imag])[:count]
    return found


def _check_index(hurst: float) -> None:
    checks.inside("hurst", hurst)
