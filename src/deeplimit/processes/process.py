"""The interface of a process: the weights of a network as a function of depth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from deeplimit import checks

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Path(ABC):
    """One realisation of a process: weights at every depth, always the same ones.

    Called with a depth L it gives the stacked weights `[L, *shape]`, layer k = 1…L standing at s = k/L (the correspondence of Marion et
    al. 2024, section 1: V_k = V(k/L)).
    """

    @abstractmethod
    def __call__(self, depth: int) -> Tensor:
        """The weights of a network of `depth` layers, `[depth, *shape]`."""

    @abstractmethod
    def at(self, s: Tensor) -> Tensor:
        """The weights at the positions s `[K]` in [0, 1], `[K, *shape]`.

        Raises:
            InputError: the path is no function of s (independent layers).
        """


class ContinuousPath(Path):
    """A path that is a function of s: a network of depth L reads it at k/L."""

    def __call__(self, depth: int) -> Tensor:
        """The function at 1/L, 2/L, …, 1."""
        import torch

        checks.positive_int("depth", depth)
        return self.at(torch.arange(1, depth + 1, dtype=torch.float64) / depth)


class Process(ABC):
    """A distribution over paths."""

    @abstractmethod
    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Draw one path of weights of `shape`.

        Args:
            shape: shape of one layer's weights.
            generator: where the random numbers come from; the global generator is never touched.
        """
