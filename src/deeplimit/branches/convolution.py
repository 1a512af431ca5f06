"""A smooth convolution branch without normalisation layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.branches.activations import ACTIVATION, GELU, Activation
from deeplimit.branches.branch import Branch, Shapes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Convolution(Branch):
    """f(h, θ) = V ∗ σ(W ∗ h), each convolution divided by √(channels · kernel²) where normalised.

    The convolutional instance of the general branch of Marion et al. 2024, section 4.3: of class C² and zero at V = 0. Maps keep
    their size (zero padding).

    Args:
        channels: number of channels c of the state.
        size: height and width of the maps.
        kernel_size: an odd number of pixels.
        activation: σ.
        normalised: whether each convolution is divided by the square root of its fan-in.
    """

    channels: int
    size: tuple[int, int]
    kernel_size: int = 3
    activation: Activation = field(default_factory=GELU)
    normalised: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive, and even kernels."""
        checks.fields(self, channels=checks.positive_int, activation=ACTIVATION)
        for name, value in zip(("height", "width"), checks.sequence("size", self.size), strict=True):
            checks.positive_int(name, value)
        if checks.positive_int("kernel_size", self.kernel_size) % 2 == 0:
            raise checks.InputError(f"kernel_size: expected an odd number, found {self.kernel_size}")

    @property
    def state_shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        return (self.channels, *self.size)

    @property
    def shapes(self) -> Shapes:
        """V and W `(channels, channels, kernel, kernel)`."""
        kernel = (self.channels, self.channels, self.kernel_size, self.kernel_size)
        return {"V": kernel, "W": kernel}

    def __call__(self, h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Evaluate f for states `[n, channels, height, width]`."""
        from torch.nn.functional import conv2d

        factor = 1 / math.sqrt(self.channels * self.kernel_size**2) if self.normalised else 1.0
        pad = self.kernel_size // 2
        inner = self.activation(factor * conv2d(h, theta["W"], padding=pad))
        return factor * conv2d(inner, theta["V"], padding=pad)
