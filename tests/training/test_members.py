"""Weights and data of an ensemble."""

from __future__ import annotations

import torch

from deeplimit.branches import Perceptron
from deeplimit.data import GaussianPairs
from deeplimit.draws import NamedDraw, SequentialDraw
from deeplimit.networks import ResidualStack
from deeplimit.training import checksum, draw_members

NETWORK = ResidualStack(Perceptron(3, 5), 4)
DATA = GaussianPairs(6, 3, 3)


def test_each_member_is_what_its_seed_draws_alone():
    params, (x, y) = draw_members(NETWORK, DATA, seeds=(7, 8), draw=SequentialDraw(), dtype="float32")
    stream = SequentialDraw().stream(8)
    alone, pairs = NETWORK.initialise(stream), DATA.sample(stream)
    assert all(torch.equal(p[1], alone[role]) for role, p in params.items())
    assert torch.equal(x[1], pairs[0])
    assert torch.equal(y[1], pairs[1])
    assert not torch.equal(x[0], x[1])


def test_numbers_are_the_same_in_both_precisions():
    double, (x, _) = draw_members(NETWORK, DATA, seeds=(7,))
    single, (x32, _) = draw_members(NETWORK, DATA, seeds=(7,), dtype="float32")
    assert x.dtype == double["W"].dtype == torch.float64
    assert torch.equal(x, x32.double())
    assert torch.equal(double["W"], single["W"].double())


def test_names_are_drawn_apart_unless_another_draw_is_given():
    named, (x, _) = draw_members(NETWORK, DATA, seeds=(7,))
    assert torch.equal(x[0], DATA.sample(NamedDraw().stream(7))[0].double())
    assert not torch.equal(named["W"], draw_members(NETWORK, DATA, seeds=(7,), draw=SequentialDraw())[0]["W"])


def test_data_that_all_members_draw_alike_are_kept_once():
    params, (x, y) = draw_members(NETWORK, DATA, seeds=(7, 7, 7))
    assert [x.stride(0), y.stride(0)] == [0, 0]
    assert x.shape == (3, 6, 3)
    assert params["W"].stride(0) > 0
    assert torch.equal(x[2], draw_members(NETWORK, DATA, seeds=(7,))[1][0][0])
    assert all(tensor.stride(0) > 0 for tensor in draw_members(NETWORK, DATA, seeds=(7, 7, 8))[1])


def test_a_checksum_tells_batches_and_their_order_apart():
    _, one = draw_members(NETWORK, DATA, seeds=(1,))
    _, other = draw_members(NETWORK, DATA, seeds=(2,))
    assert checksum(one) == checksum(draw_members(NETWORK, DATA, seeds=(1,))[1])
    _, shared = draw_members(NETWORK, DATA, seeds=(1, 1))
    assert checksum(shared) == checksum((shared[0].contiguous(), shared[1].contiguous())) != checksum(one)
    assert len({checksum(one), checksum(other), checksum(one, checksum(other)), checksum(other, checksum(one))}) == 4
