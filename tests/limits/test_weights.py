from __future__ import annotations

from typing import get_args

import pytest
import torch

from deeplimit.branches import OneMatrix, Perceptron
from deeplimit.checks import InputError
from deeplimit.draws import SequentialDraw
from deeplimit.fits import power_law
from deeplimit.limits import PiecewiseLinear, Spline, initial, on_grid, splined, stack, together, trained
from deeplimit.limits.weights import Placement, constants, is_ensemble, read
from deeplimit.networks import LastCoordinates, OwnInitialisation, Padding, ResidualStack, ensemble, member
from deeplimit.processes import GaussianProcess, Tied

D, Q, M, OUT = 2, 5, 3, 2
NETWORK = ResidualStack(
    Perceptron(Q, M),
    depth=6,
    init={"V": GaussianProcess(), "W": GaussianProcess()},
    embedding=Padding(D, Q),
    readout=LastCoordinates(Q, OUT, trainable=False),
)


def grid(points: int) -> torch.Tensor:
    return torch.arange(points + 1, dtype=torch.float64) / points


@pytest.mark.parametrize(
    ("placement", "first", "last"), [("right", 1 / 7, 1.0), ("left", 0.0, 6 / 7), ("ends", 0.0, 1.0)]
)
def test_a_piecewise_linear_path_passes_through_its_layers(placement: Placement, first: float, last: float):
    layers = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path = PiecewiseLinear(layers, placement)
    s = torch.linspace(first, last, 7, dtype=torch.float64)
    assert torch.equal(path.at(s), layers)
    torch.testing.assert_close(path.at((s[:-1] + s[1:]) / 2), (layers[:-1] + layers[1:]) / 2)
    held = path.at(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert torch.equal(held, layers[[0, -1]])


@pytest.mark.parametrize("depth", [1, 3, 49, 1000])
def test_reading_at_the_own_depth_gives_the_layers_to_the_last_bit(depth):
    layers = torch.randn(depth, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(PiecewiseLinear(layers, "right")(depth), layers)


def test_a_single_layer_is_a_constant():
    for placement in get_args(Placement):
        assert PiecewiseLinear(torch.ones(1, 2), placement).at(grid(3)).tolist() == [[1.0, 1.0]] * 4


def test_an_unknown_placement_is_refused():
    with pytest.raises(InputError, match=r"placement: expected one of .*right.*found 'rihgt'"):
        PiecewiseLinear(torch.ones(3, 1), "rihgt")  # type: ignore[arg-type]


def test_a_spline_passes_through_its_nodes_and_is_of_fourth_order():
    fine, sizes, errors = grid(2001), (32, 64, 128, 256), []
    for points in sizes:
        nodes = torch.stack([grid(points).mul(3).sin(), grid(points).exp()], dim=1)
        path = Spline(nodes)
        torch.testing.assert_close(path.at(grid(points)), nodes, rtol=1e-14, atol=1e-14)
        errors.append((path.at(fine) - torch.stack([fine.mul(3).sin(), fine.exp()], dim=1)).abs().max().item())
    assert power_law(sizes, errors).value == pytest.approx(-4, abs=0.25)


def test_the_initial_weights_are_those_a_network_reads_at_its_layers():
    params = NETWORK.initialise(3, dtype=torch.float64)
    read_back = stack(NETWORK, initial(NETWORK, 3))
    assert set(read_back) == set(params) == {"V", "W", "embedding", "readout"}
    for role, tensor in params.items():
        torch.testing.assert_close(read_back[role].float(), tensor.float(), rtol=0, atol=0)
    assert not torch.equal(stack(NETWORK, initial(NETWORK, 4))["W"], read_back["W"])


def test_the_initial_weights_follow_the_way_of_drawing():
    network = ResidualStack(Perceptron(Q, M), depth=4)
    weights = stack(network, initial(network, 3, draw=SequentialDraw()))
    assert torch.equal(weights["W"].float(), network.initialise(3, draw=SequentialDraw())["W"])
    assert not torch.equal(weights["W"].float(), network.initialise(3)["W"])


def test_initial_weights_without_processes_are_refused():
    network = ResidualStack(Perceptron(Q, M), depth=4, init=OwnInitialisation())
    with pytest.raises(InputError, match="expected a ModuleBranch"):
        initial(network)


def test_trained_weights_of_an_ensemble_keep_the_members_apart():
    params = ensemble([NETWORK.initialise(seed, dtype=torch.float64) for seed in (0, 1, 2)])
    weights = trained(NETWORK, params)
    nodes = read(NETWORK, weights, s=grid(6)[1:])
    assert nodes["W"].shape == (6, 3, M, Q)
    assert is_ensemble(NETWORK, nodes)
    assert torch.equal(stack(NETWORK, weights)["W"], params["W"])
    alone = stack(NETWORK, trained(NETWORK, member(params, 1)))
    assert torch.equal(alone["V"], params["V"][1])
    assert not is_ensemble(NETWORK, alone)


def test_the_grid_and_its_spline_are_inverse_to_each_other():
    for weights in (initial(NETWORK, 0), together([initial(NETWORK, seed) for seed in (0, 1)])):
        state = on_grid(NETWORK, weights, intervals=4)
        again = on_grid(NETWORK, splined(NETWORK, state), intervals=4)
        assert state["W"].shape[-3:] == (9, M, Q)
        for role in state:
            torch.testing.assert_close(again[role], state[role], rtol=1e-13, atol=1e-13)


def test_members_together_are_the_members():
    members = [initial(NETWORK, seed) for seed in (5, 6)]
    joined = stack(NETWORK, together(members))
    for role, tensor in ensemble([stack(NETWORK, weights) for weights in members]).items():
        assert torch.equal(joined[role], tensor)


def test_members_that_do_not_match_are_refused():
    with pytest.raises(InputError, match="equal roles"):
        together([])
    with pytest.raises(InputError, match=r"equal roles, found \[\['W'\], \['V'\]\]"):
        together([{"W": torch.ones(1)}, {"V": torch.ones(1)}])
    with pytest.raises(InputError, match="a path from every member for W"):
        together([{"W": torch.ones(1)}, {"W": PiecewiseLinear(torch.ones(1))}])


def test_roles_of_the_wrong_kind_are_refused():
    weights = initial(NETWORK, 0)
    params = NETWORK.initialise(0)
    with pytest.raises(InputError, match="weights: expected the role W, found V"):
        read(NETWORK, {"V": weights["V"]}, s=grid(1))
    with pytest.raises(InputError, match=r"weights V: expected a path over s .*found a tensor"):
        read(NETWORK, params, s=grid(1))
    with pytest.raises(InputError, match="weights: expected the role readout, found V, W, embedding"):
        constants(NETWORK, {"V": weights["V"], "W": weights["W"], "embedding": weights["embedding"]})
    with pytest.raises(InputError, match="weights embedding: expected a tensor, found a path"):
        constants(NETWORK, {**weights, "embedding": weights["W"]})
    with pytest.raises(InputError, match="intervals: expected an integer of at least 1, found 0"):
        on_grid(NETWORK, weights, intervals=0)


def test_shared_roles_are_constants():
    network = ResidualStack(OneMatrix(Q, delta="shared"), depth=3, init=Tied())
    weights = initial(network, 0)
    assert constants(network, weights)["delta"].item() == 1.0
    assert set(read(network, weights, s=grid(2))) == {"A", "b"}
