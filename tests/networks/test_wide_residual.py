from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplimit.checks import InputError
from deeplimit.networks import WideResidual
from tests.cases import normal

SMALL = WideResidual(2, 3, base=2, image=(3, 8, 8), classes=4)
FULL = WideResidual(blocks=4, widen=10)


class Block(nn.Module):
    """A residual block, layer by layer."""

    def __init__(self, inputs, width, *, stride, shortcut):
        super().__init__()
        self.stride = stride
        self.norm1 = nn.BatchNorm2d(inputs, track_running_stats=False)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=0)
        self.norm2 = nn.BatchNorm2d(width, track_running_stats=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, width, 3, stride=stride, padding=0) if shortcut else None

    def padded(self, h):
        """One line of zeros around; at stride 2 and even sizes only right and below."""
        return nn.functional.pad(h, (1, 1, 1, 1) if self.stride == 1 else (0, 1, 0, 1))

    def forward(self, h):
        inner = self.conv1(self.padded(torch.relu(self.norm1(h))))
        inner = self.conv2(torch.relu(self.norm2(inner)))
        return inner + (h if self.shortcut is None else self.shortcut(self.padded(h)))


def literal():
    """WRN-16-3 with 2 channels at the start, for 8 × 8 images, as a module; parameters in the order of SMALL's roles."""
    blocks = [Block(2, 6, stride=1, shortcut=True), Block(6, 6, stride=1, shortcut=False)]
    blocks += [Block(6, 12, stride=2, shortcut=True), Block(12, 12, stride=1, shortcut=False)]
    blocks += [Block(12, 24, stride=2, shortcut=True), Block(24, 24, stride=1, shortcut=False)]
    end = [nn.BatchNorm2d(24, track_running_stats=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)]
    return nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), *blocks, *end).double()


def shaken(network):
    generator = torch.Generator().manual_seed(1)
    params = network.initialise(0, dtype=torch.float64)
    return {role: p + 0.3 * normal(tuple(p.shape), generator) for role, p in params.items()}


@pytest.mark.parametrize("evaluation", [False, True])
def test_it_is_the_literal_network_in_training_and_in_evaluation(evaluation):
    module, params = literal(), shaken(SMALL)
    own = dict(module.named_parameters())
    assert [tuple(p.shape) for p in own.values()] == list(SMALL.shapes.values())
    with torch.no_grad():
        for p, role in zip(own.values(), SMALL.shapes, strict=True):
            p.copy_(params[role])
    x = normal((5, 3, 8, 8), torch.Generator().manual_seed(2))
    leaves = {role: p.requires_grad_() for role, p in params.items()}
    found, expected = SMALL(leaves, x), (module.eval() if evaluation else module)(x)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for p, role in zip(own.values(), SMALL.shapes, strict=True):
        torch.testing.assert_close(leaves[role].grad, p.grad, atol=1e-9, rtol=1e-6)


def test_the_padding_of_pytorch_is_another_network():
    params, x = shaken(SMALL), normal((5, 3, 8, 8), torch.Generator().manual_seed(2))
    symmetric = dataclasses.replace(SMALL, padding="symmetric")
    assert symmetric.shapes == SMALL.shapes
    assert float((symmetric(params, x) - SMALL(params, x)).abs().max()) > 1e-2


def convolution(inputs, outputs):
    return 9 * inputs * outputs + outputs


def group(inputs, width, *, blocks):
    """Parameters of a group: its first block changes the width; two normalisations (2 numbers a channel) in each."""
    first = 2 * inputs + convolution(inputs, width) + 2 * width + convolution(width, width) + convolution(inputs, width)
    return first + (blocks - 1) * (4 * width + 2 * convolution(width, width))


@pytest.mark.parametrize(
    ("blocks", "widen", "base", "depth"), [(4, 10, 16, 28), (2, 8, 16, 16), (1, 1, 16, 10), (3, 2, 4, 22)]
)
def test_parameters_are_those_of_the_formula(blocks, widen, base, depth):
    network, widths = WideResidual(blocks, widen, base=base), [base * widen * factor for factor in (1, 2, 4)]
    count = convolution(3, base) + 2 * widths[2] + 10 * widths[2] + 10
    for inputs, width in zip((base, *widths), widths, strict=False):
        count += group(inputs, width, blocks=blocks)
    assert network.size == network.floats(0)[0] == count
    assert network.depth == depth


def test_the_full_network_has_its_size_and_works_on_maps_of_32_16_and_8_pixels():
    params = {role: torch.empty(shape, device="meta") for role, shape in FULL.shapes.items()}
    with FlopCounterMode(display=False) as counter:
        assert FULL(params, torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    multiplications = 3 * 16 * 32**2
    for inputs, width, size in ((16, 160, 32), (160, 320, 16), (320, 640, 8)):
        multiplications += (2 * inputs * width + 7 * width**2) * size**2
    assert counter.get_total_flops() == 2 * 2 * (9 * multiplications + 640 * 10)
    assert FULL.size == 9 * 4_280_368 + 10_096 + 17_952 + 6_410  # kernels, their biases, normalisations, dense


def test_memory_is_that_of_both_sides_of_every_normalisation():
    network = WideResidual(1, 1, image=(3, 32, 32))
    maps = 16 * 1024 + 16 * 1024 + 16 * 1024 + 32 * 256 + 32 * 256 + 64 * 64 + 64 * 64
    assert network.floats(5)[1] == 5 * (3 * 1024 + 2 * maps)


def test_normalisation_makes_the_function_blind_to_the_size_of_what_precedes_it():
    params, x = SMALL.initialise(0, dtype=torch.float64), normal((5, 3, 8, 8), torch.Generator().manual_seed(2))
    larger = {**params, "group1.block1.conv1.W": 100 * params["group1.block1.conv1.W"]}
    torch.testing.assert_close(SMALL(larger, x), SMALL(params, x), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(SMALL({**params, "dense.W": 100 * params["dense.W"]}, x), SMALL(params, x))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WideResidual(0, 1), "blocks: expected an integer of at least 1, found 0"),
        (lambda: WideResidual(1, 1, base=0), "base: expected an integer of at least 1"),
        (lambda: WideResidual(1, 1, image=(3, 0, 32)), "image: expected an integer of at least 1"),
        (lambda: WideResidual(1, 1, padding="valid"), "padding: expected one of .*found 'valid'"),
        (lambda: WideResidual(1, 1, gain=-1.0), "gain: expected a finite number above 0"),
    ],
)
def test_what_makes_no_network_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_what_stands_for_a_large_network_is_small_and_says_how_much_larger_that_is():
    large = WideResidual(4, 10)
    small, times = large.probed()
    assert small == WideResidual(1, 1)
    # 27 convolutions of 3 × 3 and three shortcuts, by hand: 9 · inputs · outputs · 32²/4^(group − 1)
    widths = (16, 160, 320, 640)
    count = 9 * 3 * 16 * 1024 + sum(
        9 * (2 * before * own + 7 * own * own) * 1024 // 4**group
        for group, (before, own) in enumerate(itertools.pairwise(widths))
    )
    assert large._multiplications() * 1024 == pytest.approx(count)
    assert times == large._multiplications() / small._multiplications()
    assert WideResidual(1, 1).probed() == (WideResidual(1, 1), 1.0)
