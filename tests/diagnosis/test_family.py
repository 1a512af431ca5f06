"""Trained networks of growing depth as one family."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.diagnosis import Group, Role
from deeplimit.diagnosis.family import family
from tests.diagnosis.sources import Memory


def network(depth: int, *, seed: int | None = None, role: str = "mlp") -> tuple[Memory, Group]:
    """Blocks of one smooth curve over depth, or independent ones."""
    generator = torch.Generator().manual_seed(seed or 0)
    tensors = {}
    for k in range(depth):
        smooth = torch.sin(2 * torch.tensor((k + 1) / depth) + torch.arange(16.0)).reshape(4, 4)
        tensors[f"h.{k}.w"] = smooth if seed is None else torch.randn(4, 4, generator=generator) / depth**0.5
    return Memory(tensors), Group(
        "h", tuple(f"h.{k}" for k in range(depth)), (Role(role, "mlp", "stream", "w", (4, 4)),)
    )


def test_a_family_of_one_curve_is_smooth_and_independent_layers_are_not():
    assert family([network(depth) for depth in (8, 16, 32)]).weights["mlp"].label == "hypothesis 1"
    assert family([network(depth, seed=depth) for depth in (32, 64, 128)]).weights["mlp"].label != "hypothesis 1"


def test_networks_of_one_depth_are_replicates():
    networks = [network(depth, seed=depth + i) for depth in (16, 32, 64) for i in range(2)]
    assert set(family(networks).weights) == {"mlp"}


def test_three_depths_and_a_shared_role_are_needed():
    with pytest.raises(InputError, match="at least 3 depths, found 8, 16"):
        family([network(8), network(16), network(16)])
    with pytest.raises(InputError, match="roles of one name and shape in all networks, found memory: mlp"):
        family([network(8), network(16), network(32, role="other")])
