"""The one-matrix branch of Cohen et al. 2021."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from deeplimit import checks
from deeplimit.branches.activations import ACTIVATION, Activation, Tanh
from deeplimit.branches.branch import Branch, Shapes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OneMatrix(Branch):
    """f(h, θ) = δ σ(A h + b).

    Reference: Cohen et al. 2021, equation (1).

    Args:
        state: d, the size of the state.
        activation: σ.
        delta: `fixed` (no parameter, δ = 1), `shared` (one trained scalar for all layers) or `layer` (one trained scalar a layer).
        bias: whether b `[d]` is there.

    >>> OneMatrix(state=10, delta="shared").shared_shapes
    {'delta': ()}
    """

    kernel: ClassVar[str | None] = "one_matrix"
    state: int
    activation: Activation = field(default_factory=Tanh)
    delta: Literal["fixed", "shared", "layer"] = "fixed"
    bias: bool = True

    def __post_init__(self) -> None:
        """Refuse a size that is not a positive integer and an unknown kind of δ."""
        checks.fields(self, state=checks.positive_int, activation=ACTIVATION)
        checks.one_of("delta", self.delta, ("fixed", "shared", "layer"))

    @property
    def state_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (self.state,)

    @property
    def shapes(self) -> Shapes:
        """A `(d, d)`, with a bias b `(d,)`, with a δ per layer delta `()`."""
        shapes: Shapes = {"A": (self.state, self.state)}
        if self.bias:
            shapes["b"] = (self.state,)
        if self.delta == "layer":
            shapes["delta"] = ()
        return shapes

    @property
    def shared_shapes(self) -> Shapes:
        """A δ `()` where it is shared by all layers."""
        return {"delta": ()} if self.delta == "shared" else {}

    def __call__(self, h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Evaluate f for states `[n, d]` (or `[E, n, d]` with parameters `[E, …]`)."""
        z = h @ theta["A"].mT
        if self.bias:
            z = z + theta["b"].unsqueeze(-2)
        f = self.activation(z)
        return f if self.delta == "fixed" else theta["delta"][..., None, None] * f
