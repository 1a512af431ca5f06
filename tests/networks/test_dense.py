from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from deeplimit.branches import GELU, Identity, LeakyReLU, Tanh
from deeplimit.checks import InputError
from deeplimit.data import GaussianPairs
from deeplimit.draws import NamedDraw, SequentialDraw
from deeplimit.measures import Every, Loss
from deeplimit.networks import FullyConnected, ensemble, member
from deeplimit.records import Context, frame
from deeplimit.training import SGD, TrainingRun

NETWORK = FullyConnected(5, (7, 6), 3, bias_std=0.5)
NTK = dataclasses.replace(NETWORK, parameterisation="ntk")
X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def drawn(network, seed=0):
    return network.initialise(seed, dtype=torch.float64)


def built(params):
    """The same numbers in PyTorch's own layers."""
    layers: list[nn.Module] = []
    for k in range(1, 4):
        outputs, inputs = params[f"W{k}"].shape
        layer = nn.Linear(inputs, outputs)
        layer.weight.data, layer.bias.data = params[f"W{k}"], params[f"b{k}"]
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_the_network_is_pytorch_s_own():
    params = drawn(NETWORK)
    torch.testing.assert_close(NETWORK(params, X), built(params)(X))
    assert not torch.equal(NETWORK(params, X), built(drawn(NETWORK, 1))(X))


def test_the_ntk_parameterisation_is_the_same_function_at_scaled_weights():
    params = drawn(NTK)
    scaled = {role: p * math.sqrt(2 / p.shape[1]) if role[0] == "W" else p for role, p in params.items()}
    torch.testing.assert_close(NTK(params, X), NETWORK(scaled, X))
    torch.testing.assert_close(scaled, drawn(NETWORK))


@pytest.mark.parametrize("network", [NETWORK, NTK, dataclasses.replace(NETWORK, widths=(), activation=Tanh())])
@pytest.mark.parametrize("own_inputs", [False, True])
def test_an_ensemble_equals_separate_networks(network, own_inputs):
    params = ensemble([drawn(network, seed) for seed in range(3)])
    x = torch.stack([X, 2 * X, X.flip(0)]) if own_inputs else X
    found = network(params, x)
    assert found.shape == (3, 4, 3)
    for e in range(3):
        torch.testing.assert_close(found[e], network(member(params, e), x[e] if own_inputs else x))
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize("network", [NETWORK, NTK, dataclasses.replace(NETWORK, activation=GELU(), biases=False)])
def test_gradients_are_those_of_finite_differences(network):
    params = ensemble([drawn(network, seed) for seed in range(2)])
    roles, leaves = zip(*((role, p.requires_grad_()) for role, p in params.items()), strict=True)
    assert torch.autograd.gradcheck(lambda *p: network(dict(zip(roles, p, strict=True)), X), leaves)


@pytest.mark.parametrize("activation", [None, LeakyReLU(0.2), Identity()])
@pytest.mark.parametrize("widths", [(), (7,), (7, 6, 5)])
def test_without_biases_the_function_is_homogeneous_of_degree_depth(widths, activation):
    network = FullyConnected(5, widths, 3, biases=False, parameterisation="ntk")
    network = network if activation is None else dataclasses.replace(network, activation=activation)
    params = drawn(network)
    k = network.homogeneity
    assert k == network.depth == len(widths) + 1
    torch.testing.assert_close(network({role: 1.5 * p for role, p in params.items()}, X), 1.5**k * network(params, X))


def test_with_biases_or_another_activation_it_is_not():
    assert NETWORK.homogeneity is None
    assert FullyConnected(5, (7,), 3, Tanh(), biases=False).homogeneity is None


@pytest.mark.parametrize(("parameterisation", "std"), [("standard", 3 / math.sqrt(400)), ("ntk", 1.0)])
def test_entries_have_the_deviations_of_the_specification(parameterisation, std):
    network = FullyConnected(400, (300,), 500, gain=3.0, bias_std=0.2, parameterisation=parameterisation)
    params = network.initialise(0)
    assert float(params["W1"].std()) == pytest.approx(std, rel=0.02)
    assert float(params["W1"].mean()) == pytest.approx(0, abs=0.02 * std)
    assert float(params["b2"].std()) == pytest.approx(0.2, rel=0.15)
    assert float(dataclasses.replace(network, bias_std=0.0).initialise(0)["b2"].abs().max()) == 0.0


def test_draws_are_the_seed_s_and_each_role_s_own():
    wider = dataclasses.replace(NETWORK, outputs=9)
    torch.testing.assert_close(NETWORK.initialise(3), NETWORK.initialise(NamedDraw().stream(3)), rtol=0, atol=0)
    assert torch.equal(NETWORK.initialise(3)["W2"], wider.initialise(3)["W2"])
    assert not torch.equal(NETWORK.initialise(3)["W1"], NETWORK.initialise(4)["W1"])
    generator = torch.Generator().manual_seed(3)
    first = math.sqrt(2 / 5) * torch.randn(7, 5, generator=generator)
    assert torch.equal(NETWORK.initialise(3, draw=SequentialDraw())["W1"], first)
    assert NETWORK.initialise(3)["W1"].dtype == torch.float32


def test_sizes_are_counted():
    assert (NETWORK.depth, NETWORK.layer_roles) == (3, ())
    assert NETWORK.trainable == ("W1", "b1", "W2", "b2", "W3", "b3")
    assert NETWORK.floats(10) == (5 * 7 + 7 + 7 * 6 + 6 + 6 * 3 + 3, 10 * (5 + 2 * 13 + 3))
    assert dataclasses.replace(NETWORK, biases=False).floats(0) == (5 * 7 + 7 * 6 + 6 * 3, 0)


def test_training_takes_it_as_it_is():
    run = TrainingRun(
        (NETWORK,), GaussianPairs(20, 5, 3), SGD(0.02), iterations=60, measures=(Loss(Every(60)),), seeds=(0, 1)
    )
    losses = frame(run.run(Context())).pivot("iteration", index="seed", values="value")
    assert losses.height == 2
    assert (losses["60"] < 0.8 * losses["0"]).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FullyConnected(5, (0,), 3), "widths: expected an integer of at least 1, found 0"),
        (lambda: FullyConnected(0, (), 3), "inputs: expected an integer of at least 1, found 0"),
        (lambda: FullyConnected(5, (), 3, gain=0.0), "gain: expected a finite number above 0"),
        (lambda: FullyConnected(5, (), 3, bias_std=-1.0), "bias_std: expected a finite number of at least 0, found -1"),
        (lambda: FullyConnected(5, (), 3, parameterisation="NTK"), "parameterisation: expected one of .*found 'NTK'"),
        (lambda: NETWORK(drawn(NETWORK), X[:, :4]), r"input x: expected shape \(4, 5\), found \(4, 4\)"),
    ],
)
def test_what_makes_no_network_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()
