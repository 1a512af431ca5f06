from __future__ import annotations

import pytest
import torch
from torch import nn

from deeplimit.branches import Convolution, ModuleBranch, OneMatrix, Perceptron
from deeplimit.checks import InputError
from deeplimit.draws import NamedDraw, SequentialDraw
from deeplimit.networks import ByRole, OwnInitialisation, ResidualStack
from deeplimit.networks.initialisation import coerce, standard
from deeplimit.processes import IID, Constant, DepthScaled, GaussianProcess, Normal, Tied, Zero
from tests.cases import CASES


def stream(seed: int = 0):
    return NamedDraw().stream(seed)


def linear() -> nn.Module:
    return nn.Linear(3, 3)


MODULE = ModuleBranch(linear, (3,))


# --- what a stack does when nothing is said ---


def tied(weights: torch.Tensor) -> bool:
    return bool((weights == weights[0]).all()) and bool((weights != 0).any())


def test_the_perceptron_starts_with_outer_weights_and_biases_at_zero_and_the_rest_tied():
    params = standard(Perceptron(3, 4, bias=True)).stacked(Perceptron(3, 4, bias=True), 5, stream())
    assert all(not params[role].any() for role in ("V", "b", "c"))
    assert tied(params["W"])


def test_the_one_matrix_branch_starts_tied_with_delta_at_one():
    params = standard(OneMatrix(3, delta="layer")).stacked(OneMatrix(3, delta="layer"), 5, stream())
    assert tied(params["A"])
    assert not params["b"].any()
    assert params["delta"].tolist() == [1.0] * 5
    shared = ResidualStack(OneMatrix(3, delta="shared"), 5).initialise()
    assert shared["delta"].shape == ()
    assert shared["delta"] == 1


def test_a_module_starts_as_it_says_itself_tied():
    weights = ResidualStack(MODULE, 5).initialise()["weight"]
    assert tied(weights)
    assert float(weights.abs().max()) <= 3**-0.5  # PyTorch's own bound for nn.Linear


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_branch_has_a_start_with_the_shapes_it_says(case):
    branch = case.build(2, 3)
    params = ResidualStack(branch, 4).initialise(dtype=torch.float64)
    expected = {role: (4, *shape) for role, shape in branch.shapes.items()} | branch.shared_shapes
    assert {role: tuple(t.shape) for role, t in params.items()} == expected
    assert {t.dtype for t in params.values()} == {torch.float64}


# --- what is said ---


def test_one_process_serves_all_roles():
    init = coerce(IID(), Perceptron(3, 4))
    params = init.stacked(Perceptron(3, 4), 5, stream())
    assert not tied(params["V"])
    assert not tied(params["W"])
    assert not torch.equal(params["V"].mT, params["W"])


def test_roles_that_are_not_named_are_as_in_the_paper():
    init = coerce({"W": IID()}, Perceptron(3, 4))
    params = init.stacked(Perceptron(3, 4), 5, stream())
    assert not params["V"].any()
    assert not tied(params["W"])
    convolution = coerce({"V": Tied()}, Convolution(2, (3, 3))).stacked(Convolution(2, (3, 3)), 5, stream())
    assert tied(convolution["V"])
    assert tied(convolution["W"])


def test_an_initialisation_stays_what_it_is():
    init = ByRole({"A": Tied()})
    assert coerce(init, OneMatrix(3, bias=False)) is init


def test_a_smooth_process_is_the_same_function_at_every_depth():
    network = ResidualStack(Perceptron(3, 4), 8, init=GaussianProcess(0.5))
    fine, coarse = network.at_depth(24).initialise(3), network.initialise(3)
    assert torch.equal(fine["W"][2::3], coarse["W"])
    paths = network.paths(3)
    assert torch.equal(paths["V"](8).float(), coarse["V"])


@pytest.mark.parametrize("init", [OwnInitialisation(), OwnInitialisation(tied=False)])
def test_a_module_brings_its_own_start(init):
    layers = init.stacked(MODULE, 4, stream())["weight"]
    assert layers.shape == (4, 3, 3)
    assert tied(layers) is init.tied
    assert torch.equal(layers, init.stacked(MODULE, 4, stream())["weight"])
    assert not torch.equal(layers, init.stacked(MODULE, 4, stream(1))["weight"])
    if not init.tied:
        assert len({float(layer.sum()) for layer in layers}) == 4


def test_a_module_can_be_given_processes():
    params = ResidualStack(MODULE, 4, init={"weight": IID(Normal(0.1)), "bias": Zero()}).initialise()
    assert not params["bias"].any()
    assert not tied(params["weight"])


@pytest.mark.parametrize("draw", [NamedDraw(), SequentialDraw()], ids=["named", "sequential"])
def test_the_depth_of_a_module_network_does_not_move_what_is_drawn_after_it(draw):
    """A deeper network of independent layers continues the shallower one, and both see the same data."""
    after = []
    for depth in (2, 5):
        s = draw.stream(0)
        layers = OwnInitialisation(tied=False).stacked(MODULE, depth, s)["weight"]
        after.append((layers[:2], torch.randn(3, generator=s.generator("x"))))
    assert torch.equal(after[0][0], after[1][0])
    assert torch.equal(after[0][1], after[1][1])


# --- errors ---


def test_a_role_that_the_branch_does_not_have_is_refused():
    with pytest.raises(InputError, match="role: expected one of V, W; found 'Q'"):
        ResidualStack(Perceptron(3, 4), 2, init={"Q": Tied()}).initialise()


def test_a_role_without_a_process_is_refused():
    with pytest.raises(InputError, match=r"W"):
        ByRole({"V": Tied()}).stacked(Perceptron(3, 4), 2, stream())
    with pytest.raises(InputError, match="bias"):
        ResidualStack(MODULE, 2, init={"weight": Tied()}).initialise()


def test_only_a_module_brings_its_own_start():
    with pytest.raises(InputError, match="OwnInitialisation: expected a ModuleBranch, found Perceptron"):
        OwnInitialisation().stacked(Perceptron(3, 4), 2, stream())


def test_a_start_that_is_no_process_has_no_paths():
    with pytest.raises(InputError, match="paths: expected an initialisation by processes, found OwnInitialisation"):
        ResidualStack(MODULE, 2).paths()


def test_constants_fill_every_layer():
    params = ByRole({"A": Constant(2.0)}).stacked(OneMatrix(2, bias=False), 3, stream())
    assert params["A"].unique().tolist() == [2.0]


def test_a_shared_role_takes_the_process_that_is_named_for_it():
    branch = OneMatrix(3, delta="shared")
    init = {"delta": DepthScaled(Constant(1.0)), "A": IID()}
    params = ResidualStack(branch, 8, init=init).initialise()
    assert params["delta"].item() == 1 / 8
    assert torch.equal(params["A"], ResidualStack(branch, 8, init={"A": IID()}).initialise()["A"])
    with pytest.raises(InputError, match="role"):
        ResidualStack(OneMatrix(3), 8, init={"delta": Constant(1.0)}).initialise()
