"""Groups of blocks found from names and shapes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplimit.checks import InputError
from deeplimit.diagnosis import Group
from deeplimit.diagnosis.structure import choose, find_groups
from tests.diagnosis.families import (
    Shapes,
    convnext,
    flax_vit,
    linear,
    mixture,
    norm,
    onnx_bert,
    perceptrons,
    resnet,
    source,
    timm_vit,
)


def depths(shapes: Shapes, **config: object) -> dict[str, int]:
    return {group.name: group.depth for group in find_groups(source(shapes, **config))}


def sequential(depth: int, *, norms: bool, first: int = 3) -> Shapes:
    """Linear layers of a Sequential with activations between them, which take numbers and have no tensors."""
    shapes = linear("net.0", 8, first)
    for k in range(depth):
        shapes |= linear(f"net.{3 * k + 2}", 8, 8) | (norm(f"net.{3 * k + 3}", 8) if norms else {})
    return shapes | linear(f"net.{3 * depth + 2}", 1, 8)


def test_blocks_of_equal_structure_are_one_group():
    shapes: Shapes = {"embed.weight": (9, 4), **perceptrons("net.layers.", 3), "head.weight": (9, 4)}
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


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (timm_vit(), {"blocks": 12}),
        (resnet(), {"layer3": 5, "layer2": 3, "layer1": 2, "layer4": 2}),
        (convnext(), {"stages.2.blocks": 9, "stages.0.blocks": 3, "stages.1.blocks": 3, "stages.3.blocks": 3}),
        (flax_vit(), {"Transformer/encoderblock": 12}),
        (onnx_bert(), {"encoder/layer": 3}),
        (mixture(), {"model.layers": 4}),
        (sequential(5, norms=False), {"net": 5}),
        (sequential(5, norms=True), {"net": 5}),
        ({f"V.{k}": (4, 4) for k in range(5)}, {"V": 5}),
        (perceptrons("h", 3), {"h": 3}),
        (perceptrons("", 3), {"blocks": 3}),
        ({f"fc{k}.weight": (8, 8) for k in range(1, 5)}, {"fc": 4}),
    ],
)
def test_families_and_their_depths(shapes, expected):
    assert depths(shapes) == expected


def test_stages_whose_first_block_projects_leave_it_out_and_say_why():
    shapes = resnet((2, 2, 2, 2), bottleneck=False)
    assert depths(shapes) == {"layer1": 2}  # one block is left of the other stages
    (group, *_) = find_groups(source(resnet()))
    assert group.blocks == tuple(f"layer3.{k}" for k in range(1, 6))
    left = next(left for left in group.left_out if left.name == "layer3.0")
    assert "has downsample.0.weight [128, 64, 1, 1]" in left.reason
    assert "conv1.weight is [32, 64, 1, 1] and not [32, 128, 1, 1]" in left.reason


def test_a_block_of_another_structure_breaks_a_run():
    shapes = perceptrons("layers.", 3) | perceptrons("layers.", 1, m=8, start=3) | perceptrons("layers.", 4, start=4)
    long, short = find_groups(source(shapes))
    assert (long.name, long.depth) == ("layers[4:8]", 4)
    assert (short.name, short.depth) == ("layers[0:3]", 3)
    (left,) = long.left_out
    assert left.name == "layers.3"
    assert "fc1.weight is [8, 4] and not [6, 4]" in left.reason
    assert not short.left_out


def test_numbers_only_order_blocks():
    shapes = perceptrons("layers.", 1, start=10) | perceptrons("layers.", 1, start=9) | perceptrons("layers.", 1)
    (group,) = find_groups(source(shapes))
    assert group.blocks == ("layers.0", "layers.9", "layers.10")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("ABABABAB", {"layers[0::2]": 4, "layers[1::2]": 4}),
        ("AAABAAAB", {"layers[0,1,2::4]": 6, "layers[3::4]": 2}),
        ("ABABC", {"layers[0:4:2]": 2, "layers[1:4:2]": 2}),
        ("BAAAA", {"layers": 4}),
        ("AABBB", {"layers[0:2]": 2, "layers[2:5]": 3}),
    ],
)
def test_alternating_structures_are_a_group_each(pattern, names):
    shapes: Shapes = {}
    for k, letter in enumerate(pattern):
        shapes |= perceptrons("layers.", 1, m=6 + 2 * "ABC".index(letter), start=k)
    assert depths(shapes) == names


def test_a_configuration_tells_blocks_of_equal_shapes_apart():
    shapes = perceptrons("layers.", 6)
    types = ["full", "sliding"] * 3
    assert depths(shapes, layer_types=types) == {"layers[0::2]": 3, "layers[1::2]": 3}
    assert depths(shapes, layer_types=["full"] * 6) == depths(shapes, layer_types=types[:4]) == {"layers": 6}


def test_classes_tell_blocks_of_equal_shapes_apart():
    kinds = {f"layers.{k}": "Local" if k % 2 else "Global" for k in range(6)}
    found = source(perceptrons("layers.", 6))
    found.kinds = kinds
    assert [group.name for group in find_groups(found)] == ["layers[0::2]", "layers[1::2]"]


def test_a_tensor_that_some_blocks_have_parts_them_only_if_it_is_a_matrix():
    shapes = perceptrons("layers.", 3)
    vector: Shapes = {"layers.0.norm.weight": (4,), "layers.0.relative_attention_bias.weight": (32, 2)}
    (group,) = find_groups(source(shapes | vector))
    assert group.depth == 3
    assert [(left.name, left.reason) for left in group.left_out] == [
        ("norm.weight", "in 1 of 3 blocks only"),
        ("relative_attention_bias.weight", "in 1 of 3 blocks only"),
    ]
    assert depths(shapes | {"layers.0.shortcut.weight": (4, 4)}) == {"layers": 2}


def test_of_nested_blocks_the_more_numerous_are_depth_and_the_outer_ones_where_they_are_as_many():
    nested = {f"a.{i}.{name}": shape for i in range(3) for name, shape in perceptrons("b.", 4).items()}
    assert depths(nested) == {"a.0.b": 4, "a.1.b": 4, "a.2.b": 4}
    equal = {f"a.{i}.{name}": shape for i in range(3) for name, shape in perceptrons("b.", 3).items()}
    assert depths(equal) == {"a": 3}


@pytest.mark.parametrize("word", ["experts", "heads", "codebooks", "branches"])
def test_what_lies_side_by_side_is_no_depth(word):
    beside = {f"a.{i}.{name}": shape for i in range(2) for name, shape in perceptrons(f"{word}.", 7).items()}
    assert depths(beside) == {"a": 2}
    assert depths({name.replace(word, "layers"): shape for name, shape in beside.items()}) != {"a": 2}


def test_projections_numbered_within_an_attention_are_no_depth():
    shapes: Shapes = {}
    for k in range(3):
        for i in range(4):
            shapes |= linear(f"layers.{k}.attn.linears.{i}", 4, 4)
        shapes |= linear(f"layers.{k}.up", 16, 4) | linear(f"layers.{k}.down", 4, 16)
    assert depths(shapes) == {"layers": 3}


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


@pytest.mark.parametrize(
    ("shapes", "seen"),
    [
        (perceptrons("layers.", 1), r"4 tensors: layers.#.fc#.weight \(2 × \[6, 4\], …\)"),
        ({}, "no tensors at all"),
        ({"a.0.weight": (4,), "a.1.weight": (4,)}, r"a.#.weight \(2 × \[4\]\)"),
        ({"a.0.weight": (6, 4), "a.1.weight": (6, 4), "a.2.weight": (6, 4)}, r"\(3 × \[6, 4\]\)"),
        ({"a.0.weight": (4, 4), "a.1.weight": (4, 4)}, r"\(2 × \[4, 4\]\)"),
        ({f"a.{k}.weight": (0, 0) for k in range(3)}, r"\(3 × \[0, 0\]\)"),
        ({f"{'1.' * 5000}{k}.weight": (4, 4) for k in range(3)}, "3 tensors"),
        ({f"a.{'9' * 5000}{k}.weight": (4, 4) for k in range(3)}, "3 tensors"),
    ],
)
def test_nothing_found_says_what_was_seen(shapes, seen):
    with pytest.raises(InputError, match=rf"memory: expected at least 2 blocks .*{seen}"):
        find_groups(source(shapes))


def essence(groups: tuple[Group, ...]) -> list[tuple[object, ...]]:
    """Everything but names of groups and blocks and the order of roles."""
    return [
        (group.depth, group.stream, set(group.roles), set(group.pairs), {left.reason for left in group.left_out})
        for group in groups
    ]


FAMILIES = {
    "vit": timm_vit(3),
    "resnet": resnet((3, 3)),
    "convnext": convnext((3, 2)),
    "mixture": mixture(3),
    "perceptrons": perceptrons("layers.", 4),
}


@settings(max_examples=25, deadline=None)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    prefix=st.text("abcxyz_.", min_size=1, max_size=8).map(lambda text: f"m{text}m."),
    seed=st.integers(0, 2**16),
)
def test_neither_a_prefix_nor_the_order_of_names_changes_what_is_found(family, prefix, seed):
    shapes = FAMILIES[family]
    names = list(shapes)
    random.Random(seed).shuffle(names)
    moved = {prefix + name: shapes[name] for name in names}
    expected, found = find_groups(source(shapes)), find_groups(source(moved))
    assert [group.blocks for group in found] == [tuple(prefix + name for name in group.blocks) for group in expected]
    if family != "resnet":  # which norm lies between two convolutions of one size is told by the order
        assert [row[:4] for row in essence(found)] == [row[:4] for row in essence(expected)]


@settings(max_examples=25, deadline=None)
@given(step=st.integers(1, 5), start=st.integers(0, 40), word=st.sampled_from(["layers.", "h", "block_", "x/y_"]))
def test_the_numbers_of_blocks_do_not_matter(step, start, word):
    base = perceptrons("layers.", 4)
    renamed = {}
    for name, shape in base.items():
        _, number, rest = name.split(".", 2)
        renamed[f"{word}{start + step * int(number)}.{rest}"] = shape
    assert essence(find_groups(source(renamed))) == essence(find_groups(source(base)))
