"""Elementwise activations σ with what engines and limits need of them: value and slope in one pass, σ'(0) and σ''(0)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor


class Activation(ABC):
    """An elementwise function σ.

    `slope` is σ'(0) and `curvature` is σ''(0): all that the limits away from the neural ODE keep of σ. Both are NaN where σ has a
    kink at 0, for which those limits do not hold.
    """

    slope: ClassVar[float]
    curvature: ClassVar[float]

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """σ(z), differentiable."""

    @abstractmethod
    def in_place(self, z: Tensor, a: Tensor) -> None:
        """Write σ(z) to `a` and overwrite z by σ'(z): the forward pass leaves behind just what the backward pass needs.

        Not differentiable. At a kink the slope is PyTorch's.
        """


ACTIVATION = checks.instance(Activation, "an activation such as Tanh()")
"""The check of a field that takes one."""


@dataclass(frozen=True)
class Identity(Activation):
    """σ(z) = z."""

    slope: ClassVar[float] = 1.0
    curvature: ClassVar[float] = 0.0

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        return z

    def in_place(self, z: Tensor, a: Tensor) -> None:
        """σ' = 1."""
        a.copy_(z)
        z.fill_(1.0)


@dataclass(frozen=True)
class Tanh(Activation):
    """σ(z) = tanh z: bounded and smooth, as the theory of Marion et al. 2024 assumes throughout (section 3)."""

    slope: ClassVar[float] = 1.0
    curvature: ClassVar[float] = 0.0

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        return z.tanh()

    def in_place(self, z: Tensor, a: Tensor) -> None:
        """σ' = 1 − σ²."""
        import torch

        torch.tanh(z, out=a)
        z.fill_(1.0).addcmul_(a, a, value=-1.0)


@dataclass(frozen=True)
class GELU(Activation):
    """σ(z) = z Φ(z) with Φ the standard normal distribution function (the exact form, by erf)."""

    slope: ClassVar[float] = 0.5
    curvature: ClassVar[float] = math.sqrt(2 / math.pi)

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        import torch

        return torch.nn.functional.gelu(z)

    def in_place(self, z: Tensor, a: Tensor) -> None:
        """σ' = Φ(z) + z φ(z), sharing Φ with σ. PyTorch's own kernels compute it twice, and in float64 without vector instructions."""
        import torch

        half = z * 0.5
        erf = (z * math.sqrt(0.5)).erf_()
        torch.addcmul(half, half, erf, out=a)
        density = z.square_().mul_(-0.5).exp_().mul_(half)
        torch.add(erf.mul_(0.5).add_(0.5), density, alpha=math.sqrt(2 / math.pi), out=z)


@dataclass(frozen=True)
class ReLU(Activation):
    """σ(z) = max(z, 0), not differentiable at 0; σ'(0) = 0 in the backward pass."""

    slope: ClassVar[float] = math.nan
    curvature: ClassVar[float] = math.nan

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        return z.relu()

    def in_place(self, z: Tensor, a: Tensor) -> None:
        """σ' = 1 where z > 0."""
        import torch

        torch.clamp_min(z, 0.0, out=a)
        torch.sign(a, out=z)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """σ(z) = z for z > 0 and `negative_slope` · z below."""

    negative_slope: float = 0.01
    slope: ClassVar[float] = math.nan
    curvature: ClassVar[float] = math.nan

    def __post_init__(self) -> None:
        """Refuse a slope that is not finite."""
        checks.finite("negative_slope", self.negative_slope)

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        import torch

        return torch.nn.functional.leaky_relu(z, self.negative_slope)

    def in_place(self, z: Tensor, a: Tensor) -> None:
        """σ' = 1 where z > 0, `negative_slope` elsewhere."""
        slope = z.new_full((), self.negative_slope).where(z <= 0, z.new_ones(()))
        a.copy_(z).mul_(slope)
        z.copy_(slope)


@dataclass(frozen=True)
class SiLU(Activation):
    """σ(z) = z / (1 + e^(−z))."""

    slope: ClassVar[float] = 0.5
    curvature: ClassVar[float] = 0.5

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        import torch

        return torch.nn.functional.silu(z)

    def in_place(self, z: Tensor, a: Tensor) -> None:
        """σ' = s + σ − σ s with s the logistic function."""
        import torch

        logistic = z.sigmoid()
        torch.mul(z, logistic, out=a)
        torch.add(logistic, a, out=z).addcmul_(a, logistic, value=-1.0)


# PyTorch's default threshold of 20 replaces softplus by the identity there: an error of 2e-9, far above float64
# rounding. At 40 it is below it.
_SOFTPLUS_THRESHOLD = 40.0


@dataclass(frozen=True)
class ShiftedSoftplus(Activation):
    """σ(z) = log(1 + e^z) − log 2: a smooth ReLU that vanishes at 0."""

    slope: ClassVar[float] = 0.5
    curvature: ClassVar[float] = 0.25

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        import torch

        return torch.nn.functional.softplus(z, threshold=_SOFTPLUS_THRESHOLD) - math.log(2.0)

    def in_place(self, z: Tensor, a: Tensor) -> None:
        """σ' is the logistic function."""
        import torch

        a.copy_(torch.nn.functional.softplus(z, threshold=_SOFTPLUS_THRESHOLD)).sub_(math.log(2.0))
        z.sigmoid_()
