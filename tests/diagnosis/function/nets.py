"""Networks whose regime of depth is known, for tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

KINDS = {
    "tied": "flow",
    "smooth": "flow",
    "diffusion": "diffusion",
    "small steps": "diffusion",
    "averaging": "averaging",
    "gradients": "averaging",
    "identity": "identity",
    "identity of noise": "identity",
    "exploding": "unstable",
}
"""Kind of network -> the regime it is in."""


class Block(nn.Module):
    """h + scale · V σ(W h)."""

    def __init__(self, V: Tensor, W: Tensor, *, scale: float, activation: nn.Module) -> None:
        super().__init__()
        self.V, self.W, self.scale, self.activation = nn.Parameter(V), nn.Parameter(W), scale, activation

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.scale * self.activation(h @ self.W.T) @ self.V.T
        return out


def stack(kind: str, depth: int, *, width: int = 32, seed: int = 0) -> nn.Sequential:
    """A network of one kind; W is [2d, d] and V is [d, 2d]."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])

    # A bounded activation does not explode: without a factor its stream makes a random walk of large steps.
    activation = nn.ReLU() if kind == "exploding" else (nn.Tanh(), nn.ReLU(), nn.GELU())[seed % 3]
    W, V, scale = draw(depth, 2 * width, width), draw(depth, width, 2 * width), 1.0
    if kind == "tied":
        W, V, scale = W[:1].expand(depth, -1, -1), V[:1].expand(depth, -1, -1), 2 / depth
    elif kind == "smooth":
        s = 2 * torch.linspace(0, 1, depth)[:, None, None]
        W, V = (s.cos() * draw(*w.shape[1:]) + s.sin() * draw(*w.shape[1:]) for w in (W, V))
        scale = 2 / depth
    elif kind == "averaging":  # three tenths of the square of what blocks do is common to all
        W, V = (math.sqrt(0.55) * w[:1] + math.sqrt(0.45) * w for w in (W, V))
        scale = 2 / depth
    elif kind == "gradients":  # V_k = W_kᵀ / 2 and noise of the same size
        W = draw(depth, 2 * width, width)
        V = W.mT / 2 + 0.7 * draw(depth, width, 2 * width)
        scale = 2 / depth
    else:
        scale = {
            "diffusion": depth**-0.5,
            "small steps": 0.3 * depth**-0.5,
            "identity": 1e-2 / depth,
            "identity of noise": 5e-4,
            "exploding": 2.0,
        }[kind]
    return nn.Sequential(*[Block(V[k].clone(), W[k].clone(), scale=scale, activation=activation) for k in range(depth)])


def inputs(width: int = 32, *, samples: int = 24, seed: int = 0) -> Tensor:
    """Samples `[n, d]`."""
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(1000 + seed))


def paths(depth: int) -> list[str]:
    """Names of the blocks of a stack."""
    return [str(k) for k in range(depth)]
