"""Groups of blocks found from names and shapes."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.diagnosis.structure import choose, find_groups
from tests.diagnosis.sources import Memory


def source(shapes, **settings):
    return Memory({name: torch.zeros(shape) for name, shape in shapes.items()}, settings=settings)


def perceptrons(prefix, depth, *, d=4, m=6, start=0):
    return {
        f"{prefix}{k}.{name}": shape
        for k in range(start, start + depth)
        for name, shape in (("fc1.weight", (m, d)), ("fc1.bias", (m,)), ("fc2.weight", (d, m)), ("fc2.bias", (d,)))
    }


def test_blocks_of_equal_structure_are_one_group():
    shapes = {"embed.weight": (9, 4), **perceptrons("net.layers.", 3), "head.weight": (9, 4)}
    (group,) = find_groups(source(shapes))
    assert group.name == "net.layers"
    assert group.blocks == ("net.layers.0", "net.layers.1", "net.layers.2")
    assert group.stream == 4
    assert {role.name: role.use for role in group.roles} == {
        "mlp.up": "reads",
        "mlp.up.bias": "hidden bias",
        "mlp.down": "writes",
        "mlp.down.bias": "bias",
    }


def test_a_block_of_another_structure_breaks_a_run():
    shapes = perceptrons("layers.", 3) | perceptrons("layers.", 1, m=8, start=3) | perceptrons("layers.", 4, start=4)
    long, short = find_groups(source(shapes))
    assert (long.name, long.depth) == ("layers[4:8]", 4)
    assert (short.name, short.depth) == ("layers[0:3]", 3)
    (left,) = long.left_out
    assert left.name == "layers.3"
    assert "fc1.weight is [8, 4] and not [6, 4]" in left.reason


def test_alternating_structures_are_a_group_each():
    shapes = {
        name: shape for k in range(8) for name, shape in perceptrons("layers.", 1, m=6 + 2 * (k % 2), start=k).items()
    }
    first, second = find_groups(source(shapes))
    assert (first.name, first.blocks) == ("layers[0::2]", tuple(f"layers.{k}" for k in (0, 2, 4, 6)))
    assert (second.name, second.depth) == ("layers[1::2]", 4)


def test_choosing_a_group_and_roles_keeps_the_pairs_that_are_whole():
    groups = find_groups(source(perceptrons("a.", 3) | perceptrons("b.", 2)))
    assert [group.name for group in choose(groups)] == ["a", "b"]
    (kept,) = choose(groups, group="b", roles=["mlp.up", "mlp.down"])
    assert [pair.name for pair in kept.pairs] == ["mlp"]
    (kept,) = choose(groups, group="b", roles=["mlp.up"])
    assert not kept.pairs
    with pytest.raises(InputError, match="group: expected one of a, b"):
        choose(groups, group="c")
    with pytest.raises(InputError, match="role: expected one of"):
        choose(groups, roles=["mlp.upp"])


def test_a_single_block_is_nothing_and_what_was_seen_is_said():
    with pytest.raises(
        InputError, match=r"memory: expected at least 2 blocks .* layers.#.fc#.weight \(2 × \[6, 4\], …\)"
    ):
        find_groups(source(perceptrons("layers.", 1)))
