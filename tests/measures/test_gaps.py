from __future__ import annotations

import pytest
import torch

from deeplimit.branches import Convolution, OneMatrix, Perceptron
from deeplimit.measures import LayerGaps, Memory
from deeplimit.networks import ResidualStack
from deeplimit.processes import IID
from tests.measures.views import drawn, look, seen

NETWORK = ResidualStack(Perceptron(2, 1), 3, init=IID())


def weights(*layers: tuple[float, float]):
    """Three layers of V and W, all entries of a layer's matrix equal to the number given; one member."""
    return {
        "V": torch.tensor([[[[v], [v]] for v, _ in layers]], dtype=torch.float64),
        "W": torch.tensor([[[[w, w]] for _, w in layers]], dtype=torch.float64),
    }


def test_the_numbers_of_three_layers():
    """Steps of V: 1, 3; of W: 4, 1. Two equal entries make √2 of each."""
    found = seen(LayerGaps(), look(NETWORK, weights((0, 0), (1, 4), (4, 5))))
    root = 2**0.5
    assert float(found["gap.V"]) == pytest.approx(3 * root)
    assert float(found["gap.W"]) == pytest.approx(4 * root)
    assert float(found["gap"]) == pytest.approx(5 * root)  # max of 1 + 4 and 3 + 1: not the sum of the maxima
    assert float(found["gap.max"]) == 0  # nothing came before
    assert float(found["gap.aggregate"]) == 0


def test_the_history_holds_the_iterations_before_this_one():
    still = weights((0, 0), (0, 1), (0, 2))
    moments = [weights((0, 0), (1, 4), (4, 5)), weights((0, 0), (9, 0), (0, 0)), still, still]
    memory: Memory = {}
    history = []
    for t, params in enumerate(moments):
        view = look(NETWORK, params, iteration=t)
        history.append(seen(LayerGaps(), view, memory))
        LayerGaps().watch(view, memory)
    # Steps by iteration: V (1, 3), (9, 9), (0, 0), (0, 0) and W (4, 1), (0, 0), (1, 1), (1, 1); each is √2 of its number.
    root = 2**0.5
    assert [float(h["gap"]) for h in history] == pytest.approx([5 * root, 9 * root, root, root])
    assert [float(h["gap.max"]) for h in history] == pytest.approx([0, 5 * root, 9 * root, 9 * root])
    V, W = (0, 10, 172, 172), (0, 17, 17, 19)  # sums of squares before each iteration
    expected = [(2 * max(pair)) ** 0.5 for pair in zip(V, W, strict=True)]
    assert [float(h["gap.aggregate"]) for h in history] == pytest.approx(expected)


def test_looking_does_not_change_the_memory():
    memory: Memory = {}
    view = look(NETWORK, drawn(NETWORK))
    seen(LayerGaps(), view, memory)
    assert memory == {}
    LayerGaps().watch(view, memory)
    before = {key: t.clone() for key, t in memory.items()}
    seen(LayerGaps(), view, memory)
    assert all(torch.equal(memory[key], before[key]) for key in before)
    assert before.keys() == memory.keys()


@pytest.mark.parametrize("branch", [Perceptron(2, 3, bias=True), OneMatrix(2, delta="layer"), Convolution(2, (3, 3))])
def test_every_member_is_measured_for_itself(branch):
    network = ResidualStack(branch, 6, init=IID())
    params = drawn(network, 3)
    found = seen(LayerGaps(), look(network, params))
    for e in range(3):
        steps = {role: [float((t[e, k + 1] - t[e, k]).norm()) for k in range(5)] for role, t in params.items()}
        assert float(found["gap"][e]) == pytest.approx(max(map(sum, zip(*steps.values(), strict=True))))
        assert all(float(found[f"gap.{role}"][e]) == pytest.approx(max(steps[role])) for role in steps)
    assert len(set(found["gap"].tolist())) == 3


def test_a_single_layer_has_no_gap():
    network = NETWORK.at_depth(1)
    memory: Memory = {}
    view = look(network, drawn(network))
    LayerGaps().watch(view, memory)
    found = seen(LayerGaps(), view, memory)
    assert found.keys() == {"gap", "gap.V", "gap.W", "gap.max", "gap.aggregate"}
    assert all(v.tolist() == [0.0, 0.0] for v in found.values())
