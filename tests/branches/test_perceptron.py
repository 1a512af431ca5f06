from __future__ import annotations

import math

import pytest
import torch

from deeplimit.branches import GELU, Identity, Perceptron, Tanh
from deeplimit.checks import InputError

Q, M = 3, 5


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_the_map_is_the_formula_sample_by_sample(bias, normalised):
    branch = Perceptron(Q, M, Tanh(), normalised=normalised, bias=bias)
    theta = {role: normal(*shape, seed=i) for i, (role, shape) in enumerate(branch.shapes.items())}
    h = normal(4, Q, seed=9)
    inner, outer = (1 / math.sqrt(Q), 1 / math.sqrt(M)) if normalised else (1.0, 1.0)
    b, c = (theta["b"], theta["c"]) if bias else (torch.zeros(M), torch.zeros(Q))
    expected = torch.stack([outer * theta["V"] @ torch.tanh(inner * theta["W"] @ one + b) + c for one in h])
    torch.testing.assert_close(branch(h, theta), expected)


def test_the_roles_and_their_shapes():
    assert Perceptron(Q, M).shapes == {"V": (Q, M), "W": (M, Q)}
    assert Perceptron(Q, M, bias=True).shapes == {"V": (Q, M), "W": (M, Q), "b": (M,), "c": (Q,)}
    assert Perceptron(Q, M).state_shape == (Q,)
    assert Perceptron(Q, M).shared_shapes == {}


def test_the_factors_keep_the_variance_for_any_width():
    for width in (50, 800):
        branch = Perceptron(width, width, Identity())
        theta = {"V": normal(width, width, seed=1), "W": normal(width, width, seed=2)}
        assert branch(normal(200, width, seed=3), theta).var().item() == pytest.approx(1, rel=0.1)
    assert (Perceptron(4, 9).inner_factor, Perceptron(4, 9).outer_factor) == (1 / 2, 1 / 3)
    free = Perceptron(4, 9, normalised=False)
    assert (free.inner_factor, free.outer_factor) == (1.0, 1.0)


def test_the_released_code_s_form_is_the_paper_s_in_other_weights():
    theta = {"V": normal(Q, M, seed=1), "W": normal(M, Q, seed=2)}
    scaled = {"V": theta["V"] * math.sqrt(M), "W": theta["W"] * math.sqrt(Q)}
    h = normal(4, Q, seed=3)
    torch.testing.assert_close(Perceptron(Q, M, normalised=False)(h, theta), Perceptron(Q, M)(h, scaled))


def test_a_branch_whose_outer_matrix_is_zero_is_zero():
    h = normal(4, Q, seed=3)
    theta = {"V": torch.zeros(Q, M, dtype=torch.float64), "W": normal(M, Q, seed=2)}
    assert not Perceptron(Q, M)(h, theta).any()


def test_the_activation_is_gelu_unless_given():
    assert Perceptron(Q, M).activation == GELU()
    assert Perceptron(Q, M) != Perceptron(Q, M, Tanh())


@pytest.mark.parametrize("size", [0, -3, 2.5])
def test_sizes_that_are_no_positive_integers_are_refused(size):
    with pytest.raises(InputError, match="state: expected an integer of at least 1, found"):
        Perceptron(size, 4)
    with pytest.raises(InputError, match="width: expected an integer of at least 1, found"):
        Perceptron(4, size)
