"""Names of tensors taken apart."""

from __future__ import annotations

import pytest

from deeplimit.diagnosis.blocks.words import oriented, take_apart


@pytest.mark.parametrize(
    ("suffix", "path", "leaf"),
    [
        ("mlp.fc1.weight", ("mlp", "fc1"), "weight"),
        ("self_attn.in_proj_bias", ("self_attn", "in_proj"), "bias"),
        ("/MlpBlock_3/Dense_0/kernel", ("MlpBlock_3", "Dense_0"), "weight"),
        ("conv1.W", ("conv1",), "weight"),
        ("V", ("V",), ""),
        ("weight", (), "weight"),
        ("", (), "weight"),
        ("bn1.running_mean", ("bn1",), "average"),
        ("._orig_mod.norm.weight", ("norm",), "weight"),
    ],
)
def test_a_name_is_a_path_and_a_leaf(suffix, path, leaf):
    found = take_apart(suffix, (4,))
    assert (found.path, found.leaf) == (path, leaf)


def _shapes(tensors, classes=frozenset()):
    stored = [take_apart(suffix, shape) for suffix, shape in tensors.items()]
    return {t.suffix: (t.shape, t.transposed) for t in oriented(stored, classes)}


def test_a_bias_tells_which_axis_is_the_output_and_squares_follow():
    shapes = {"up.weight": (4, 16), "up.bias": (16,), "square.weight": (4, 4)}
    assert _shapes(shapes)["up.weight"] == ((16, 4), True)
    assert _shapes(shapes)["square.weight"] == ((4, 4), True)
    assert _shapes(shapes)["up.bias"] == ((16,), False)
    assert _shapes(shapes | {"up.bias": (4,)})["square.weight"] == ((4, 4), False)


def test_a_kernel_and_a_fused_projection_of_three_times_the_columns_are_turned():
    assert _shapes({"Dense_0/kernel": (4, 16)})["Dense_0/kernel"] == ((16, 4), True)
    assert _shapes({"attn.c_attn.weight": (4, 12)})["attn.c_attn.weight"] == ((12, 4), True)
    assert _shapes({"attn.c_attn.weight": (12, 4)})["attn.c_attn.weight"] == ((12, 4), False)


def test_a_class_tells_where_nothing_else_does():
    assert _shapes({"fc.weight": (4, 16)}, frozenset({"fc"}))["fc.weight"] == ((16, 4), True)
    assert _shapes({"fc.weight": (4, 16)})["fc.weight"] == ((4, 16), False)
