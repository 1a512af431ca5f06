"""Bias-free ReLU networks of any width: values, gradients and tangent kernel in a few batched products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.draws import Stream

Weights = Sequence["Tensor"]
"""W_l of every layer, `[E, n_l, n_{l−1}]`; the last has n_k = 1."""


@dataclass(frozen=True)
class Signals:
    """What one pass forwards and one backwards leave: z_k and, layer by layer, the two factors of each gradient.

    Args:
        values: f(x), `[E, s]`.
        inputs: h_{l−1}, `[E, s, n_{l−1}]`.
        slopes: ∂f/∂z_l, `[E, s, n_l]`.
    """

    values: Tensor
    inputs: list[Tensor]
    slopes: list[Tensor]


@dataclass(frozen=True)
class Chain:
    """f(x) = z_k, z_l = W_l h_{l−1}/√n_{l−1}, h_l = √2 max(z_l, 0) or z_l, h_0 = x, all entries of W_l normal of variance 1.

    Homogeneous of degree k, the number of layers; one layer is a linear model. The gradient in W_l is ∂f/∂z_l ⊗ h_{l−1}/√n_{l−1}, so
    that layer l's part of the kernel is a product of two Gram matrices of s points: no gradient is ever stored.

    Args:
        layers: k, layers of weights.
        width: n of the hidden layers.
        inputs: d.
        linear: whether h_l = z_l, a deep linear network, which has no kinks.
    """

    layers: int
    width: int
    inputs: int
    linear: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that are no counts."""
        for name in ("layers", "width", "inputs"):
            checks.positive_int(name, getattr(self, name))

    @property
    def sizes(self) -> tuple[int, ...]:
        """n_0, …, n_k."""
        return (self.inputs, *[self.width] * (self.layers - 1), 1)

    def draw(self, streams: Sequence[Stream]) -> list[Tensor]:
        """The weights of one member per stream, in float64."""
        import torch

        shapes = list(zip(self.sizes[1:], self.sizes[:-1], strict=True))
        return [
            torch.stack(
                [torch.randn(s, generator=stream.generator(f"W{i}"), dtype=torch.float64) for stream in streams]
            )
            for i, s in enumerate(shapes, start=1)
        ]

    def signals(self, weights: Weights, x: Tensor) -> Signals:
        """Values and factors of the gradients at points `[E, s, d]`."""
        inputs: list[Tensor] = []
        slopes: list[Tensor] = []
        h = x
        for n, W in zip(self.sizes, weights, strict=False):
            inputs.append(h)
            z = h @ W.mT / n**0.5
            h = z if self.linear else 2**0.5 * z.relu()
        slope = z.new_ones(z.shape)
        for n, W, h in zip(self.sizes[::-1][1:], weights[::-1], inputs[::-1], strict=True):
            slopes.insert(0, slope)
            slope = slope @ W / n**0.5
            slope = slope if self.linear else 2**0.5 * slope * (h > 0)
        return Signals(z[..., 0], inputs, slopes)

    def kernel(self, weights: Weights, x: Tensor) -> Tensor:
        """Θ(x, x′), `[E, s, s]`: Σ_l (slopes slopesᵀ) ⊙ (inputs inputsᵀ)/n_{l−1}."""
        import torch

        found = self.signals(weights, x)
        parts = [
            (slope @ slope.mT) * (h @ h.mT) / n
            for n, h, slope in zip(self.sizes, found.inputs, found.slopes, strict=False)
        ]
        return torch.stack(parts).sum(0)

    def step(self, weights: Weights, x: Tensor, *, y: Tensor, learning_rate: Tensor, weight_decay: Tensor) -> Tensor:
        """One step of gradient descent on ½ Σ (f − y)² + (λ/2) ‖θ‖², in place; the values before it, `[E, s]`.

        Args:
            weights: changed.
            x: training points `[E, s, d]`.
            y: targets `[E, s]`.
            learning_rate, weight_decay: η and λ of every member, `[E]`.
        """
        found = self.signals(weights, x)
        force = -learning_rate[:, None] * (found.values - y)
        for n, W, h, slope in zip(self.sizes, weights, found.inputs, found.slopes, strict=False):
            W.mul_((1 - learning_rate * weight_decay)[:, None, None])
            W.baddbmm_((force[..., None] * slope).mT, h, alpha=n**-0.5)
        return found.values


def collapse_decay(x: Tensor, y: Tensor, *, width: int) -> Tensor:
    """λ_c: the coefficient from which on a two-layer `Chain` of this width tends to f = 0, and below which 0 is unstable, `[E]`.

    λ_c = √(2/(n d)) · max over ‖w‖ = 1 of |Σ_s y_s max(w·x_s, 0)|

    Derived: Σ_s y_s f(x_s) ≤ λ_c Σ_j |a_j| ‖w_j‖ ≤ (λ_c/2) ‖θ‖², so that d‖θ‖²/dt ≤ −2 (λ − λ_c) ‖θ‖² along the flow. And near
    θ = 0 a neuron along the maximiser grows at the rate λ_c − λ. As λ_c ~ 1/√n, each λ > 0 is above it from some width on.

    Args:
        x: training points `[E, s, d]`.
        y: targets `[E, s]`.
        width: n.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    starts = torch.randn(2048, x.shape[-1], generator=generator, dtype=x.dtype)
    best = x.new_zeros(len(x))
    for signed in (y, -y):
        w = starts.expand(len(x), *starts.shape)
        # Ascent: where the maximum is attained, w is along the gradient.
        for _ in range(50):
            w = torch.nn.functional.normalize(w + (signed[:, None] * (w @ x.mT > 0)) @ x, dim=-1)
            height = (signed[:, None] * (w @ x.mT).relu()).sum(-1).amax(-1)
            best = torch.maximum(best, height)
    threshold: Tensor = best * (2 / (width * x.shape[-1])) ** 0.5
    return threshold
