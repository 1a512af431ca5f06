from __future__ import annotations

import torch

from deeplimit.branches import Convolution, OneMatrix
from deeplimit.engines.engine import differentiable_gradient, is_ensemble, layered


def test_an_ensemble_has_one_axis_more_than_a_batch():
    image = Convolution(2, (5, 6))
    assert not is_ensemble(image, torch.zeros(3, 2, 5, 6))
    assert is_ensemble(image, torch.zeros(3, 7, 2, 5, 6))
    assert not is_ensemble(OneMatrix(4), torch.zeros(3, 4))
    assert is_ensemble(OneMatrix(4), torch.zeros(1, 3, 4))


def test_layered_puts_depth_first_and_leaves_out_shared_roles():
    branch = OneMatrix(3, delta="shared")
    theta = {"A": torch.randn(2, 5, 3, 3), "b": torch.randn(2, 5, 3), "delta": torch.randn(2)}
    found = layered(branch, theta, ensemble=True)
    assert {role: tuple(t.shape) for role, t in found.items()} == {"A": (5, 2, 3, 3), "b": (5, 2, 3)}
    assert torch.equal(found["A"][4, 1], theta["A"][1, 4])
    single = {role: t[0] for role, t in theta.items()}
    assert torch.equal(layered(branch, single, ensemble=False)["A"], single["A"])


def test_a_differentiable_gradient_is_that_of_autograd_for_what_asks_for_one():
    x, y, z = (torch.tensor([1.0, 2.0, -3.0]) + k for k in range(3))
    x.requires_grad_()
    z.requires_grad_()
    p = torch.tensor([2.0, -1.0, 0.5], requires_grad=True)
    of_x, of_y, of_none, of_z = differentiable_gradient(lambda x, y, _, z: x**2 * y * z, (x, y, None, z), p=p)
    assert of_y is of_none is None
    assert of_x is not None
    assert of_z is not None
    assert torch.equal(of_x, 2 * p * x * y * z)
    assert torch.equal(of_z, p * x**2 * y)
    mixed = torch.autograd.grad(of_x.sum(), (x, z, p))
    assert all(torch.equal(*pair) for pair in zip(mixed, (2 * p * y * z, 2 * p * x * y, 2 * x * y * z), strict=True))


def test_a_differentiable_gradient_is_partial_where_one_input_is_computed_from_another():
    x = torch.tensor(3.0, requires_grad=True)
    for y, expected in ((x, [9.0, 18.0]), (x**2, [81.0, 54.0])):
        found = differentiable_gradient(lambda x, y: x * y**2, (x, y), p=torch.tensor(1.0))
        assert [g if g is None else g.item() for g in found] == expected
