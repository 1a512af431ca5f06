"""The maps at both ends of a stack: the embedding A and the read-out B, trained or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class LinearMap(ABC):
    """A linear map without bias at one end of a stack.

    A trainable map is a parameter of the network, drawn by `matrix`; a frozen one is applied with its initial matrix.
    """

    trainable: bool

    @abstractmethod
    def matrix(self, generator: torch.Generator) -> Tensor:
        """The initial matrix `[outputs, inputs]`."""


LINEAR_MAP = checks.optional(checks.instance(LinearMap, "a map such as Padding(4, 10), or None"))
"""The check of a field that takes one."""


@dataclass(frozen=True)
class Padding(LinearMap):
    """The embedding of the paper: A = (I_d; 0), the input followed by q − d zeros.

    Reference: Marion et al. 2024, section 3 (initialisation).
    """

    inputs: int
    state: int
    trainable: bool = True

    def __post_init__(self) -> None:
        """Refuse q < d."""
        _at_most("inputs", self.inputs, self.state)

    def matrix(self, generator: torch.Generator) -> Tensor:
        """(I_d; 0), `[q, d]`."""
        import torch

        return torch.eye(self.state, self.inputs)


@dataclass(frozen=True)
class LastCoordinates(LinearMap):
    """The read-out of the paper: B = (0, I_{d′}), the last d′ coordinates of the state.

    Reference: Marion et al. 2024, section 3 (initialisation). With q ≥ d + d′ and a zero branch the network starts at F = 0.
    """

    state: int
    outputs: int
    trainable: bool = True

    def __post_init__(self) -> None:
        """Refuse q < d′."""
        _at_most("outputs", self.outputs, self.state)

    def matrix(self, generator: torch.Generator) -> Tensor:
        """(0, I_{d′}), `[d′, q]`."""
        import torch

        return torch.eye(self.state)[self.state - self.outputs :]


@dataclass(frozen=True)
class Dense(LinearMap):
    """A matrix with independent centred normal entries of standard deviation `std`."""

    inputs: int
    outputs: int
    std: float
    trainable: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes and scales that are not positive."""
        checks.positive_int("inputs", self.inputs)
        checks.positive_int("outputs", self.outputs)
        checks.positive("std", self.std)

    def matrix(self, generator: torch.Generator) -> Tensor:
        """Normal entries, `[outputs, inputs]`."""
        import torch

        return self.std * torch.randn(self.outputs, self.inputs, generator=generator)


def _at_most(name: str, size: int, state: int) -> None:
    checks.positive_int(name, size)
    if checks.positive_int("state", state) < size:
        raise checks.InputError(f"{name}: expected at most the size of the state, {state}; found {size}")
