"""Distributions of one layer's weights. Numbers are drawn in float32 whatever the precision of the run: one seed, one network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Distribution(ABC):
    """How the weights of one layer are drawn."""

    @abstractmethod
    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """A tensor of `shape`, on the CPU."""


DISTRIBUTION = checks.instance(Distribution, "a distribution such as Normal()")
"""The check of a field that takes one."""


@dataclass(frozen=True)
class Normal(Distribution):
    """Independent centred normal entries of standard deviation `std`.

    Args:
        std: standard deviation.
        transposed: draw the transpose (last two axes swapped) of a matrix: code that stores maps as `[inputs, outputs]` draws so, among
            it the released scripts of Marion et al. 2024.
    """

    std: float = 1.0
    transposed: bool = False

    def __post_init__(self) -> None:
        """Refuse a standard deviation that is not positive."""
        checks.positive("std", self.std)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Normal numbers of `shape`."""
        import torch

        if self.transposed and len(shape) > 1:
            return self.std * torch.randn(*shape[:-2], shape[-1], shape[-2], generator=generator).mT
        return self.std * torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Independent entries, uniform in [−bound, bound]."""

    bound: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a bound that is not positive."""
        checks.positive("bound", self.bound)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Uniform numbers of `shape`."""
        import torch

        return self.bound * (2 * torch.rand(shape, generator=generator) - 1)
