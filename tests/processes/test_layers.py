from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.processes import IID, Constant, Normal, Tied, Uniform, Zero


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer_covariance(weights: torch.Tensor) -> torch.Tensor:
    """Covariance between layers of centred weights `[L, entries]`, the entries being independent samples."""
    return weights.double() @ weights.double().T / weights.shape[1]


def test_independent_layers_have_the_identity_as_covariance():
    weights = IID(Normal(0.5)).sample((20_000,), generator())(5)
    torch.testing.assert_close(layer_covariance(weights), 0.25 * torch.eye(5, dtype=torch.float64), rtol=0, atol=0.01)


def test_tied_layers_have_the_constant_covariance():
    weights = Tied(Uniform(3.0)).sample((20_000,), generator())(5)
    torch.testing.assert_close(
        layer_covariance(weights), torch.full((5, 5), 3.0, dtype=torch.float64), rtol=0, atol=0.06
    )
    assert all(torch.equal(layer, weights[0]) for layer in weights)


def test_a_deeper_network_of_independent_layers_continues_the_draws():
    path = IID().sample((3, 2), generator())
    shallow = path(4)
    assert torch.equal(path(9)[:4], shallow)
    assert torch.equal(path(4), shallow)
    assert not torch.equal(path(9)[4], shallow[3])


def test_two_paths_of_independent_layers_from_one_generator_are_independent():
    shared = generator()
    one, other = IID().sample((1000,), shared), IID().sample((1000,), shared)
    first, second = one(2), other(2)
    assert abs((first * second).mean().item()) < 0.1
    assert not torch.equal(first, second)
    # Reading in turns: no path takes numbers from the other.
    assert torch.equal(one(4), IID().sample((1000,), generator())(4))


def test_independent_layers_are_no_function_of_s():
    with pytest.raises(InputError, match="expected a process that is a function of s, found independent layers"):
        IID().sample((2,), generator()).at(torch.zeros(1))


def test_constant_weights_are_the_value():
    path = Constant(-0.5).sample((2, 3), generator())
    assert torch.equal(path(4), torch.full((4, 2, 3), -0.5))
    assert torch.equal(Zero().sample((2,), generator())(2), torch.zeros(2, 2))


def test_a_constant_draws_nothing():
    used = generator()
    Constant(2.0).sample((100,), used)(5)
    assert torch.equal(used.get_state(), generator().get_state())
    Tied().sample((100,), used)
    assert not torch.equal(used.get_state(), generator().get_state())


def test_tied_layers_are_separate_parameters():
    weights = Tied().sample((2,), generator())(3)
    weights[0].fill_(9.0)
    assert not torch.equal(weights[0], weights[1])


def test_a_tied_layer_has_the_numbers_of_one_draw():
    assert torch.equal(Tied().sample((3, 2), generator(4))(2)[1], Normal().draw((3, 2), generator(4)))
