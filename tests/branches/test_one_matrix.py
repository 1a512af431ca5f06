from __future__ import annotations

import pytest
import torch

from deeplimit.branches import OneMatrix, Tanh
from deeplimit.checks import InputError

D = 4


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("delta", ["fixed", "shared", "layer"])
@pytest.mark.parametrize("bias", [False, True])
def test_the_map_is_the_formula_sample_by_sample(delta, bias):
    branch = OneMatrix(D, Tanh(), delta=delta, bias=bias)
    shapes = branch.shapes | branch.shared_shapes
    theta = {role: normal(*shape, seed=i) for i, (role, shape) in enumerate(shapes.items())}
    h = normal(3, D, seed=9)
    b = theta["b"] if bias else torch.zeros(D)
    factor = 1.0 if delta == "fixed" else theta["delta"].item()
    expected = torch.stack([factor * torch.tanh(theta["A"] @ one + b) for one in h])
    torch.testing.assert_close(branch(h, theta), expected)


@pytest.mark.parametrize(
    ("delta", "layered", "shared"),
    [("fixed", {}, {}), ("layer", {"delta": ()}, {}), ("shared", {}, {"delta": ()})],
)
def test_delta_is_nobody_s_every_layer_s_or_the_stack_s(delta, layered, shared):
    assert OneMatrix(D, delta=delta).shapes == {"A": (D, D), "b": (D,)} | layered
    assert OneMatrix(D, delta=delta, bias=False).shapes == {"A": (D, D)} | layered
    assert OneMatrix(D, delta=delta).shared_shapes == shared
    assert OneMatrix(D, delta=delta).state_shape == (D,)


def test_every_member_of_an_ensemble_has_its_own_delta():
    h = normal(2, 3, D, seed=1)
    theta = {"A": normal(2, D, D, seed=2), "b": normal(2, D, seed=3), "delta": torch.tensor([1.0, -2.0]).double()}
    found = OneMatrix(D, delta="shared")(h, theta)
    plain = OneMatrix(D)(h, theta)
    torch.testing.assert_close(found, torch.stack([plain[0], -2 * plain[1]]))


def test_unknown_arguments_are_refused():
    with pytest.raises(InputError, match=r"delta: expected one of .*layer.*; found 'layers'"):
        OneMatrix(D, delta="layers")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="state: expected an integer of at least 1, found 0"):
        OneMatrix(0)
