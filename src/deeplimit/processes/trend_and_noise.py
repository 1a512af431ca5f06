"""A smooth trend plus the increments of a rough path: the two hypotheses of Cohen et al. on trained weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.processes.fractional import FractionalBrownianMotion
from deeplimit.processes.process import Path, Process

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class TrendAndNoise(Process):
    """Layer k = 0…L−1 of L has L^(−β) Ā(k/L) + W((k+1)/L) − W(k/L).

    Ā is a path of the trend. W has independent entries, Brownian motion unless another Hurst index is given, drawn once on the grid
    j/finest, so that networks of all depths that divide `finest` stand on the same noise. Without noise this is the first hypothesis of
    the paper (a smooth limit of L^β A), with noise the second one.

    Reference: Cohen et al. 2021, hypotheses 1 and 2. The trend is read at the left end k/L of a layer, as there.

    Args:
        trend: Ā, a process whose paths are functions of s.
        beta: β.
        noise_std: standard deviation of the entries of W at s = 1; 0 for no noise.
        hurst: Hurst index of W.
        finest: number of steps of the grid that W is drawn on.

    Raises:
        InputError: β is not finite, or what the motion refuses.

    >>> import torch
    >>> from deeplimit.processes import Constant
    >>> path = TrendAndNoise(Constant(3.0), beta=0.5, noise_std=0.0).sample((), torch.Generator())
    >>> path(4).tolist()
    [1.5, 1.5, 1.5, 1.5]
    """

    trend: Process
    beta: float
    noise_std: float
    hurst: float = 0.5
    finest: int = 2**12

    def __post_init__(self) -> None:
        """Refuse numbers that make no weights."""
        trend = checks.instance(Process, "a process such as Tied()")
        checks.fields(self, trend=trend, beta=checks.finite, noise_std=checks.not_negative)
        FractionalBrownianMotion(self.hurst, finest=self.finest)  # refuses what is no index

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> TrendAndNoisePath:
        """Draw the trend, then the noise."""
        trend = self.trend.sample(shape, generator)
        noise = self._motion().sample(shape, generator) if self.noise_std else None
        return TrendAndNoisePath(self, trend, noise=noise)

    def _motion(self) -> FractionalBrownianMotion:
        return FractionalBrownianMotion(self.hurst, self.noise_std, self.finest)


class TrendAndNoisePath(Path):
    """One realisation, with its two parts for the limits.

    Args:
        process: what it was drawn from.
        trend: Ā.
        noise: W; None for no noise.
    """

    def __init__(self, process: TrendAndNoise, trend: Path, *, noise: Path | None = None) -> None:
        self.process, self.trend, self.noise = process, trend, noise

    def __call__(self, depth: int) -> Tensor:
        """The weights of a network of `depth` layers, `[depth, *shape]`, in float64."""
        import torch

        checks.positive_int("depth", depth)
        s = torch.arange(depth + 1, dtype=torch.float64) / depth
        trend: Tensor = self.trend.at(s[:-1]).double() * depth**-self.process.beta
        return trend if self.noise is None else trend + self.increments(s)

    def at(self, s: Tensor) -> Tensor:
        """Refused: the layers are no function of s, only the trend is."""
        raise checks.InputError(
            "weights at a position s: expected a process that is a function of s, found trend and noise (its `trend` is one)"
        )

    def increments(self, s: Tensor) -> Tensor:
        """The increments of W between successive positions s `[K + 1]` on its grid, `[K, *shape]`; zeros where there is no noise."""
        import torch

        if self.noise is None:
            return torch.zeros_like(self.trend.at(s[:-1]), dtype=torch.float64)
        steps: Tensor = torch.diff(self.noise.at(s), dim=0)
        return steps
