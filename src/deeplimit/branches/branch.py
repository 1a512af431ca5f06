"""The interface of a residual branch f(h, θ)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


class Branch(ABC):
    """A residual branch f(h, θ): what one layer adds to the state, before the scaling with depth.

    A new branch is one class: the shapes of its parameters and the forward map. Everything else (stacking over depth, gradients,
    ensembles) follows. A branch that an engine knows by hand names it in `kernel`.
    """

    kernel: ClassVar[str | None] = None
    """Name under which fast engines know this branch; None for branches that only the reference engine runs."""

    @property
    @abstractmethod
    def state_shape(self) -> tuple[int, ...]:
        """Shape of one sample's state h."""

    @property
    @abstractmethod
    def shapes(self) -> Shapes:
        """Shapes of one layer's parameters, by role; stacked to `[L, …]` over depth."""

    @property
    def shared_shapes(self) -> Shapes:
        """Shapes of parameters that all layers share; none unless a branch says so."""
        return {}

    @abstractmethod
    def __call__(self, h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Evaluate f(h, θ) for one layer.

        Args:
            h: states `[n, *state_shape]`.
            theta: one layer's parameters by role, with the shapes of `shapes` and `shared_shapes`.

        Returns:
            The increment `[n, *state_shape]`, before the factor L^(−β).
        """
