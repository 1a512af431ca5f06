from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplimit.checks import InputError
from deeplimit.networks import StagedResidual, ensemble
from tests.cases import normal

SMALL = StagedResidual((2, 3, 1), base=2, classes=4, image=(3, 9, 8))
FULL = StagedResidual((2, 2, 2, 2))


class Block(nn.Module):
    """A residual block, layer by layer."""

    def __init__(self, inputs, width, *, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, width, 1, stride=stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, h):
        return torch.relu(self.conv2(torch.relu(self.conv1(h))) + self.shortcut(h))


class Literal(nn.Module):
    """The whole network, layer by layer."""

    def __init__(self, blocks, base, *, classes):
        super().__init__()
        self.stem = nn.Conv2d(3, base, 3, padding=1, bias=False)
        self.stages = []
        inputs = base
        for number, count in enumerate(blocks):
            width, stage = base * 2**number, []
            for block in range(count):
                stage.append(Block(inputs, width, stride=2 if number and not block else 1))
                inputs = width
            self.stages.append(stage)
        self.blocks = nn.Sequential(*itertools.chain(*self.stages))
        self.dense = nn.Linear(inputs, classes)

    def forward(self, x):
        h = self.blocks(torch.relu(self.stem(x)))
        return self.dense(h.flatten(2).mean(2))

    def stacked(self, value):
        """Our roles, of the weights or of their gradients."""
        found = {"stem.W": value(self.stem.weight)}
        for number, stage in enumerate(self.stages, start=1):
            own = [value(block.conv1.weight) for block in stage]
            if number > 1:
                found[f"stage{number}.first"] = own.pop(0)[None]
                found[f"stage{number}.shortcut"] = value(stage[0].shortcut.weight)[None]
            if own:
                found[f"stage{number}.A"] = torch.stack(own)
            found[f"stage{number}.delta"] = torch.stack([value(block.conv2.weight) for block in stage])
        return found | {"dense.W": value(self.dense.weight), "dense.b": value(self.dense.bias)}


def literal(seed=0):
    torch.manual_seed(seed)
    return Literal(SMALL.blocks, SMALL.base, classes=SMALL.classes).double()


def test_it_is_the_literal_network():
    module, x = literal(), normal((5, 3, 9, 8), torch.Generator().manual_seed(2))
    params = {role: p.requires_grad_() for role, p in module.stacked(lambda p: p.detach().clone()).items()}
    assert {role: tuple(p.shape) for role, p in params.items()} == SMALL.shapes
    found, expected = SMALL(params, x), module(x)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for role, gradient in module.stacked(lambda p: p.grad).items():
        assert float(gradient.abs().max()) > 0
        torch.testing.assert_close(params[role].grad, gradient)


def test_an_ensemble_is_a_loop_over_networks():
    modules, x = [literal(seed) for seed in range(3)], normal((5, 3, 9, 8), torch.Generator().manual_seed(2))
    params = ensemble([module.stacked(lambda p: p.detach().clone()) for module in modules])
    leaves = {role: p.requires_grad_() for role, p in params.items()}
    found = SMALL(leaves, x)
    torch.testing.assert_close(found, torch.stack([module(x) for module in modules]))
    found.square().sum().backward()
    for e, module in enumerate(modules):
        module(x).square().sum().backward()
        for role, gradient in module.stacked(lambda p: p.grad).items():
            torch.testing.assert_close(leaves[role].grad[e], gradient)  # type: ignore[index]


def test_parameters_by_hand():
    stem, dense = 64 * 3 * 9, 512 * 10 + 10
    stages = (
        4 * 9 * 64**2,
        9 * 128 * 64 + 3 * 9 * 128**2 + 128 * 64,
        9 * 256 * 128 + 3 * 9 * 256**2 + 256 * 128,
        9 * 512 * 256 + 3 * 9 * 512**2 + 512 * 256,
    )
    # That of ResNet-18 with 9,600 numbers fewer, which are those of its normalisations.
    assert FULL.size == stem + sum(stages) + dense == 11_164_362 == 11_173_962 - 9_600
    more = 18 * (2 * 64**2 + 29 * 128**2 + 80 * 256**2 + 2 * 512**2)
    assert StagedResidual((4, 31, 82, 4)).size == FULL.size + more
    assert SMALL.floats(7)[0] == SMALL.size == 9 * (6 + 16 + 8 + 5 * 16 + 32 + 64) + 8 + 32 + 36


