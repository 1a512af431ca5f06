"""Statistics of weights over depth, and what of them a permutation of hidden units leaves as it is."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from deeplimit.diagnosis.profiles import observe_weights
from deeplimit.regimes import smoothness
from tests.diagnosis.weights import DEPTH, WIDTH, found, perceptrons, permuted


def by_view(state):
    source, group = found(state)
    return {(one.profile.name, one.profile.view): one for one in observe_weights(source, group)}


def test_every_role_and_pair_is_seen_in_its_views():
    views = by_view(perceptrons("trend"))
    assert set(views) == {
        ("mlp.up", "raw"), ("mlp.up", "invariant"), ("mlp.down", "raw"), ("mlp.down", "invariant"),
        ("mlp", "invariant"), ("mlp", "aligned"),
    }  # fmt: skip
    assert [key for key, one in views.items() if one.decides] == [("mlp", "invariant")]


def test_numbers_of_a_role_are_those_of_its_matrices():
    state = perceptrons("trend")
    curves = by_view(state)["mlp.up", "raw"].profile.curves
    matrices = [state[f"blocks.{block}.up.weight"] for block in range(DEPTH)]
    assert curves["norm"] == pytest.approx([float(m.norm()) for m in matrices])
    assert curves["operator_norm"] == pytest.approx([float(torch.linalg.matrix_norm(m, ord=2)) for m in matrices])
    steps = [float((after - before).norm()) for before, after in itertools.pairwise(matrices)]
    assert curves["increment"] == pytest.approx(steps)
    assert len(curves["participation"]) == DEPTH


def test_the_order_of_a_raw_role_is_that_of_the_verdict_on_several_depths():
    state = perceptrons("smooth")
    stacked = torch.stack([state[f"blocks.{block}.up.weight"] for block in range(DEPTH)])
    assert by_view(state)["mlp.up", "raw"].profile.order == smoothness(stacked[None])


@pytest.mark.parametrize("kind", ["smooth", "trend", "independent"])
def test_a_permutation_of_hidden_units_shows_in_the_raw_view_alone(kind):
    before, after = by_view(perceptrons(kind)), by_view(permuted(perceptrons(kind)))
    for key, one in before.items():
        same = torch.allclose(one.path, after[key].path, rtol=1e-9, atol=1e-9)
        assert same == (key[1] == "invariant")
    raw, aligned = after["mlp.up", "raw"].profile.order, after["mlp", "aligned"].profile.order
    assert raw.label == "no order"
    if kind == "smooth":
        assert before["mlp.up", "raw"].profile.order.label == "smooth"
        assert aligned.label == "smooth"


def test_the_product_of_two_roles_is_the_map_of_the_stream():
    state = perceptrons("trend")
    product = state["blocks.3.down.weight"] @ state["blocks.3.up.weight"]
    torch.testing.assert_close(by_view(state)["mlp", "invariant"].path[3].reshape(WIDTH, WIDTH), product)


def test_tensors_are_read_one_block_after_the_other_and_counted():
    source, group = found(perceptrons("trend"))
    seen = []
    observe_weights(source, group, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(count, 4 * DEPTH) for count in range(1, 4 * DEPTH + 1)]
    assert set(source.reads.values()) == {2}  # once for the role, once for the pair


def test_a_block_that_is_not_finite_is_marked_and_the_others_are_seen():
    state = perceptrons("trend")
    state["blocks.4.up.weight"][0, 0] = math.inf
    one = by_view(state)["mlp.up", "raw"]
    assert [block for block, finite in enumerate(one.finite) if not finite] == [4]
    norms = one.profile.curves["norm"]
    assert math.isnan(norms[4])
    assert math.isfinite(norms[3])


def test_convolutions_are_maps_of_channels():
    generator = torch.Generator().manual_seed(0)
    state = {
        f"layer.{block}.conv{n}.weight": torch.randn(8, 8, 3, 3, generator=generator)
        for block in range(7)
        for n in (1, 2)
    }
    views = by_view(state)
    gram = views["conv1", "invariant"]
    kernel = state["layer.2.conv1.weight"].double()
    torch.testing.assert_close(gram.path[2].reshape(8, 8), torch.einsum("mikl,mjkl->ij", kernel, kernel))
    assert views["convolutions", "invariant"].profile.shape == (72, 72)


def test_blocks_of_vectors_alone_are_judged_by_them():
    state = {f"layers.{block}.norm.weight": torch.randn(30) for block in range(8)}
    from deeplimit.diagnosis import Group, Role
    from tests.diagnosis.sources import Memory

    group = Group(
        "layers", tuple(f"layers.{k}" for k in range(8)), (Role("gain", "norm", "gain", "norm.weight", (30,)),)
    )
    (one,) = observe_weights(Memory(state), group)
    assert one.decides
    assert one.profile.curves["mean"][0] == pytest.approx(float(state["layers.0.norm.weight"].mean()))
