"""What every branch guarantees, whichever it is."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from deeplimit.branches import (
    GELU,
    Branch,
    Convolution,
    FunctionBranch,
    ModuleBranch,
    OneMatrix,
    Perceptron,
    SiLU,
    Tanh,
)


def bilinear(h: Tensor, theta: dict[str, Tensor]) -> Tensor:
    return (h * h) @ theta["M"].mT


def module() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3, bias=False))


BRANCHES: dict[str, Branch] = {
    "perceptron": Perceptron(3, 5, Tanh()),
    "perceptron with bias": Perceptron(3, 5, GELU(), bias=True),
    "perceptron without factors": Perceptron(3, 5, SiLU(), normalised=False),
    "one matrix": OneMatrix(3),
    "one matrix without bias": OneMatrix(3, GELU(), bias=False),
    "one matrix, shared delta": OneMatrix(3, delta="shared"),
    "one matrix, delta per layer": OneMatrix(3, delta="layer"),
    "convolution": Convolution(2, (4, 3), activation=Tanh()),
    "function": FunctionBranch(bilinear, {"M": (3, 3)}, (3,)),  # type: ignore[arg-type]
    "module": ModuleBranch(module, (3,)),
}


def drawn(branch: Branch, *lead: int) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    shapes = branch.shapes | branch.shared_shapes
    h = torch.randn(*lead, 6, *branch.state_shape, generator=generator, dtype=torch.float64)
    return h, {r: torch.randn((*lead, *s), generator=generator, dtype=torch.float64) for r, s in shapes.items()}


@pytest.mark.parametrize("name", BRANCHES)
def test_the_increment_has_the_shape_of_the_state(name):
    h, theta = drawn(BRANCHES[name])
    assert BRANCHES[name](h, theta).shape == h.shape


@pytest.mark.parametrize("name", BRANCHES)
def test_samples_do_not_see_each_other(name):
    h, theta = drawn(BRANCHES[name])
    together = BRANCHES[name](h, theta)
    for i in range(len(h)):
        torch.testing.assert_close(BRANCHES[name](h[i : i + 1], theta)[0], together[i], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", BRANCHES)
def test_every_parameter_and_the_state_have_the_right_gradient(name):
    h, theta = drawn(BRANCHES[name])
    leaves = [t.requires_grad_() for t in (h, *theta.values())]

    def evaluate(h: Tensor, *values: Tensor) -> Tensor:
        return BRANCHES[name](h, dict(zip(theta, values, strict=True)))

    assert torch.autograd.gradcheck(evaluate, leaves)
    assert all(g.any() for g in torch.autograd.grad(evaluate(*leaves).square().sum(), leaves))


@pytest.mark.parametrize("name", BRANCHES)
def test_vmap_over_members_is_one_member_after_the_other(name):
    h, theta = drawn(BRANCHES[name], 3)
    together = torch.vmap(BRANCHES[name].__call__)(h, theta)
    for e in range(3):
        alone = BRANCHES[name](h[e], {role: tensor[e] for role, tensor in theta.items()})
        torch.testing.assert_close(together[e], alone, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in BRANCHES if BRANCHES[name].kernel])
def test_branches_with_a_kernel_take_the_ensemble_axis_themselves(name):
    h, theta = drawn(BRANCHES[name], 3)
    torch.testing.assert_close(BRANCHES[name](h, theta), torch.vmap(BRANCHES[name].__call__)(h, theta))


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_is_a_frozen_specification(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        BRANCHES[name].state = 7  # type: ignore[attr-defined]
    assert dataclasses.replace(BRANCHES[name]) is not BRANCHES[name]  # type: ignore[type-var]


def test_a_branch_of_one_s_own_needs_shapes_and_a_map_alone():
    class Shift(Branch):
        @property
        def state_shape(self) -> tuple[int, ...]:
            return (2,)

        @property
        def shapes(self) -> dict[str, tuple[int, ...]]:
            return {"c": (2,)}

        def __call__(self, h: Tensor, theta: object) -> Tensor:
            return h

    assert Shift().kernel is None
    assert Shift().shared_shapes == {}
    with pytest.raises(TypeError, match="abstract"):
        Branch()  # type: ignore[abstract]
