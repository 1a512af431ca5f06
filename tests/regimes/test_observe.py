"""What is seen of runs."""

from __future__ import annotations

import pytest
import torch

from deeplimit.branches import GELU, OneMatrix, Perceptron, ReLU, Tanh
from deeplimit.checks import InputError
from deeplimit.networks import Dense, ResidualStack, ensemble
from deeplimit.processes import IID
from deeplimit.regimes import Runs, observe, passage_of
from deeplimit.regimes.observe import merged


def network(**options):
    return ResidualStack(Perceptron(3, 4), 5, init=IID(), **options)


def test_the_passage_by_hand():
    states = torch.tensor([[[[0.0], [0.0]]], [[[1.0], [2.0]]], [[[3.0], [2.0]]]])  # 2 layers, 1 run, 2 inputs
    passage = passage_of(states)
    assert passage.displacement.tolist() == pytest.approx([((9 + 4) / 2) ** 0.5])
    assert passage.variation.tolist() == [(1 + 4 + 4 + 0) / 2]
    assert torch.equal(passage.outputs, states[-1])


def test_an_ensemble_is_its_members():
    one = network(readout=Dense(3, 2, std=1.0))
    params = [one.initialise(seed, dtype=torch.float64) for seed in range(2)]
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    both, alone = observe(one, ensemble(params), x=x), observe(one, params[1], x=x)
    assert both.count == 2
    assert alone.passage is not None
    assert both.passage is not None
    for name, value in vars(alone.passage).items():
        assert torch.allclose(getattr(both.passage, name)[1:], value), name
    assert torch.allclose(alone.passage.outputs[0], one(params[1], x))


def test_movement_is_relative_and_leaves_out_what_started_at_0():
    one = ResidualStack(Perceptron(3, 4), 5)  # V = 0
    initial = one.initialise(0, dtype=torch.float64)
    moved = {role: tensor + 1.0 for role, tensor in initial.items()}
    ones = torch.ones_like(initial["W"])
    expected = float(ones.norm() / initial["W"].norm())
    seen = observe(one, moved, initial=initial)
    assert seen.movement is not None
    assert seen.movement.tolist() == pytest.approx([expected])
    assert seen.passage is None
    assert observe(one, moved).movement is None


@pytest.mark.parametrize("activation", [GELU(), Tanh()])
def test_nonlinearity_is_what_the_slope_at_0_leaves(activation):
    one = ResidualStack(OneMatrix(2, activation), 3, init=IID())
    params = one.initialise(1, dtype=torch.float64)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rest = whole = 0.0
    h = x
    for A, b in zip(params["A"], params["b"], strict=True):
        z = h @ A.mT + b
        rest += float((activation(z) - activation.slope * z).square().sum())
        whole += float(activation(z).square().sum())
        h = h + activation(z) / 3
    passage = observe(one, params, x=x).passage
    assert passage is not None
    assert passage.nonlinearity is not None
    assert passage.nonlinearity.tolist() == pytest.approx([(rest / whole) ** 0.5])


def test_a_kink_at_0_has_no_nonlinearity():
    one = ResidualStack(OneMatrix(2, ReLU()), 3, init=IID())
    passage = observe(one, one.initialise(0), x=torch.ones(1, 2)).passage
    assert passage is not None
    assert passage.nonlinearity is None


def test_runs_are_merged():
    parts = [observe(network(), network().initialise(seed), x=torch.ones(2, 3)) for seed in range(3)]
    whole = merged(parts)
    assert whole.count == 3
    assert whole.passage is not None
    assert whole.passage.outputs.shape == (3, 2, 3)
    with pytest.raises(InputError, match="known of all, found it of 1 of 2"):
        merged([parts[0], Runs(parts[1].weights)])
    with pytest.raises(InputError, match="equal roles and shapes"):
        merged([Runs({"A": torch.ones(1, 3, 2)}), Runs({"A": torch.ones(1, 3, 4)})])
