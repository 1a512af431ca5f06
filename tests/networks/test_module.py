from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from deeplimit.branches import ModuleBranch, OneMatrix, Perceptron, Tanh
from deeplimit.networks import Dense, LastCoordinates, OwnInitialisation, Padding, ResidualStack
from deeplimit.networks.module import StackModule
from deeplimit.processes import IID
from tests.cases import relative

NETWORK = ResidualStack(
    Perceptron(4, 5, Tanh(), bias=True),
    6,
    init=IID(),
    embedding=Padding(2, 4, trainable=False),
    readout=LastCoordinates(4, 2),
)
X = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(engine: str = "auto") -> StackModule:
    module = NETWORK.module(7, dtype=torch.float64, engine=engine)
    assert isinstance(module, StackModule)
    return module


def test_it_is_the_network_at_the_parameters_it_was_made_with():
    params = NETWORK.initialise(7, dtype=torch.float64)
    assert torch.equal(build()(X), NETWORK(params, X))
    held = build().parameters_by_role()
    assert held.keys() == params.keys()
    assert all(torch.equal(held[role], params[role]) for role in params)


def test_frozen_maps_are_buffers():
    module = build()
    assert {name for name, _ in module.named_parameters()} == {"V", "W", "b", "c", "readout"}
    assert {name for name, _ in module.named_buffers()} == {"embedding"}


def test_the_parameters_are_its_own():
    params = NETWORK.initialise(7, dtype=torch.float64)
    module = StackModule(NETWORK, params)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    assert all(bool(params[role].any()) for role in ("V", "W", "readout"))


@pytest.mark.parametrize("engine", ["auto", "torch", "reference"])
def test_training_it_is_ordinary_pytorch(engine):
    module = build(engine)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        loss = module(X).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_state_and_copies_give_the_same_function():
    module = build()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1)
    other = NETWORK.module(8, dtype=torch.float64)
    assert not torch.equal(other(X), module(X))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(X), module(X))
    assert torch.equal(copy.deepcopy(module)(X), module(X))


def test_names_with_dots_are_no_hindrance():
    branch = ModuleBranch(lambda: nn.Sequential(nn.Linear(3, 3), nn.Tanh()), (3,))
    module = ResidualStack(branch, 4, init=OwnInitialisation(tied=False)).module(dtype=torch.float64)
    assert isinstance(module, StackModule)
    x = torch.ones(2, 3, dtype=torch.float64)
    layers = [branch.build(0) for _ in range(4)]
    h = x
    for k, layer in enumerate(layers):
        layer.load_state_dict({role: t[k] for role, t in module.parameters_by_role().items()})
        h = h + layer.double()(h) / 4
    assert relative(module(x), h) <= 1e-14


def test_a_shared_delta_is_one_parameter():
    module = ResidualStack(OneMatrix(3, delta="shared"), 4, readout=Dense(3, 1, 1.0, trainable=False)).module()
    assert dict(module.named_parameters())["delta"].shape == ()
    module(torch.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
