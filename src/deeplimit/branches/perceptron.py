"""The two-matrix perceptron of Marion et al. 2024."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit import checks
from deeplimit.branches.activations import ACTIVATION, GELU, Activation
from deeplimit.branches.branch import Branch, Shapes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Perceptron(Branch):
    """f(h, θ) = V σ(W h / √q + b) / √m + c.

    Reference: Marion et al. 2024, equation (3). The released code of that paper leaves out 1/√m and 1/√q: `normalised=False`.

    Args:
        state: q, the size of the state.
        width: m, the inner width.
        activation: σ.
        normalised: whether the factors 1/√m and 1/√q are there.
        bias: whether b `[m]` and c `[q]` are there.

    >>> Perceptron(state=16, width=32).shapes
    {'V': (16, 32), 'W': (32, 16)}
    """

    kernel: ClassVar[str | None] = "perceptron"
    state: int
    width: int
    activation: Activation = field(default_factory=GELU)
    normalised: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive integers."""
        checks.fields(self, state=checks.positive_int, activation=ACTIVATION)
        checks.positive_int("width", self.width)

    @property
    def state_shape(self) -> tuple[int, ...]:
        """(q,)."""
        return (self.state,)

    @property
    def shapes(self) -> Shapes:
        """V `(q, m)`, W `(m, q)`, and with biases b `(m,)`, c `(q,)`."""
        weights: Shapes = {"V": (self.state, self.width), "W": (self.width, self.state)}
        return weights | {"b": (self.width,), "c": (self.state,)} if self.bias else weights

    @property
    def inner_factor(self) -> float:
        """1/√q where normalised, else 1."""
        return 1 / math.sqrt(self.state) if self.normalised else 1.0

    @property
    def outer_factor(self) -> float:
        """1/√m where normalised, else 1."""
        return 1 / math.sqrt(self.width) if self.normalised else 1.0

    def __call__(self, h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Evaluate f for states `[n, q]` (or `[E, n, q]` with parameters `[E, …]`)."""
        z = self.inner_factor * (h @ theta["W"].mT)
        if self.bias:
            z = z + theta["b"].unsqueeze(-2)
        f = self.outer_factor * (self.activation(z) @ theta["V"].mT)
        return f + theta["c"].unsqueeze(-2) if self.bias else f
