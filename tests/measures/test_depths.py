from __future__ import annotations

import math

import pytest
import torch

from deeplimit.branches import OneMatrix, Perceptron
from deeplimit.checks import InputError
from deeplimit.measures import StateDistance, WeightDistance
from deeplimit.networks import Dense, ResidualStack
from deeplimit.processes import IID, GaussianProcess
from tests.cases import normal
from tests.measures.views import by_quantity, data, drawn, look

NETWORK = ResidualStack(OneMatrix(2, bias=False), 1)
LEFT, PAPER = WeightDistance(), WeightDistance(alignment="paper")


def view(layers):
    """A network whose layer k has all four entries of A equal to layers[k]."""
    A = torch.as_tensor(layers, dtype=torch.float64)[None, :, None, None].expand(1, -1, 2, 2).clone()
    return look(NETWORK.at_depth(len(layers)), {"A": A})


def distances(measure, coarse, fine):
    """(L², sup) for weights that are numbers; the Frobenius norm of four equal entries is twice the entry."""
    suffix = ".paper" if measure is PAPER else ""
    found = by_quantity(measure.compare(view(coarse), view(fine)))
    assert found.keys() == {f"distance.l2.A{suffix}", f"distance.sup.A{suffix}"}
    return tuple(float(found[f"distance.{norm}.A{suffix}"]) / 2 for norm in ("l2", "sup"))


# --- equal functions of s are at distance 0, to the last bit ---


@pytest.mark.parametrize(("depth", "times"), [(1, 7), (3, 4), (7, 7), (49, 2), (100, 3), (1000, 2)])
def test_left_edges_of_one_step_function_agree(depth, times):
    layers = torch.arange(depth, dtype=torch.float64).cos()
    assert distances(LEFT, layers, layers.repeat_interleave(times)) == (0, 0)
    assert distances(LEFT, layers, layers.repeat_interleave(times) + 1e-9)[1] > 0


@pytest.mark.parametrize(("depth", "times"), [(2, 5), (4, 3), (8, 7), (50, 2), (101, 3), (1001, 2)])
def test_one_step_function_in_the_sense_of_the_paper_is_one(depth, times):
    """Z(s) = Z_{⌊(L−1)s⌋+1}: L − 1 steps of equal length, and the last layer at s = 1 alone."""
    layers = torch.arange(depth, dtype=torch.float64).cos()
    fine = torch.cat([layers[:-1].repeat_interleave(times), layers[-1:]])
    assert distances(PAPER, layers, fine) == (0, 0)
    assert distances(PAPER, layers, fine + 1e-9)[1] > 0


