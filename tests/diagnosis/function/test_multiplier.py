"""The multiplier of a branch is measured, and seen when it is in the weights a second time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeplimit.diagnosis.blocks.structure import find_groups
from deeplimit.diagnosis.function.multiplier import doubled, multipliers
from deeplimit.diagnosis.sources import ModuleSource
from deeplimit.diagnosis.weights.profiles import observe_weights

DEPTH = 12


class Block(nn.Module):
    def __init__(self, factor, *, parts=1, normed=False):
        super().__init__()
        self.factor = factor
        self.mixer = nn.ModuleDict({"up": nn.Linear(16, 24), "down": nn.Linear(24, 16)}) if parts == 2 else None
        self.mlp = nn.ModuleDict({"up": nn.Linear(16, 32), "down": nn.Linear(32, 16)})
        self.norm = nn.LayerNorm(16) if normed else None

    def forward(self, h):
        if self.mixer is not None:
            h = h + 2 * self.factor * self.mixer["down"](self.mixer["up"](h))
        h = h + self.factor * self.mlp["down"](torch.tanh(self.mlp["up"](h)))
        return h if self.norm is None else self.norm(h)


def measured(factor, *, weights=1.0, depth=DEPTH, **kind):
    torch.manual_seed(0)
    blocks = [Block(factor, **kind) for _ in range(depth)]
    for block in blocks:
        block.get_parameter("mlp.down.weight").data *= weights
    net = nn.Sequential(*blocks)
    source = ModuleSource(net)
    (group,) = find_groups(source)
    found = multipliers(net, group, batch=torch.randn(6, 16))
    return found, doubled(found, observe_weights(source, group), group=group)


def test_the_multiplier_of_each_part_is_measured():
    found, faults = measured(0.25, parts=2)
    assert sorted(column[0] for column in found.values()) == pytest.approx([0.25, 0.5], rel=1e-4)
    assert all(column == pytest.approx([column[0]] * DEPTH, rel=1e-4) for column in found.values())
    assert faults == []


def test_a_block_that_ends_in_a_norm_adds_no_such_outputs():
    assert measured(0.25, normed=True) == ({}, [])


def test_a_multiplier_that_is_in_the_weights_too_is_found():
    _, (finding,) = measured(DEPTH**-0.5, weights=DEPTH**-0.5)
    assert (finding.kind, finding.blocks) == ("scale", tuple(range(DEPTH)))
    assert "applied twice" in finding.reason
    assert measured(1.0, weights=DEPTH**-0.5)[1] == []  # once, in the weights alone


@pytest.mark.parametrize("depth", [2, 3, 8])
@pytest.mark.parametrize("factor", [0.7, 1.0])
def test_no_multiplier_to_speak_of_is_not_applied_twice(depth, factor):
    assert measured(factor, depth=depth)[1] == []


def test_a_layer_that_returns_more_than_a_tensor_has_no_multiplier():
    class Pair(nn.Linear):
        def forward(self, h):
            return super().forward(h), None

    class Unpacking(Block):
        def forward(self, h):
            return h + self.mlp["down"](torch.tanh(self.mlp["up"](h)))[0]

    blocks = [Unpacking(1.0) for _ in range(6)]
    for block in blocks:
        block.mlp["down"] = Pair(32, 16)
    net = nn.Sequential(*blocks)
    (group,) = find_groups(ModuleSource(net))
    assert multipliers(net, group, batch=torch.randn(6, 16)) == {}
