"""Small trained-looking networks in files, for tests of the whole way from a file to a report."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

SHAPES = {"attention.weight": (8, 8), "mlp.up.weight": (16, 8), "mlp.down.weight": (8, 16), "norm.weight": (8,)}


def save_network(path: Path, *, depth: int = 8, noise: float = 0.3, factor: float = 1.0, seed: int = 0) -> Path:
    """A transformer of `depth` blocks whose weights are a smooth curve over depth with noise; those of block 5 are multiplied."""
    generator = torch.Generator().manual_seed(seed)
    ends = {name: torch.randn(2, *shape, generator=generator) for name, shape in SHAPES.items()}
    tensors = {"embedding.weight": torch.randn(20, 8, generator=generator)}
    for k in range(depth):
        for name, (a, b) in ends.items():
            s = torch.tensor(2 * k / depth)
            curve = a * s.cos() + b * s.sin() + noise * torch.randn(a.shape, generator=generator)
            tensors[f"encoder.layer.{k}.{name}"] = curve * (factor if k == 5 else 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path
