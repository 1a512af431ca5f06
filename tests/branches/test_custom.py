from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from deeplimit.branches import FunctionBranch, ModuleBranch
from deeplimit.checks import InputError
from deeplimit.networks import ResidualStack


def linear(h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
    return h @ theta["M"].mT


class Attention(nn.Module):
    """A module with nested parameter names and a parameter of no dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.gain * self.inner(h).tanh()
        return out


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_function_is_called_as_it_is():
    branch = FunctionBranch(linear, {"M": (3, 3)}, (3,))
    h, M = torch.randn(4, 3, generator=generator()), torch.randn(3, 3, generator=generator(1))
    assert torch.equal(branch(h, {"M": M}), h @ M.T)
    assert branch.shapes == {"M": (3, 3)}
    assert branch.state_shape == (3,)
    assert branch.kernel is None


def test_a_module_is_called_with_the_given_parameters():
    branch = ModuleBranch(Attention, (3,))
    assert branch.shapes == {"gain": (), "inner.weight": (3, 3), "inner.bias": (3,)}
    theta = {role: torch.randn(shape, generator=generator(2)) for role, shape in branch.shapes.items()}
    h = torch.randn(4, 3, generator=generator(3))
    expected = theta["gain"] * torch.tanh(h @ theta["inner.weight"].T + theta["inner.bias"])
    torch.testing.assert_close(branch(h, theta), expected)
    assert not torch.allclose(branch(h, theta | {"gain": torch.tensor(0.0)}), expected)


def test_the_gradient_goes_to_the_given_parameters_alone():
    branch = ModuleBranch(Attention, (3,))
    theta = {role: tensor.requires_grad_() for role, tensor in branch.layer(generator()).items()}
    branch(torch.ones(2, 3), theta).sum().backward()
    assert all(tensor.grad is not None and tensor.grad.any() for tensor in theta.values())


def test_a_layer_is_drawn_as_the_module_draws_itself():
    branch = ModuleBranch(Attention, (3,))
    layer = branch.layer(generator(5))
    assert {role: tuple(tensor.shape) for role, tensor in layer.items()} == branch.shapes
    assert layer["gain"].item() == 2.0
    assert layer["inner.weight"].abs().max() <= 3**-0.5
    assert not any(tensor.requires_grad for tensor in layer.values())


def test_layers_follow_the_generator():
    branch, shared = ModuleBranch(Attention, (3,)), generator(5)
    first, second = branch.layer(shared), branch.layer(shared)
    assert not torch.equal(first["inner.weight"], second["inner.weight"])
    again = branch.layer(generator(5))
    assert all(torch.equal(again[role], first[role]) for role in again)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(4)
    before = torch.get_rng_state()
    branch = ModuleBranch(Attention, (3,))
    first = branch.layer(generator(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(9)
    assert torch.equal(branch.layer(generator(5))["inner.weight"], first["inner.weight"])


def test_a_module_with_buffers_is_refused():
    with pytest.raises(InputError, match=r"expected a module without buffers, found 1\.running_mean, 1\.running_var"):
        ModuleBranch(lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), (3,))


def test_a_module_without_parameters_is_refused():
    with pytest.raises(InputError, match="expected a module with parameters, found none"):
        ModuleBranch(nn.Tanh, (3,))


def test_a_module_with_layer_norm_has_no_buffers():
    assert ModuleBranch(lambda: nn.LayerNorm(3), (3,)).shapes == {"weight": (3,), "bias": (3,)}


def test_branches_of_one_factory_are_equal():
    assert ModuleBranch(Attention, (3,)) == ModuleBranch(Attention, (3,))
    assert ModuleBranch(Attention, (3,)) != ModuleBranch(Attention, (4, 3))


class Gated(nn.Module):
    """Three numbers to as many as asked for."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.map = nn.Linear(3, outputs)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.map(h)
        return out


@pytest.mark.parametrize(
    ("factory", "state", "message"),
    [
        (
            Gated(),
            (3,),
            r"factory: expected a function .* its class \(Gated\), found one that is built already \(Gated\(\)\)",
        ),
        (3, (3,), "factory: expected a function, found 3"),
        (lambda: None, (3,), "factory: expected a function .*, found one that returns None"),
        (lambda outputs: Gated(outputs), (3,), "factory: expected a function without arguments .*, found TypeError"),
        (lambda: Gated(1), (3,), r"branch module: increments: expected shape \(2, 3\), found \(2, 1\)"),
        (Gated, (4,), r"branch module: expected one that takes states of shape \(4,\), found RuntimeError"),
        (Gated, 3, r"state: expected a tuple such as \(3,\), found 3"),
    ],
)
def test_what_builds_no_branch_is_refused_in_one_line(factory, state, message):
    assert ModuleBranch(Gated, (3,)).shapes == {"map.weight": (3, 3), "map.bias": (3,)}
    with pytest.raises(InputError, match=message) as caught:
        ModuleBranch(factory, state)
    assert "\n" not in str(caught.value)


def test_a_function_that_changes_the_shape_of_a_state_is_refused_where_the_sum_would_broadcast():
    def narrow(h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        return (h @ theta["M"]).sum(-1, keepdim=True)

    for function in (linear, narrow):
        network = ResidualStack(FunctionBranch(function, {"M": (3, 3)}, (3,)), 2)
        if function is linear:
            assert network(network.initialise(), torch.ones(4, 3)).shape == (4, 3)
            continue
        with pytest.raises(InputError, match=r"branch: expected shape \(4, 3\), found \(4, 1\)"):
            network(network.initialise(), torch.ones(4, 3))
