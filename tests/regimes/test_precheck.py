"""What is said of weights before any statistic: on other depths, scales and formats than the bounds are explained with."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplimit.regimes import judge_weights, regime, smoothness
from deeplimit.regimes.precheck import Unit, empty_layers, listed, not_finite, precheck

FORMATS = ("float8_e5m2", "bfloat16", "float16", "float32")
ENTRIES = 200


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stored(paths, name):
    return paths.to(getattr(torch, name)).double()


def level(depth, scale):
    return scale * normal(1, ENTRIES).expand(depth, ENTRIES)


def along(depth):
    return torch.arange(depth, dtype=torch.float64)[:, None] / depth


def no_number(text):
    return not re.search(r"\b(nan|inf)\b", text)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("depth", [9, 70])
@pytest.mark.parametrize("scale", [0.02, 50.0])
@pytest.mark.parametrize("turn", [1.0, 0.1])
def test_smooth_weights_are_never_rough_for_how_they_are_stored(name, depth, scale, turn):
    curve = level(depth, scale) + turn * scale * normal(2, ENTRIES) * torch.sin(2 * along(depth) + normal(3, ENTRIES))
    found = smoothness(stored(curve, name)[None])
    assert found.label in ("smooth", "tied")
    assert found.roughness is None or found.roughness.low > 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("depth", [9, 70])
@pytest.mark.parametrize("times", [10, 100])
def test_noise_above_rounding_is_seen(name, depth, times):
    rounding = times * torch.finfo(getattr(torch, name)).eps / math.sqrt(12)
    if rounding > 0.5:
        return  # noise of the size of the weights themselves hides the line
    noise = rounding * level(depth, 1.0) * normal(4, depth, ENTRIES)
    line = smoothness(stored(level(depth, 1.0) + along(depth) * normal(2, ENTRIES) + noise, name)[None])
    assert (line.label, line.state) == ("rough", "measurable")
    tied = smoothness(stored(level(depth, 1.0) + noise, name)[None])
    assert (tied.label, tied.state) == ("no order", "measurable")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("scale", [0.02, 50.0])
def test_layers_within_a_unit_are_tied(name, scale):
    numbers = level(20, scale).to(getattr(torch, name)).double()
    steps = torch.randint(-1, 2, (20, ENTRIES), generator=torch.Generator().manual_seed(5))
    near = stored(numbers * (1 + steps * torch.finfo(getattr(torch, name)).eps), name)
    assert bool((near != numbers).any())
    assert precheck(near[None]).reason == f"all layers are equal up to the rounding of {name}"
    found = smoothness(near[None])
    assert (found.label, found.ratio, found.p_value, found.roughness) == ("tied", None, None, None)


def test_lines_are_straight_and_smooth_and_nowhere_rough():
    line = (level(64, 1.0) + along(64) * normal(2, ENTRIES)).float()
    found = regime({depth: line[:: 64 // depth] for depth in (8, 16, 32, 64)})
    assert found.weights["weights"].label == "hypothesis 1"
    assert (found.alone["weights"].label, found.alone["weights"].state) == ("smooth", "straight")
    assert "rough " not in str(found)
    assert "rounding of float32" in str(found)


def test_depths_at_rounding_are_left_out_where_others_are_enough():
    curve = level(256, 1.0) + normal(2, ENTRIES) * torch.sin(2 * along(256))
    weights = {depth: stored(curve[:: 256 // depth], "float16")[None] for depth in (8, 16, 32, 64, 256)}
    found = judge_weights(weights)
    assert (found.label, "depths 64, 256 left out: their differences are rounding" in found.reason) == (
        "hypothesis 1",
        True,
    )
    assert found.evidence is not None
    few = judge_weights({depth: weights[depth] for depth in (8, 32, 256)})
    assert (few.label, few.evidence) == ("hypothesis 1", None)
    assert "float16 at depth 256: they fall at least as L^(−" in few.reason


def test_noise_that_may_be_there_below_rounding_leaves_a_verdict_open():
    noise = {depth: level(depth, 1.0) + 0.05 * depth**-0.5 * normal(depth, depth, ENTRIES) for depth in (8, 32, 256)}
    hidden = judge_weights({depth: stored(paths, "bfloat16")[None] for depth, paths in noise.items()})
    assert (hidden.label, "at depth 256, and needs 3 depths" in hidden.reason) == ("undecided", True)
    assert judge_weights({depth: paths[None] for depth, paths in noise.items()}).label == "hypothesis 2"


@pytest.mark.parametrize(
    ("weights", "state"),
    [
        (torch.zeros(1, 8, 0), "empty"),
        (torch.zeros(1, 8, 3), "zero"),
        (torch.full((1, 8, 3), math.inf), "not finite"),
        (torch.ones(1, 8, 3, dtype=torch.bool), "tied"),
        (torch.arange(8)[None, :, None], "straight"),
        (torch.arange(8)[None, :, None] ** 3, "measurable"),
        (normal(1, 1, 8, 3) * (1 + 2j), "measurable"),
        (1e200 * normal(1, 1, 8, 3), "measurable"),
        (1e-310 * normal(1, 1, 8, 3), "measurable"),
        (1e300 * (level(8, 1.0) + along(8) * normal(2, ENTRIES)).float().double()[None], "straight"),
        (torch.ones(1, 1, 3), "measurable"),
    ],
)
def test_every_state(weights, state):
    found = precheck(weights)
    assert found.state == state
    assert (found.reason == "") == (state == "measurable")
    assert no_number(found.reason)


def test_the_unit_of_what_was_computed_may_be_given():
    path = level(12, 1.0) + 1e-3 * normal(2, 12, ENTRIES)
    assert precheck(path[None]).state == "measurable"
    assert precheck(path[None], unit=Unit(1e-5, "bfloat16")).state == "tied"


def test_words():
    weights = {8: torch.zeros(2, 8, 3), 16: torch.zeros(2, 16, 3)}
    weights[8][1, 5:7, 0] = math.nan
    weights[16][0, 3] = -math.inf
    assert not_finite("W", weights) == (
        "5 values of W are not finite: at depth 8, layers 5, 6 (run 1); at depth 16, layer 3 (run 0)"
    )
    assert not_finite("W", {8: torch.zeros(1, 8, 2)}) == ""
    assert empty_layers(torch.eye(5)[None, 1:4]) == []
    assert empty_layers(torch.diag(torch.tensor([1.0, 0.0, 2.0]))[None]) == [1]
    assert listed("layer", range(9)) == "layers 0, 1, 2, 3, 4, 5 and 3 more"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_nothing_that_is_no_number_comes_out(data):
    depths = (8, 16, 32)
    seed = data.draw(st.integers(0, 99))
    name = data.draw(st.sampled_from(("float16", "bfloat16", "float32", "float64")))
    smooth = data.draw(st.booleans())
    size = data.draw(st.sampled_from((1.0, 1e-4, 1e30, 1e200, 1e-200))) if name == "float64" else 1.0
    weights = {}
    for depth in depths:
        own = torch.sin(along(depth) + normal(seed, 12)) if smooth else normal(seed + depth, depth, 12)
        weights[depth] = (size * own[None].expand(2, depth, 12)).to(getattr(torch, name)).clone()
    plants = st.sampled_from((math.nan, math.inf, -math.inf, 0.0, 1.0, "layer", "entry", "tied"))
    planted = data.draw(
        st.lists(st.tuples(plants, st.sampled_from(depths), st.integers(0, 7), st.integers(0, 11)), max_size=3)
    )
    broken = False
    for what, depth, layer, entry in planted:
        if what == "layer":
            weights[depth][:, layer] = 0
        elif what == "entry":
            weights[depth][..., entry] = 0
        elif what == "tied":
            weights[depth][:] = weights[depth][:, :1].clone()
        else:
            weights[depth][0, layer, entry] = what
    broken = any(not bool(tensor.isfinite().all()) for tensor in weights.values())
    found = regime(weights)
    json.dumps(found.as_json(), allow_nan=False)
    assert no_number(str(found))
    verdict = found.weights["weights"]
    assert (
        verdict.reason.split(" of weights")[0].endswith(("value", "values")) and verdict.label == "undecided"
    ) == broken
    if broken:
        assert (verdict.beta, verdict.roughness, verdict.evidence) == (None, None, None)
        assert "not finite" in found.function.reason
    assert not ("straight" in verdict.reason and "rough (" in str(found))
    alone = found.alone["weights"]
    assert (alone.ratio is None) == (alone.state in ("not finite", "zero", "tied"))
    assert alone.ratio is None or math.isfinite(alone.ratio)
