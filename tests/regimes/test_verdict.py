"""The public verdicts, on tensors, modules and runs."""

from __future__ import annotations

import json

import pytest
import torch

from deeplimit.branches import Perceptron
from deeplimit.checks import InputError
from deeplimit.networks import ResidualStack
from deeplimit.processes import IID, FractionalBrownianMotion, Tied
from deeplimit.regimes import regime, smoothness
from deeplimit.regimes.known import NETWORKS
from deeplimit.scaling import DepthScaling

DEPTHS = (16, 32, 64, 128, 256)


def noise(depth, seed=0):
    return torch.randn(depth, 12, 12, generator=torch.Generator().manual_seed(seed))


def test_tensors_roles_and_several_runs_say_the_same():
    plain = regime({L: noise(L) for L in (32, 64, 128)})
    named = regime({L: {"W": noise(L)} for L in (32, 64, 128)})
    together = regime({L: [noise(L), noise(L, 1)] for L in (32, 64, 128)})
    stacked = regime({L: torch.stack([noise(L), noise(L, 1)]) for L in (32, 64, 128)})
    assert plain.weights["weights"].label == named.weights["W"].label == "i.i.d.-like"
    assert together.weights == stacked.weights
    assert together.weights != plain.weights


def test_modules_are_evaluated_on_the_inputs():
    network = ResidualStack(Perceptron(6, 8), 8, scaling=DepthScaling(0.5), init=IID())
    modules = {L: [network.at_depth(L).module(seed) for seed in range(5)] for L in (16, 32, 64, 128)}
    x = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    assert regime(modules, x=x).function.label == "SDE"
    without = regime(modules).function
    assert without.label == "undecided"
    assert "needs the function" in without.reason


def test_the_json_is_plain_and_the_text_says_both_verdicts():
    found = regime(NETWORKS["equal layers, 1/√L"].observe(DEPTHS, seeds=range(6)))
    content = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert content["function"]["label"] == "none"
    assert content["weights"]["V"]["label"] == "hypothesis 1"
    assert "weights V: hypothesis 1" in str(found)
    assert "function: none" in str(found)
    assert "limit:" not in str(found)
    assert "limit: the same for every draw" in str(
        regime(NETWORKS["around a mean, 1/L"].observe(DEPTHS, seeds=range(6)))
    )


def test_one_network_alone():
    smooth = Tied().sample((4, 4), torch.Generator().manual_seed(0))(24)
    rough = FractionalBrownianMotion(0.4, finest=24).sample((4, 4), torch.Generator().manual_seed(0))(24)
    waves = torch.sin(torch.arange(24)[:, None] / 24 * 3 + torch.arange(16.0))
    assert smoothness(smooth[None]).label == "tied"
    assert smoothness(waves[None]).label == "smooth"
    assert smoothness(rough[None]).label == "rough"
    assert smoothness(noise(24)[None]).label == "no order"
    assert smoothness(noise(4)[None]).label == "undecided"
    found = regime({24: rough})
    assert found.alone["weights"].label == "rough"
    assert found.weights["weights"].label == "undecided"


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({}, "at least one depth"),
        ({8: torch.ones(9, 2)}, "under depth 8, found"),
        ({8: torch.tensor(1.0)}, "under depth 8"),
        ({0: torch.ones(1, 2)}, "at least 1"),
        ({8: {"A": torch.ones(8, 2)}, 16: {"B": torch.ones(16, 2)}}, "roles at depth 16: expected A, found B"),
    ],
)
def test_what_cannot_be_used_is_refused(networks, message):
    with pytest.raises(InputError, match=message):
        regime(networks)
