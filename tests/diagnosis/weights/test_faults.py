"""Blocks that do not fit the others are found, and networks without a fault have none."""

from __future__ import annotations

import math

import pytest
import torch

from deeplimit.diagnosis.weights.faults import find_faults, residuals
from deeplimit.diagnosis.weights.profiles import observe_weights
from tests.diagnosis.drawn import found, noise, perceptrons, permuted

KINDS = ("smooth", "trend")


def faults(state):
    source, group = found(state)
    return find_faults(observe_weights(source, group), group)


def in_block(state, block, change):
    prefix = f"blocks.{block}."
    return {name: change(name, value) if name.startswith(prefix) else value for name, value in state.items()}


def scaled(factor):
    return lambda name, value: value * factor if "down" in name else value


@pytest.mark.parametrize("kind", [*KINDS, "independent", "tied"])
@pytest.mark.parametrize("seed", range(3))
def test_networks_without_a_fault_have_none(kind, seed):
    state = perceptrons(kind, seed=seed)
    assert faults(state) == ()
    assert faults(permuted(state)) == ()
    assert faults({name: value.to(torch.bfloat16) for name, value in state.items()}) == ()


@pytest.mark.parametrize("kind", [*KINDS, "independent"])
@pytest.mark.parametrize("block", [0, 4, 11])
@pytest.mark.parametrize(
    ("factor", "name"), [(0.0, "dead"), (0.1, "identity"), (0.35, "scale"), (3.0, "scale"), (8.0, "scale")]
)
def test_a_wrong_multiplier_is_found(kind, block, factor, name):
    (finding,) = faults(in_block(perceptrons(kind), block, scaled(factor)))
    assert (finding.kind, finding.blocks) == (name, (block,))
    assert finding.strength >= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [3, 6])
def test_noise_on_top_is_told_from_a_factor(kind, block):
    def noisy(name, value):
        own = noise(*value.shape, seed=len(name) + 50)
        return value + own * (value.norm() / own.norm())

    state = perceptrons(kind, seed=1)
    (finding,) = faults(in_block(state, block, noisy))
    assert (finding.kind, finding.blocks) == ("rough", (block,))
    (finding,) = faults(in_block(state, block, lambda name, value: 1.5 * value))
    assert (finding.kind, finding.blocks) == ("scale", (block,))


@pytest.mark.parametrize("kind", [*KINDS, "independent"])
@pytest.mark.parametrize("order", [False, True])
def test_a_copy_is_found_even_with_its_hidden_units_in_another_order(kind, order):
    state = perceptrons(kind)
    state |= {name.replace("blocks.3", "blocks.4"): value for name, value in state.items() if "blocks.3." in name}
    (finding,) = faults(permuted(state) if order else state)
    assert (finding.kind, finding.blocks) == ("tied", (3, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_of_another_network_is_found(kind):
    other = perceptrons(kind, seed=7, width=32)
    (finding,) = faults(in_block(perceptrons(kind, width=32), 5, lambda name, value: other[name]))
    assert (finding.kind, finding.blocks) == ("foreign", (5,))


@pytest.mark.parametrize("kind", KINDS)
def test_exchanged_blocks_are_found(kind):
    state = perceptrons(kind)
    swapped = dict(state)
    for name in state:
        if name.startswith("blocks.2."):
            other = name.replace("blocks.2.", "blocks.9.")
            swapped[name], swapped[other] = state[other], state[name]
    (finding,) = faults(swapped)
    assert (finding.kind, finding.blocks) == ("order", (2, 9))


def test_of_a_block_that_is_not_finite_nothing_else_is_said_and_of_others_all_is():
    state = perceptrons("trend")
    state["blocks.7.down.weight"][1, 1] = math.nan
    first, second = faults(in_block(state, 2, scaled(9.0)))
    assert (first.kind, first.blocks, first.where) == ("not finite", (7,), "mlp.down")
    assert (second.kind, second.blocks) == ("scale", (2,))


def test_tiny_matrices_differ_in_size_by_chance():
    state = {f"blocks.{k}.A": noise(3, 3, seed=k) for k in range(60)}
    assert faults(state) == ()


def test_few_blocks_are_compared_with_nothing():
    assert faults(in_block(perceptrons("trend", depth=5), 2, scaled(9.0))) == ()


def test_residuals_do_not_see_a_trend_beyond_the_ends():
    assert residuals([float(k) for k in range(9)])[2:-2] == [0.0] * 5


@pytest.mark.parametrize("factor", [0.0, 1e-4])
@pytest.mark.parametrize("block", [0, 4])
def test_a_block_that_has_shrunk_as_a_whole_is_dead(block, factor):
    (finding,) = faults(in_block(perceptrons("independent"), block, lambda name, value: factor * value))
    assert (finding.kind, finding.blocks) == ("dead", (block,))


def with_biases(state, size):
    biases = {
        name.replace("weight", "bias"): size * noise(len(value), seed=len(name) + place)
        for place, (name, value) in enumerate(state.items())
        if "down" in name
    }
    return biases | state


def test_biases_that_are_0_everywhere_hide_nothing():
    (finding,) = faults(in_block(with_biases(perceptrons("independent"), 0.0), 4, scaled(3.0)))
    assert (finding.kind, finding.blocks) == ("scale", (4,))


def test_a_bias_stored_before_its_matrix_is_not_taken_for_what_is_written():
    state = with_biases(perceptrons("independent"), 1.0)
    larger = in_block(state, 4, lambda name, value: value * (6.0 if "bias" in name else 2.5))
    assert [one.where for one in faults(larger)] == ["all matrices"]  # beside what it reads with, it writes no more


def test_parts_that_write_nothing_are_dead_in_all_those_blocks():
    nothing = {name: 0 * value if "down" in name else value for name, value in perceptrons("smooth").items()}
    (finding,) = faults(nothing)
    assert (finding.kind, finding.blocks, finding.where) == ("dead", tuple(range(12)), "mlp")
    assert "every weight that it writes with is 0" in finding.reason
    assert math.isfinite(finding.strength)
    shallow = {name: 0 * value for name, value in perceptrons("smooth", depth=3).items()}
    assert [(one.kind, one.blocks) for one in faults(shallow)] == [("dead", (0, 1, 2))]


def test_among_dead_blocks_a_living_one_is_no_noise():
    state = {name: value * name.startswith("blocks.3.") for name, value in perceptrons("independent").items()}
    assert [(one.kind, one.blocks) for one in faults(state)] == [("dead", (0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11))]


def test_a_bias_that_is_not_0_is_not_nothing():
    nothing = {name: 0 * value if "down" in name else value for name, value in perceptrons("smooth").items()}
    biases = {f"blocks.{block}.down.bias": noise(16, seed=1) for block in range(12)}
    assert faults(nothing | biases) == ()