@pytest.mark.parametrize(("depth", "deepest"), [(3, 7), (11, 55), (98, 108), (110, 116), (1014, 2**14)])
def test_the_layer_at_a_left_edge_is_found_by_integers(depth, deepest):
    """Layer ⌊i L_ref / L⌋ stands at i/L. In floats both i · (L_ref / L) and (i / L) · L_ref are off by one for some of these."""
    fine = torch.arange(deepest, dtype=torch.float64)
    coarse = [float(i * deepest // depth) for i in range(depth)]
    assert distances(LEFT, coarse, fine) == (0, 0)


# --- closed forms ---


@pytest.mark.parametrize(("depth", "times"), [(1, 5), (4, 2), (4, 8), (10, 10)])
def test_weights_linear_in_s_have_the_closed_form_on_left_edges(depth, times):
    """With Z_k = k/L the value at s = i/L is (i + 1)/L against (i r + 1)/(r L): 1/L − 1/(r L) everywhere."""
    fine = depth * times
    l2, sup = distances(LEFT, [(k + 1) / depth for k in range(depth)], [(k + 1) / fine for k in range(fine)])
    assert l2 == pytest.approx(1 / depth - 1 / fine, rel=1e-12)
    assert sup == pytest.approx(1 / depth - 1 / fine, rel=1e-12)


@pytest.mark.parametrize(("steps", "times"), [(1, 3), (4, 2), (4, 8), (9, 10)])
def test_weights_linear_in_s_have_the_closed_form_of_the_paper(steps, times):
    """Staircases of n = L − 1 and r n steps between 0 and 1: on each step of the coarse one the difference takes the
    values 0, 1, …, r − 1 in units of 1/(r n), for equal lengths."""
    fine = steps * times
    l2, sup = distances(PAPER, torch.arange(steps + 1) / steps, torch.arange(fine + 1) / fine)
    assert l2 == pytest.approx(math.sqrt((times - 1) * (2 * times - 1) / 6) / fine, rel=1e-6)
    assert sup == pytest.approx((times - 1) / fine, rel=1e-6)


@pytest.mark.parametrize(("depth", "deepest"), [(2, 3), (3, 4), (5, 12), (1, 4)])
def test_the_integral_is_over_all_s(depth, deepest):
    """Against a sum over a grid so fine that every step lies between two of its points."""
    generator = torch.Generator().manual_seed(depth)
    coarse, fine = normal((depth,), generator), normal((deepest,), generator)
    p, q, points = depth - 1, deepest - 1, 5000 * max(1, depth - 1) * (deepest - 1)
    s = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    difference = coarse[(p * s).long()] - fine[(q * s).long()]
    end = abs(float(coarse[-1] - fine[-1]))  # s = 1 has layers of its own
    l2, sup = distances(PAPER, coarse, fine)
    assert l2 == pytest.approx(float(difference.square().mean().sqrt()), rel=1e-9)
    assert sup == pytest.approx(max(float(difference.abs().max()), end), rel=1e-12)


def test_the_last_layers_meet_at_the_end():
    assert distances(PAPER, [0, 0, 5], [0, 0, 0, 0, 1]) == (0, 4)
    assert distances(LEFT, [0, 0, 5], [0, 0, 0, 0, 1])[1] == 5


def test_a_smooth_path_comes_closer_as_one_over_depth():
    network = ResidualStack(Perceptron(2, 3), 1024, init=GaussianProcess(0.5))
    fine = look(network, drawn(network))
    for measure, suffix in ((LEFT, ""), (PAPER, ".paper")):
        found = []
        for depth in (32, 64):
            coarse = network.at_depth(depth)
            found.append(by_quantity(measure.compare(look(coarse, drawn(coarse)), fine))[f"distance.l2.V{suffix}"])
        torch.testing.assert_close(found[0] / found[1], torch.full((2,), 2.0, dtype=torch.float64), rtol=0.15, atol=0)


def test_every_role_and_member_is_measured_for_itself():
    network = ResidualStack(OneMatrix(2, delta="layer"), 2, init=IID())
    coarse, deep = drawn(network, 3), drawn(network.at_depth(4), 3)
    found = by_quantity(LEFT.compare(look(network, coarse), look(network.at_depth(4), deep)))
    assert found.keys() == {f"distance.{norm}.{role}" for norm in ("l2", "sup") for role in ("A", "b", "delta")}
    for role in ("A", "b", "delta"):
        for e in range(3):
            norms = [float((coarse[role][e, i] - deep[role][e, 2 * i]).norm()) for i in range(2)]
            assert float(found[f"distance.l2.{role}"][e]) == pytest.approx(math.hypot(*norms) / math.sqrt(2))
            assert float(found[f"distance.sup.{role}"][e]) == pytest.approx(max(norms))


def test_an_unknown_alignment_is_refused():
    with pytest.raises(InputError, match=r"alignment: expected one of .*left.*; found 'rihgt'"):
        WeightDistance(alignment="rihgt")  # type: ignore[arg-type]


# --- states and outputs ---


@pytest.mark.parametrize(("depth", "deepest"), [(1, 2), (2, 4), (3, 7), (4, 5)])
@pytest.mark.parametrize("readout", [None, Dense(3, 2, 1.0)])
def test_states_and_outputs_by_brute_force(depth, deepest, readout):
    network = ResidualStack(Perceptron(3, 4), depth, init=IID(), embedding=Dense(2, 3, 1.0), readout=readout)
    deep = network.at_depth(deepest)
    params, reference = drawn(network), drawn(deep)
    pairs = data(network, params)
    found = by_quantity(StateDistance().compare(look(network, params, pairs=pairs), look(deep, reference, pairs=pairs)))
    h, g = network.states(params, pairs[0]), deep.states(reference, pairs[0])
    F, G = network(params, pairs[0]), deep(reference, pairs[0])
    for e in range(2):
        states = [
            float((h[j * depth // deepest, e, i] - g[j, e, i]).norm()) for j in range(deepest + 1) for i in range(4)
        ]
        outputs = [float((F[e, i] - G[e, i]).norm()) for i in range(4)]
        assert float(found["distance.states"][e]) == pytest.approx(max(states), rel=1e-12)
        assert float(found["distance.outputs"][e]) == pytest.approx(max(outputs), rel=1e-12)


def test_a_network_is_at_no_distance_from_itself_drawn_out():
    """A linear stack with A = 0: every state is the input, at any depth."""
    found = by_quantity(StateDistance().compare(view([0.0, 0.0]), view([0.0] * 6)))
    assert {q: v.tolist() for q, v in found.items()} == {"distance.states": [0.0], "distance.outputs": [0.0]}
    moved = by_quantity(StateDistance().compare(view([0.0, 0.0]), view([0.0] * 5 + [1.0])))
    assert float(moved["distance.outputs"]) > 0.1