def test_memory_is_that_of_the_inputs_of_all_convolutions():
    maps = 2 * 72 + 4 * 2 * 72 + 6 * 4 * 5 * 4 + 2 * 8 * 3 * 2
    assert SMALL.floats(7)[1] == 7 * (3 * 72 + maps + 8 + 4)


def test_the_full_network_works_on_maps_of_32_16_8_and_4_pixels():
    params = {role: torch.empty(shape, device="meta") for role, shape in FULL.shapes.items()}
    with FlopCounterMode(display=False) as counter:
        assert FULL(params, torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    multiplications = (27 * 64 + 4 * 9 * 64**2) * 32**2
    for width, size in ((128, 16), (256, 8), (512, 4)):
        multiplications += (9 * width**2 // 2 + 3 * 9 * width**2 + width**2 // 2) * size**2
    assert counter.get_total_flops() == 2 * 2 * (multiplications + 512 * 10)
    assert FULL._multiplications() == multiplications


def test_kernels_say_which_blocks_they_are_of_and_what_they_act_on():
    found = {k.role: (k.kind, k.first, k.side) for k in SMALL.kernels}
    assert found == {
        "stage1.A": ("A", 1, (9, 8)),
        "stage1.delta": ("delta", 1, (9, 8)),
        "stage2.first": ("A", 3, (9, 8)),
        "stage2.A": ("A", 4, (5, 4)),
        "stage2.delta": ("delta", 3, (5, 4)),
        "stage3.first": ("A", 6, (5, 4)),
        "stage3.delta": ("delta", 6, (3, 2)),
    }
    for kind in ("A", "delta"):
        stacks = [k for k in StagedResidual((4, 31, 82, 4)).kernels if k.kind == kind]
        blocks = [k.first + i for k in stacks for i in range(StagedResidual((4, 31, 82, 4)).shapes[k.role][0])]
        assert blocks == list(range(1, 122))


def test_the_start_is_that_of_pytorch_s_layers():
    network = StagedResidual((2, 2), base=32, image=(3, 8, 8))
    params, reference = network.initialise(0), Literal((2, 2), 32, classes=10)
    fan_in = {"stem.W": 27, "dense.W": 64, "dense.b": 64, "stage1.A": 288, "stage1.delta": 288}
    fan_in |= {"stage2.first": 288, "stage2.A": 576, "stage2.delta": 576, "stage2.shortcut": 32}
    theirs = reference.stacked(lambda p: p.detach())
    assert params.keys() == theirs.keys() == fan_in.keys()
    for role, p in params.items():
        bound = 1 / math.sqrt(fan_in[role])
        assert network.start(role) == pytest.approx((0.0, bound / math.sqrt(3)))
        for drawn in (p, theirs[role]):
            assert float(drawn.abs().max()) <= bound * (1 + 1e-6)
            if drawn.numel() > 500:
                assert float(drawn.abs().max()) > 0.99 * bound
                assert float(drawn.square().mean()) == pytest.approx(bound**2 / 3, rel=0.1)


def test_the_seed_says_what_is_drawn():
    first, again, other = (SMALL.initialise(seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[role], again[role]) for role in first)
    assert not any(torch.equal(first[role], other[role]) for role in first)


def test_what_stands_for_a_large_network_is_small_and_says_how_much_larger_that_is():
    small, times = FULL.probed()
    assert small == StagedResidual((1, 1, 1, 1), base=16)
    assert times == FULL._multiplications() / small._multiplications() > 16
    assert SMALL.probed()[0] == StagedResidual((1, 1, 1), base=2, classes=4, image=(3, 9, 8))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: StagedResidual(()), "blocks: expected a number for each stage, found none"),
        (lambda: StagedResidual((2, 0)), "blocks: expected an integer of at least 1, found 0"),
        (lambda: StagedResidual((2,), base=0), "base: expected an integer of at least 1"),
        (lambda: StagedResidual((2,), image=(3, 0, 32)), "image: expected an integer of at least 1"),
        (lambda: StagedResidual((2,), gain=0.0), "gain: expected a finite number above 0"),
    ],
)
def test_what_makes_no_network_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()
