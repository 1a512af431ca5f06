"""The verdict on weights: right on the zoo, with reasons, and silent where it cannot tell."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.claims import Measured
from deeplimit.regimes.weights import Evidence, classify, judge_weights, measure_evidence
from deeplimit.regimes.zoo import FAMILIES

FRESH = 5_000_000  # seeds that no study uses


def rulings(depths, entries, seeds):
    """(family, ruling) counts: right, wrong or undecided."""
    counts: Counter[str] = Counter()
    for family in FAMILIES:
        for seed in range(FRESH, FRESH + seeds):
            label = judge_weights(family.draw(depths, entries, seed=seed)).label
            ruling = "undecided" if label == "undecided" else "right" if label == family.label else "wrong"
            counts[ruling] += 1
    return counts


def test_of_deep_networks_nearly_all_decided_verdicts_are_right():
    counts = rulings((32, 64, 128, 256), 100, 4)
    assert counts["right"] >= 0.97 * (counts["right"] + counts["wrong"])
    assert counts["undecided"] <= 0.1 * counts.total()


@pytest.mark.parametrize(("depths", "entries"), [((8, 16, 32), 16), ((8, 16, 32, 64), 4)])
def test_of_shallow_networks_it_abstains_rather_than_err(depths, entries):
    counts = rulings(depths, entries, 6)
    assert counts["wrong"] <= 0.02 * counts.total()
    assert counts["undecided"] > 0.2 * counts.total()


@pytest.mark.parametrize(
    "name", ["trend + noise, β = 0.25", "fractional, H = 0.3", "sparse, 3 layers", "smooth, β = 0.5"]
)
def test_scale_and_the_layout_of_entries_do_not_matter(name):
    (family,) = (f for f in FAMILIES if f.name == name)
    weights = family.draw((64, 128, 256), 120, seed=3)
    one = judge_weights(weights)
    other = judge_weights({L: (1e-3 * w).reshape(1, L, 12, 10).float() for L, w in weights.items()})
    assert one.label == other.label == family.label
    assert one.beta is not None
    assert other.beta is not None
    assert one.beta.value == pytest.approx(other.beta.value, abs=1e-4)


def test_runs_take_the_place_of_groups_where_there_are_five():
    family = FAMILIES[0]
    draws = [family.draw((16, 32, 64), 30, seed=seed) for seed in range(5)]
    weights = {L: torch.cat([draw[L] for draw in draws]) for L in (16, 32, 64)}
    assert measure_evidence(weights).noise.sample == 5
    assert measure_evidence({L: w[:4] for L, w in weights.items()}).noise.sample == 10
    assert judge_weights(weights).label == "hypothesis 1"


def test_beta_is_that_of_the_trend():
    for name, beta in (("smooth, β = 0.25", 0.25), ("trend + noise, β = 0.25", 0.25), ("trend + noise, β = 0", 0.0)):
        (family,) = (f for f in FAMILIES if f.name == name)
        found = judge_weights(family.draw((64, 128, 256, 512), 100, seed=1)).beta
        assert found is not None
        assert found.value == pytest.approx(beta, abs=0.04)


def test_equal_layers_are_hypothesis_1():
    layer = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    verdict = judge_weights({L: layer.expand(1, L, 3, 4) for L in (8, 16, 32)})
    assert verdict.label == "hypothesis 1"
    assert (verdict.evidence, "(tied)" in verdict.reason) == (None, True)


def test_weights_of_zeros_have_no_verdict():
    zero = judge_weights({L: torch.zeros(1, L, 3, 4) for L in (8, 16, 32)}, "W")
    assert (zero.label, zero.reason, zero.beta) == ("undecided", "every weight of W is 0", None)
    some = judge_weights({L: (L != 16) * torch.rand(1, L, 12) for L in (8, 16, 32)}, "W")
    assert (some.label, some.reason) == ("undecided", "every weight of W is 0 at depth 16")


@pytest.mark.parametrize(
    ("depths", "entries", "reason"),
    [((4, 8, 16), 20, "needs 3 depths"), ((16, 24, 48), 20, "factor 4"), ((8, 16, 32), 4, "needs 5 runs")],
)
def test_what_is_missing_is_said(depths, entries, reason):
    verdict = judge_weights({L: torch.rand(1, L, entries) for L in depths}, "A")
    assert (verdict.label, verdict.role) == ("undecided", "A")
    assert reason in verdict.reason


def test_weights_that_are_not_finite_have_no_verdict():
    weights = {L: torch.rand(1, L, 10) for L in (8, 16, 32)}
    weights[32][0, 3, 2] = torch.nan
    verdict = judge_weights(weights)
    assert verdict.label == "undecided"
    assert verdict.reason == "1 value of weights is not finite: at depth 32, layer 3 (run 0)"
    assert (verdict.beta, verdict.roughness, verdict.evidence) == (None, None, None)


def test_a_depth_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="weights at depth 16"):
        judge_weights({8: torch.rand(1, 8, 10), 16: torch.rand(1, 8, 10), 32: torch.rand(1, 32, 10)})


def evidence(**numbers):
    plain = {
        "concentration": 1.0, "jumps": 1.0, "local_roughness": 0.0, "roughness_drift": 0.0, "global_roughness": 0.0, "noise": 0.0,
    }  # fmt: skip
    halves = {"local_roughness": 0.02}
    return Evidence(
        **{
            name: Measured(value, value - halves.get(name, 0.05), value + halves.get(name, 0.05))
            for name, value in {**plain, **numbers}.items()
        }
    )


@pytest.mark.parametrize(
    ("numbers", "label", "reason"),
    [
        ({}, "hypothesis 2", "Brownian"),
        ({"noise": 1.0}, "i.i.d.-like", "grows with depth"),
        ({"noise": -0.5}, "i.i.d.-like", "little else"),
        ({"noise": -0.5, "global_roughness": 0.5}, "hypothesis 1", "vanishes"),
        ({"noise": 0.42}, "i.i.d.-like", "grows"),
        ({"noise": -0.12}, "hypothesis 2", "Brownian"),
        ({"concentration": 0.1}, "sparse", "carry the weights"),
        ({"concentration": 0.5}, "undecided", "unclear exponent"),
        ({"jumps": 0.1}, "piecewise", "change"),
        ({"jumps": 0.5}, "undecided", "change"),
        ({"jumps": 0.1, "local_roughness": 2.0, "global_roughness": 2.0}, "hypothesis 1", "smooth"),
        ({"local_roughness": 0.08}, "undecided", "white noise and with rough"),
        ({"local_roughness": 2.0, "global_roughness": 2.0}, "hypothesis 1", "smooth"),
        ({"local_roughness": 0.4, "global_roughness": 0.4}, "hypothesis 1", "Hurst"),
        ({"local_roughness": 0.4}, "i.i.d.-like", "memory"),
        ({"local_roughness": -0.3}, "i.i.d.-like", "memory"),
        ({"local_roughness": 0.4, "global_roughness": 0.8}, "undecided", "do not agree"),
        ({"local_roughness": 0.4, "global_roughness": 0.4, "roughness_drift": -0.3}, "undecided", "still changes"),
        ({"local_roughness": float("nan")}, "undecided", "local roughness cannot be measured"),
    ],
)
def test_each_rule(numbers, label, reason):
    found, said = classify(evidence(**numbers))
    assert found == label
    assert reason in said
