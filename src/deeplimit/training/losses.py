"""Losses of one batch, per member of an ensemble."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class LossFunction(ABC):
    """A loss of outputs and targets."""

    @abstractmethod
    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """Outputs and targets `[E, n, d′]` to losses `[E]`, differentiable."""


@dataclass(frozen=True)
class SquaredError(LossFunction):
    """(1/n) Σ_i ‖F(x_i) − y_i‖².

    Reference: Marion et al. 2024, section 2: the sum over output coordinates, the mean over samples. The released code takes the mean over
    coordinates too (`per_entry`), which divides loss, gradients and the speed of training by d′.
    """

    per_entry: bool = False

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of each member, `[E]`."""
        squares = (output - y).square().flatten(1)
        return squares.mean(1) if self.per_entry else squares.sum(1) / output.shape[1]


@dataclass(frozen=True)
class CrossEntropy(LossFunction):
    """−(1/n) Σ_i log softmax(F(x_i))_{c_i}, c_i the class of sample i."""

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of each member, `[E]`.

        Args:
            output: scores `[E, n, d′]`.
            y: classes, one-hot `[E, n, d′]` (or any weights of the classes) or by number from 0, `[E, n]`.
        """
        logs = output.log_softmax(-1)
        if y.dim() == output.dim():
            return -(logs * y).sum(-1).mean(1)
        return -logs.gather(-1, y.long().unsqueeze(-1)).squeeze(-1).mean(1)
