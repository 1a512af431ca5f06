"""Weights that are a function of depth: a given one, or a Gaussian process."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.processes.process import ContinuousPath, Path, Process

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Function(Process):
    """Given weights: any function of s, Lipschitz for the theory to hold.

    Args:
        function: maps positions s `[K]` (float64) to weights `[K, *shape]`.
    """

    function: Callable[[Tensor], Tensor]

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Nothing is drawn."""
        return _FunctionPath(self.function, shape)


class _FunctionPath(ContinuousPath):
    def __init__(self, function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
        self._function, self._shape = function, shape

    def at(self, s: Tensor) -> Tensor:
        values = self._function(s)
        checks.shape("weights as a function of s", tuple(values.shape), (len(s), *self._shape))
        return values


@dataclass(frozen=True)
class GaussianProcess(Process):
    """Independent entries, each a centred Gaussian process with covariance std² exp(−(s − s′)² / (2 ℓ²)).

    The values of the weights follow the process, not their increments; its paths are analytic in s. With u = (s − ½)/ℓ the covariance
    is the sum over j ≥ 0 of g_j(s) g_j(s′), where g_j(s) = exp(−u²/2) u^j / √(j!); so a path is the sum of g_j with independent
    standard normal coefficients, exact in law to float64 rounding once the series is cut where Σ g_j² has reached 1. (A Cholesky
    factor of the covariance would need jitter, and is rough at large depth.)

    Reference: Marion et al. 2024, section 4.3, the example of a smooth initialisation. The paper gives no value of ℓ.

    Args:
        length: ℓ, the length scale in units of the whole depth.
        std: standard deviation of each weight.
    """

    length: float = 0.5
    std: float = 1.0

    def __post_init__(self) -> None:
        """Refuse scales that are not positive."""
        checks.positive("length", self.length)
        checks.positive("std", self.std)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Draw the coefficients of one path."""
        import torch

        coefficients = torch.randn(self._terms(), math.prod(shape), generator=generator, dtype=torch.float64)
        return _GaussianPath(self, self.std * coefficients, shape)

    def _terms(self) -> int:
        """The number of terms: Σ_{j ≥ J} g_j² is the upper tail of a Poisson law of mean u² ≤ 1/(4ℓ²)."""
        import numpy as np
        from scipy.special import pdtrc

        mean = 0.25 / self.length**2
        j = np.arange(int(2 * mean) + 100)
        return int(np.argmax(pdtrc(j, mean) < 1e-30)) + 1

    def features(self, s: Tensor) -> Tensor:
        """The functions g_j at the positions s `[K]`, `[K, J]`, in float64."""
        import torch

        u = ((s.double() - 0.5) / self.length).unsqueeze(-1)
        j = torch.arange(self._terms(), dtype=torch.float64)
        size = torch.exp(j * torch.log(u.abs().clamp_min(1e-300)) - u**2 / 2 - torch.lgamma(j + 1) / 2)
        return torch.where((j % 2 == 1) & (u < 0), -size, size)


class _GaussianPath(ContinuousPath):
    def __init__(self, process: GaussianProcess, coefficients: Tensor, shape: tuple[int, ...]) -> None:
        self._process, self._coefficients, self._shape = process, coefficients, shape

    def at(self, s: Tensor) -> Tensor:
        return (self._process.features(s) @ self._coefficients).reshape(len(s), *self._shape)
