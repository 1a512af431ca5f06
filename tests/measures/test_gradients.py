from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from deeplimit.branches import Convolution, Identity, OneMatrix, Perceptron, Tanh
from deeplimit.measures import LayerGradients, Memory, PLRatio
from deeplimit.networks import Dense, LastCoordinates, Padding, ResidualStack
from deeplimit.processes import IID
from deeplimit.training import GradientFlow, Step
from tests.measures.views import data, drawn, look, seen

NETWORKS = {
    "perceptron": ResidualStack(
        Perceptron(3, 4, Tanh(), bias=True), 5, init=IID(), embedding=Padding(2, 3), readout=LastCoordinates(3, 2)
    ),
    "frozen-ends": ResidualStack(
        Perceptron(3, 4), 5, init=IID(), embedding=Dense(2, 3, 1.0, trainable=False), readout=Dense(3, 2, 1.0, trainable=False)
    ),
    "one-matrix": ResidualStack(OneMatrix(2), 5, init=IID()),
    "shared-delta": ResidualStack(OneMatrix(2, delta="shared"), 5, init=IID(), readout=Dense(2, 1, 1.0)),
    "layer-delta": ResidualStack(OneMatrix(2, delta="layer"), 5, init=IID()),
    "convolution": ResidualStack(Convolution(2, (2, 3)), 3, init=IID()),
}  # fmt: skip
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


# --- the Polyak–Łojasiewicz ratio ---


@every_network
def test_the_ratio_is_the_sum_of_squares_over_the_loss(network):
    view = look(network, drawn(network, 3))
    for e in range(3):
        total = 0.0
        for role, grad in view.grads.items():
            factor = network.depth if role in network.layer_roles else 1
            total += factor * sum(g**2 for g in grad[e].flatten().tolist())
        assert float(view.pl_ratio[e]) == pytest.approx(total / float(view.loss[e]), rel=1e-12)


@every_network
def test_the_ratio_is_minus_the_speed_of_the_log_of_the_loss_along_the_flow(network):
    """By central differences of an Euler step forwards and backwards in time."""
    params = drawn(network, 3)
    pairs, η = data(network, params), 1e-5
    ratio, losses = look(network, params, pairs=pairs).pl_ratio, []
    for rate in (η, -η):
        step = Step(network, GradientFlow(rate))
        state, _ = step(step.start(params), pairs)
        losses.append(step.evaluate(state.params, pairs).loss)
    speed = (losses[1].log() - losses[0].log()) / (2 * η)
    torch.testing.assert_close(ratio, speed, rtol=1e-6, atol=0)


def test_one_neuron_with_paper_and_pencil():
    """F = (1 + a) x with x = 1, y = 0: ℓ = (1 + a)², ∂ℓ/∂a = 2 (1 + a), so the ratio is 4."""
    network = ResidualStack(OneMatrix(1, Identity(), bias=False), 1)
    view = look(network, {"A": torch.full((1, 1, 1, 1), 0.7)}, pairs=(torch.ones(1, 1, 1), torch.zeros(1, 1, 1)))
    assert float(view.pl_ratio) == pytest.approx(4.0, rel=1e-6)


def test_the_minimum_is_over_all_iterations_up_to_now():
    view = look(NETWORKS["one-matrix"], drawn(NETWORKS["one-matrix"], 2))
    memory: Memory = {}
    scales = [torch.tensor(s, dtype=torch.float64) for s in ([2.0, 1.0], [1.0, 3.0], [5.0, 0.5])]
    history = []
    for t, scale in enumerate(scales):
        now = dataclasses.replace(view, loss=view.loss * scale, iteration=t)  # the ratio is divided by the scale
        history.append(seen(PLRatio(), now, memory))
        PLRatio().watch(now, memory)
    base = view.pl_ratio
    for found, scale, worst in zip(history, scales, ([2, 1], [2, 3], [5, 3]), strict=True):
        torch.testing.assert_close(found["pl"], base / scale)
        torch.testing.assert_close(found["pl.min"], base / torch.tensor(worst, dtype=torch.float64))


# --- gradients at a depth ---


@every_network
def test_norms_of_layers_times_the_depth(network):
    view = look(network, drawn(network, 2))
    found = seen(LayerGradients(positions=(0.01, 0.5, 1.0)), view)
    layers = [0, math.ceil(network.depth / 2) - 1, network.depth - 1]
    assert found.keys() == {f"gradient.{role}" for role in network.layer_roles}
    for role in network.layer_roles:
        norms = [[network.depth * float(view.grads[role][e, k].norm()) for k in layers] for e in range(2)]
        torch.testing.assert_close(found[f"gradient.{role}"], torch.tensor(norms, dtype=torch.float64))


def test_positions_are_told_in_percent_of_the_depth():
    (observation,) = LayerGradients(positions=(0.25, 0.07)).observe(
        look(n := ResidualStack(OneMatrix(2, bias=False), 4), drawn(n)), {}
    )
    assert observation.index == [25, 7]


@pytest.mark.parametrize(
    ("s", "depth", "layer"), [(0.07, 100, 7), (0.29, 100, 29), (0.5, 3, 2), (0.001, 4, 1), (1.0, 9, 9)]
)
def test_the_layer_at_s_is_the_first_not_before_it(s, depth, layer):
    """k = ⌈s L⌉; in floats 0.07 · 100 is above 7."""
    network = ResidualStack(OneMatrix(1, bias=False), depth)
    view = look(network, drawn(network, 1))
    marked = dataclasses.replace(view, grads={"A": torch.arange(1.0, depth + 1).reshape(1, depth, 1, 1)})
    assert float(seen(LayerGradients(positions=(s,)), marked)["gradient.A"]) == depth * layer


def test_scaled_gradients_have_a_limit_in_depth():
    """The gradient of a layer is O(1/L) for weights that are a function of s: L times its norm settles."""
    network = ResidualStack(Perceptron(3, 4), 1, embedding=Dense(2, 3, 1.0), readout=Dense(3, 2, 1.0))
    norms = []
    for depth in (64, 128):
        deep = network.at_depth(depth)
        norms.append(seen(LayerGradients(positions=(0.5,)), look(deep, drawn(deep)))["gradient.V"])
    torch.testing.assert_close(norms[0], norms[1], rtol=0.05, atol=0)
    assert float(norms[0].min()) > 1e-2
