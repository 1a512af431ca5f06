from __future__ import annotations

import pytest
import torch

from deeplimit.branches import Convolution, OneMatrix, Perceptron
from deeplimit.checks import InputError
from deeplimit.measures import At, Comparison, Every, Geometric, Last, Loss, View
from deeplimit.measures.measure import per_layer_norm
from deeplimit.networks import Dense, ResidualStack
from deeplimit.processes import IID
from tests.measures.views import drawn, look

NETWORK = ResidualStack(Perceptron(3, 4), 5, init=IID(), embedding=Dense(2, 3, 1.0), readout=Dense(3, 2, 1.0))


def test_every_takes_the_multiples_and_zero():
    assert [t for t in range(10) if t in Every(3)] == [0, 3, 6, 9]
    assert all(t in Every(1) for t in range(5))


def test_at_takes_what_is_listed():
    assert [t for t in range(10) if t in At((7, 2))] == [2, 7]
    assert 0 not in At(())


@pytest.mark.parametrize("schedule", [Every(3), At((3, 4))])
def test_a_schedule_is_due_at_its_iterations_and_at_no_other_end(schedule):
    assert all(schedule.due(t, final=final) is (t in schedule) for t in range(7) for final in (False, True))


def test_last_is_due_at_the_end_alone():
    assert [Last().due(t, final=t == 4) for t in range(5)] == [False] * 4 + [True]
    assert 4 not in Last()


@pytest.mark.parametrize("interval", [0, -1, 1.5])
def test_an_interval_below_one_is_refused(interval):
    with pytest.raises(InputError, match="interval: expected an integer of at least 1, found"):
        Every(interval)


@pytest.mark.parametrize("readout", [None, Dense(3, 2, 1.0)])
def test_states_and_output_of_a_view_are_those_of_the_network(readout):
    network = ResidualStack(Perceptron(3, 4), 5, init=IID(), embedding=Dense(2, 3, 1.0), readout=readout)
    params = drawn(network)
    view = look(network, params)
    assert torch.equal(view.states, network.states(params, view.x))
    torch.testing.assert_close(view.output, network(params, view.x), rtol=1e-13, atol=1e-13)


def test_states_are_computed_once_and_only_when_asked_for(monkeypatch):
    calls: list[int] = []
    states = ResidualStack.states

    def counted(*arguments, **options):
        calls.append(1)
        return states(*arguments, **options)

    monkeypatch.setattr(ResidualStack, "states", counted)
    view = look(NETWORK, drawn(NETWORK))
    list(Loss().observe(view, {}))
    assert calls == []
    assert view.states is view.states
    assert view.output.shape == (2, 4, 2)
    assert calls == [1]


def test_the_weights_of_a_view_are_those_stacked_over_depth():
    network = ResidualStack(OneMatrix(2, delta="shared"), 5, readout=Dense(2, 1, 1.0))
    assert look(network, drawn(network)).weights.keys() == {"A", "b"}


def test_pairs_set_every_depth_beside_the_deepest():
    views: dict[int, View] = {depth: look(n := NETWORK.at_depth(depth), drawn(n)) for depth in (4, 9, 2)}
    assert list(Comparison.pairs(views)) == [(views[4], views[9]), (views[2], views[9])]
    assert list(Comparison.pairs({4: views[4]})) == []


def test_the_norm_of_a_layer_is_that_of_all_its_entries():
    weights = torch.zeros(2, 3, 2, 2)
    weights[1, 2] = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert per_layer_norm(weights).tolist() == [[0, 0, 0], [0, 0, 5]]
    assert per_layer_norm(torch.tensor([[-1.0, 2.0]])).tolist() == [[1, 2]]  # one number a layer
    kernel = drawn(ResidualStack(Convolution(2, (3, 3)), 4, init=IID()))["W"]
    assert per_layer_norm(kernel)[1, 3] == pytest.approx(float(kernel[1, 3].norm()))


def test_geometric_iterations_are_the_integer_parts_of_powers():
    expected = {0} | {int(10 ** (k / 7)) for k in range(36)}
    assert {t for t in range(100_001) if t in Geometric(7)} == expected
    assert 100_002 not in Geometric(7)
    assert Geometric(7).due(100_002, final=True)
    assert not Geometric(7).due(100_002)
