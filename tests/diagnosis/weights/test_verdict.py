"""The verdict on weights of one network."""

from __future__ import annotations

import math

import pytest
import torch

from deeplimit.diagnosis.weights.profiles import Observed, observe_weights
from deeplimit.diagnosis.weights.verdict import judge_weights, order_ratio
from deeplimit.regimes import Smoothness
from tests.diagnosis.drawn import found, noise, perceptrons, permuted


def order_of(one: Observed) -> Smoothness:
    assert one.profile.order is not None
    return one.profile.order


def judged(state):
    source, group = found(state)
    return judge_weights(observe_weights(source, group), group.depth)


@pytest.mark.parametrize(
    ("kind", "label"), [("smooth", "smooth"), ("trend", "rough"), ("independent", "no order"), ("tied", "tied")]
)
def test_each_kind_of_weights_gets_its_label_whatever_the_order_of_hidden_units(kind, label):
    for seed in range(3):
        state = perceptrons(kind, seed=seed)
        verdict = judged(state)
        assert verdict.label == label
        again = judged(permuted(state, seed=seed))
        assert again.label == label
        assert again.evidence.keys() == verdict.evidence.keys()


def test_fewer_than_six_blocks_have_no_verdict():
    verdict = judged(perceptrons("smooth", depth=5))
    assert verdict.label == "undecided"
    assert "5 comparable blocks" in verdict.reason
    assert judged(perceptrons("tied", depth=6)).label == "tied"


def test_weights_that_are_not_finite_have_no_verdict():
    state = perceptrons("smooth")
    state["blocks.2.up.weight"][0] = math.nan
    verdict = judged(state)
    assert verdict.label == "undecided"
    assert verdict.reason == "16 values of mlp.up are not finite, in block 2"
    assert verdict.evidence == {}


def test_roles_that_disagree_are_mixed():
    state = {f"blocks.{k}.a.weight": noise(12, 12, seed=k) for k in range(12)}
    slow = perceptrons("smooth")
    state |= {f"blocks.{k}.b.weight": slow[f"blocks.{k}.up.weight"][:12, :12] for k in range(12)}
    from deeplimit.diagnosis import Group, Role
    from tests.diagnosis.sources import Memory

    roles = tuple(Role(name, "other", "stream", f"{name}.weight", (12, 12)) for name in "ab")
    group = Group("blocks", tuple(f"blocks.{k}" for k in range(12)), roles)
    verdict = judge_weights(observe_weights(Memory(state), group), 12)
    assert verdict.label == "mixed"
    assert verdict.reason == "no order: a; smooth: b"


def test_the_order_ratio_has_an_interval_that_holds_it():
    wave = torch.linspace(0, 3, 20, dtype=torch.float64).sin()[:, None] * torch.ones(20, 5, dtype=torch.float64)
    near = order_ratio(wave)
    far = order_ratio(noise(20, 200, seed=0))
    assert near.high < 0.25
    assert far.low < 2 < far.high
    assert far.low > 1.7
    assert order_ratio(torch.ones(8, 3, dtype=torch.float64)).value == 0


def test_weights_of_zeros_are_said_to_be_that():
    zeros = {name: 0 * value for name, value in perceptrons("smooth").items()}
    source, group = found(zeros)
    verdict = judge_weights(observe_weights(source, group), group.depth)
    assert (verdict.label, verdict.reason) == ("undecided", "every weight of every role is 0")


@pytest.mark.parametrize("kind", ["smooth", "tied"])
@pytest.mark.parametrize("stored", ["float8_e4m3fn", "bfloat16", "float16", "float32"])
def test_rounding_is_nowhere_rough(kind, stored):
    state = {name: value.to(getattr(torch, stored)) for name, value in perceptrons(kind, seed=3).items()}
    source, group = found(state)
    observed = observe_weights(source, group)
    assert judge_weights(observed, group.depth).label == kind
    assert {order_of(one).label for one in observed} <= {"smooth", "tied"}


def test_products_know_how_their_factors_were_stored():
    line = perceptrons("tied", seed=4)
    for block in range(12):
        line[f"blocks.{block}.down.weight"] = line[f"blocks.{block}.down.weight"] * (1 + block / 40)
    order = {}
    for name in ("float64", "bfloat16"):
        source, group = found({key: value.to(getattr(torch, name)) for key, value in line.items()})
        order[name] = next(order_of(one) for one in observe_weights(source, group) if one.profile.name == "mlp")
    assert (order["bfloat16"].label, order["bfloat16"].reason.split()[-1]) == ("smooth", "bfloat16")
    assert order["float64"].label == "smooth"


def test_equal_maps_beside_unequal_biases_are_mixed():
    biases = {f"blocks.{block}.down.bias": noise(16, seed=block) for block in range(12)}
    verdict = judged({**perceptrons("tied"), **biases})
    assert (verdict.label, verdict.reason) == ("mixed", "tied: mlp; no order: mlp.down.bias")
    equal = {f"blocks.{block}.down.bias": noise(16, seed=1) for block in range(12)}
    assert judged({**perceptrons("tied"), **equal}).label == "tied"


def test_numbers_that_cannot_be_multiplied_are_said_to_be_that():
    for factor in (1e200, 1e-200):
        source, group = found({name: factor * value for name, value in perceptrons("smooth").items()})
        observed = observe_weights(source, group)
        assert "too large or too small to be multiplied" in judge_weights(observed, group.depth).reason
        assert {order_of(one).label for one in observed if one.profile.view == "raw"} == {"smooth"}
