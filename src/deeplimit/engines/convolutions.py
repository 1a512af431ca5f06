"""Stacks of residual layers of two convolutions with batch normalisation, over the whole depth.

    h_{k+1} = h_k + scale · N₂(V_{k+1} ∗ σ(N₁(W_{k+1} ∗ h_k + b) + c)),    k = 0 … L − 1

with 3 × 3 kernels, stride 1 and zero padding. N normalises each channel over the batch and the pixels, and is not there where θ has no
roles of it. This is the layer of the convolutional network of Marion et al. 2024, section 5.2.

`convolution_stack` is a branch apart from those of `deeplimit.branches`: a sample's next state depends on the whole batch, and beside the
last state there are moments of the batch to be kept for evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplimit import checks
from deeplimit.branches import Activation

EPS: Final = 1e-5
"""What is added to a variance before its root is taken."""

CONVOLUTIONS = ("conv1", "conv2")
NORMS = ("norm1", "norm2")
NORM_ROLES = tuple(f"{norm}.{part}" for norm in NORMS for part in ("scale", "shift"))
ROLES = (*(f"{name}.{part}" for name in CONVOLUTIONS for part in "Wb"), *NORM_ROLES)


def convolution_stack(
    h: Tensor,
    theta: Mapping[str, Tensor],
    *,
    activation: Activation,
    scale: float,
    engine: str = "auto",
    moments: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The last state, differentiable with respect to h and θ, and the moments of the batch.

    Args:
        h: the first state h_0, `[n, C, H, W]`, in any memory format; channels last is the fast one.
        theta: parameters by role: `conv1.W` and `conv2.W` `[L, C, C, 3, 3]`; if there, `conv1.b` and `conv2.b` `[L, C]`; if there, all of
            `norm1.scale`, `norm1.shift`, `norm2.scale`, `norm2.shift` `[L, C]`.
        activation: σ.
        scale: the factor in front of the branch.
        engine: `auto`, `native` or `reference`.
        moments: None in training, where the moments of the batch normalise; the running ones `[L, 2, 2, C]` in evaluation: of N₁ and
            N₂, mean and variance.

    Returns:
        h_L, channels last in memory; and in training with normalisation the moments of this batch `[L, 2, 2, C]`, with the unbiased
        variance and without a gradient, else None.

    Raises:
        InputError: roles, shapes or sizes that do not fit each other, or an engine that cannot run this.
    """
    checks.one_of("engine", engine, ("auto", "native", "reference"))
    _check(h, theta, moments)
    return _reference(h, theta, activation=activation, scale=scale, moments=moments)


def _check(h: Tensor, theta: Mapping[str, Tensor], moments: Tensor | None) -> None:
    """Roles, shapes and sizes."""
    _check_roles(theta)
    if h.dim() != 4:
        raise checks.InputError(f"h: expected shape [n, C, H, W], found {[*h.shape]}")
    L, C, normalised = len(theta["conv1.W"]), h.shape[1], NORM_ROLES[0] in theta
    for role, t in theta.items():
        checks.shape(role, tuple(t.shape), (L, C, C, 3, 3) if role.endswith("W") else (L, C))
    if L < 1 or h.numel() == 0:
        raise checks.InputError(f"stack: expected a layer and a pixel at least, found L = {L} and h {[*h.shape]}")
    if normalised and moments is None and h.numel() == C:
        raise checks.InputError("h: expected more than one pixel in the batch to normalise by, found one")
    if moments is not None:
        checks.shape("moments (none without normalisation)", tuple(moments.shape), (L if normalised else 0, 2, 2, C))


def _check_roles(theta: Mapping[str, Tensor]) -> None:
    """Known roles, no kernel missing, all of the normalisation or nothing of it."""
    for role in theta:
        checks.one_of("role", role, ROLES)
    needed = [f"{name}.W" for name in CONVOLUTIONS]
    needed += NORM_ROLES if any(role in theta for role in NORM_ROLES) else ()
    missing = [role for role in needed if role not in theta]
    if missing:
        raise checks.InputError(f"roles: expected {', '.join(missing)} too, found {', '.join(theta) or 'none'}")


def _reference(
    h: Tensor, theta: Mapping[str, Tensor], *, activation: Activation, scale: float, moments: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The formula, layer by layer, in PyTorch."""
    normalised, found = "norm1.scale" in theta, []
    h = h.contiguous(memory_format=torch.channels_last)
    for k in range(len(theta["conv1.W"])):
        layer = {role: t[k] for role, t in theta.items()}
        f = h
        for i in range(2):
            f = F.conv2d(f, layer[f"{CONVOLUTIONS[i]}.W"], layer.get(f"{CONVOLUTIONS[i]}.b"), padding=1)
            if normalised:
                γ, β = layer[f"{NORMS[i]}.scale"], layer[f"{NORMS[i]}.shift"]
                # With momentum 1 the running moments become those of the batch.
                mean, variance = f.new_zeros(2, f.shape[1], dtype=γ.dtype) if moments is None else moments[k, i]
                f = F.batch_norm(f, mean, variance, γ, β, training=moments is None, momentum=1.0, eps=EPS)
                found += [mean, variance]
            if i == 0:
                f = activation(f)
        h = h + scale * f
    if not normalised or moments is not None:
        return h, None
    return h, torch.stack(found).view(-1, 2, 2, h.shape[1])
