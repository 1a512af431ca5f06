"""The verdict on the function, on networks whose limit is known."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from deeplimit.regimes import judge_weights, regime
from deeplimit.regimes.function import judge_function
from deeplimit.regimes.known import NETWORKS

DEPTHS = (16, 32, 64, 128, 256)


def seen(name, *, x=True):
    """Six runs of networks of known limit; without `x`, their weights alone."""
    found = NETWORKS[name].observe(DEPTHS, seeds=range(6))
    return found if x else {L: dataclasses.replace(runs, passage=None) for L, runs in found.items()}


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_known_limit(name):
    verdict = regime(seen(name)).function
    assert verdict.label == NETWORKS[name].label
    assert verdict.draw == NETWORKS[name].draw
    assert verdict.reason


def test_rates_are_those_of_the_theory():
    slopes = regime(seen("around a mean, 1/L")).function.slopes
    assert slopes["variation"].value == pytest.approx(-1.0, abs=0.05)
    assert slopes["spread"].value == pytest.approx(-0.5, abs=0.1)
    law = regime(seen("equal layers, 1/L")).function.laws["distance"]
    assert law.limit == pytest.approx(0.0, abs=1e-3)
    assert law.low < 1.0 < law.high


def test_rough_weights_that_do_not_average_out_are_an_ode_of_the_draw():
    runs = seen("equal layers, 1/L")
    rough = {"W": judge_weights({L: normal(L, 1, L, 100) for L in (32, 64, 128)}, "W")}
    assert rough["W"].label == "i.i.d.-like"
    assert judge_function(runs, rough).label == "ODE of the draw"
    assert judge_function(runs, {}).label == "undecided"


def test_lazy_and_feature_learning():
    runs = seen("equal layers, 1/L", x=False)
    lazy = {L: dataclasses.replace(r, movement=torch.full((6,), L**-1.0)) for L, r in runs.items()}
    features = {L: dataclasses.replace(r, movement=0.3 + 0.01 * torch.rand(6)) for L, r in runs.items()}
    assert judge_function(lazy, {}).learning == "lazy"
    assert judge_function(features, {}).learning == "features"
    assert judge_function(runs, {}).learning == "undecided"
    assert "before training" in judge_function(runs, {}).learning_reason


def test_what_is_missing_is_said():
    runs = seen("equal layers, 1/L")
    three = {L: runs[L] for L in (16, 64, 256)}
    narrow = {L: runs[L] for L in (16, 32, 64)} | {128: dataclasses.replace(runs[128], passage=None)}
    assert "4 depths" in judge_function(three, {}).reason
    assert "has it at 16, 32, 64" in judge_function(narrow, {}).reason
    single = {L: regime_of_one(r) for L, r in runs.items()}
    assert judge_function(single, {}).reason.startswith("needs 5 runs")


def regime_of_one(runs):
    assert runs.passage is not None
    passage = dataclasses.replace(
        runs.passage,
        **{name: value[:1] for name, value in vars(runs.passage).items() if value is not None},
    )
    return dataclasses.replace(runs, weights={k: w[:1] for k, w in runs.weights.items()}, passage=passage)


def test_states_that_overflow_have_no_limit():
    runs = seen("equal layers, 1/L")
    passage = runs[256].passage
    assert passage is not None
    reach = torch.tensor([257, 257, 100, 257, 257, 257])
    deepest = dataclasses.replace(passage, displacement=torch.full((6,), torch.inf), finite=reach)
    verdict = judge_function({**runs, 256: dataclasses.replace(runs[256], passage=deepest)}, {})
    assert verdict.label == "none"
    assert verdict.reason == "states overflow: after layer 99 of depth 256 they are not finite (run 2)"
    unsaid = dataclasses.replace(deepest, finite=None)
    verdict = judge_function({**runs, 256: dataclasses.replace(runs[256], passage=unsaid)}, {})
    assert (verdict.label, verdict.reason.split(" cannot")[0]) == ("undecided", "displacement and variation")


def test_states_that_do_not_move_are_the_identity():
    runs = seen("equal layers, 1/L")
    still = {
        L: dataclasses.replace(r, passage=dataclasses.replace(r.passage, displacement=torch.zeros(6)))
        for L, r in runs.items()
        if r.passage
    }
    assert judge_function(still, {}).label == "identity"


def with_outputs(runs, outputs):
    """Runs whose outputs are replaced by a function of depth."""
    return {
        L: dataclasses.replace(r, passage=dataclasses.replace(r.passage, outputs=outputs(L)))
        for L, r in runs.items()
        if r.passage is not None
    }


def test_outputs_that_move_apart_have_no_verdict_unless_they_hardly_differ():
    def growing(size):
        return lambda L: 1 + size * L * normal(L, 6, 4, 2)

    weights = {"W": judge_weights({L: torch.ones(1, L, 20) for L in (16, 32, 64)}, "W")}
    apart = judge_function(with_outputs(seen("equal layers, 1/L"), growing(1e-3)), weights)
    hardly = judge_function(with_outputs(seen("equal layers, 1/L"), growing(1e-6)), weights)
    assert (apart.label, hardly.label) == ("undecided", "neural ODE")
    assert "move apart" in apart.reason
    assert hardly.draw == "the same for every draw"
