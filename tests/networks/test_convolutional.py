from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from deeplimit.branches import Tanh
from deeplimit.checks import InputError
from deeplimit.networks import Convolutional
from tests.cases import normal

PLAIN = Convolutional(((4, 5), (6,)), (7,), classes=3, image=(2, 9, 9), pool=3, activation=Tanh())
NORMALISED = dataclasses.replace(PLAIN, norm=True)


def literal(*, norm):
    """PLAIN as a module, with parameters in the order of its roles: maps of 9, 3 and 1 pixels."""

    def convolution(inputs, outputs):
        normalisation = [nn.BatchNorm2d(outputs, track_running_stats=False)] if norm else []
        return [nn.Conv2d(inputs, outputs, 3, padding="same"), *normalisation, nn.Tanh()]

    first = [*convolution(2, 4), *convolution(4, 5), nn.MaxPool2d(3)]
    second = [*convolution(5, 6), nn.MaxPool2d(3)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).double()


@pytest.mark.parametrize("network", [PLAIN, NORMALISED])
def test_it_is_the_literal_network(network):
    module, generator = literal(norm=network.norm), torch.Generator().manual_seed(1)
    params = {role: normal(shape, generator) for role, shape in network.shapes.items()}
    own = list(module.parameters())
    assert [tuple(p.shape) for p in own] == list(network.shapes.values())
    with torch.no_grad():
        for p, drawn in zip(own, params.values(), strict=True):
            p.copy_(drawn)
    x = normal((5, 2, 9, 9), generator)
    torch.testing.assert_close(network(params, x), module(x))


def test_the_defaults_end_in_one_pixel():
    network = Convolutional()
    assert network.depth == 6
    assert network.shapes["conv4.W"] == (300, 300, 3, 3)
    assert network.shapes["dense1.W"] == (500, 300)  # 32 -> 6 -> 1
    params = {role: torch.empty(shape, device="meta") for role, shape in network.shapes.items()}
    assert network(params, torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


def test_the_stride_of_the_pooling_may_be_another_than_its_window():
    network = dataclasses.replace(PLAIN, pool=2, stride=1)
    assert network.shapes["dense1.W"] == (7, 6 * 81)
    assert network(network.initialise(0), torch.zeros(2, 2, 9, 9)).shape == (2, 3)


def test_sizes_are_counted():
    convolutions = 9 * (2 * 4 + 4 * 5 + 5 * 6) + 15
    assert PLAIN.size == PLAIN.floats(0)[0] == convolutions + 6 * 7 + 7 + 7 * 3 + 3
    assert NORMALISED.size == PLAIN.size + 2 * 15
    maps = 9 * 81 + 6 * 9
    assert PLAIN.floats(5)[1] == 5 * (162 + 2 * maps + 2 * 7 + 3)
    assert NORMALISED.floats(5)[1] == 5 * (162 + 3 * maps + 2 * 7 + 3)
    assert PLAIN.depth == 5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Convolutional(((3, 0),)), "channels: expected an integer of at least 1, found 0"),
        (lambda: Convolutional(hidden=(0,)), "hidden: expected an integer of at least 1, found 0"),
        (lambda: Convolutional(stride=0), "stride: expected an integer of at least 1, found 0"),
        (lambda: Convolutional(gain=0.0), "gain: expected a finite number above 0"),
    ],
)
def test_what_makes_no_network_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()
