from __future__ import annotations

import pytest
import torch

from deeplimit.branches import GELU, OuterMatrix, Perceptron, Tanh
from deeplimit.checks import InputError

D = 4


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("bias", [False, True])
def test_the_map_is_the_formula_sample_by_sample(bias):
    branch = OuterMatrix(D, Tanh(), bias=bias)
    assert branch.shapes == {"V": (D, D)} | ({"c": (D,)} if bias else {})
    assert branch.state_shape == (D,)
    theta = {role: normal(*shape, seed=i) for i, (role, shape) in enumerate(branch.shapes.items())}
    h = normal(3, D, seed=9)
    c = theta["c"] if bias else torch.zeros(D)
    expected = torch.stack([theta["V"] @ torch.tanh(one) + c for one in h])
    torch.testing.assert_close(branch(h, theta), expected)


@pytest.mark.parametrize("bias", [False, True])
def test_as_a_perceptron_it_is_the_same_map_with_nothing_else_to_train(bias):
    branch = OuterMatrix(D, GELU(), bias=bias)
    theta = {role: normal(2, *shape, seed=i).requires_grad_() for i, (role, shape) in enumerate(branch.shapes.items())}
    perceptron, weights = branch.as_perceptron(theta)
    assert type(perceptron) is Perceptron
    assert {role: tuple(t.shape[1:]) for role, t in weights.items()} == perceptron.shapes
    assert {role for role, t in weights.items() if t.requires_grad} == set(theta)
    h = normal(3, D, seed=9)
    for k in range(2):
        own, other = ({role: t[k] for role, t in params.items()} for params in (theta, weights))
        assert torch.equal(perceptron(h, other), branch(h, own))


def test_a_size_that_is_none_is_refused():
    with pytest.raises(InputError, match="state: expected an integer of at least 1, found 0"):
        OuterMatrix(0)
