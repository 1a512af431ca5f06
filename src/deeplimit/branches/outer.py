"""The branch with one matrix outside of the activation, `res-1` of Marion et al. 2025."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit import checks
from deeplimit.branches.activations import ACTIVATION, Activation, ReLU
from deeplimit.branches.branch import Branch, Shapes
from deeplimit.branches.perceptron import Perceptron

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OuterMatrix(Branch):
    """f(h, θ) = V σ(h) + c.

    Reference: Marion et al. 2025, the model called res-1; the released code has c where weights are fractional noise.

    Args:
        state: d, the size of the state.
        activation: σ.
        bias: whether c `[d]` is there.

    >>> OuterMatrix(state=30).shapes
    {'V': (30, 30)}
    """

    kernel: ClassVar[str | None] = "perceptron"
    state: int
    activation: Activation = field(default_factory=ReLU)
    bias: bool = False

    def __post_init__(self) -> None:
        """Refuse a size that is not a positive integer."""
        checks.fields(self, state=checks.positive_int, activation=ACTIVATION)

    @property
    def state_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (self.state,)

    @property
    def shapes(self) -> Shapes:
        """V `(d, d)`, and with a bias c `(d,)`."""
        weights: Shapes = {"V": (self.state, self.state)}
        return weights | {"c": (self.state,)} if self.bias else weights

    def __call__(self, h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Evaluate f for states `[n, d]` (or `[E, n, d]` with parameters `[E, …]`)."""
        f = self.activation(h) @ theta["V"].mT
        return f + theta["c"].unsqueeze(-2) if self.bias else f

    def as_perceptron(self, theta: Mapping[str, Tensor]) -> tuple[Perceptron, dict[str, Tensor]]:
        """The same map as a perceptron with W = I and b = 0, which are no parameters: what engines know by hand.

        Args:
            theta: parameters of a whole stack, V `[…, L, d, d]`.
        """
        import torch

        V = theta["V"]
        weights = {"V": V, "W": torch.eye(self.state, dtype=V.dtype, device=V.device).expand_as(V)}
        if self.bias:
            weights |= {"b": torch.zeros_like(theta["c"], requires_grad=False), "c": theta["c"]}
        return Perceptron(self.state, self.state, self.activation, normalised=False, bias=self.bias), weights
