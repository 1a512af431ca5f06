"""Operator norms of blocks."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from deeplimit.branches import Perceptron
from deeplimit.checks import InputError
from deeplimit.measures import BlockNorms
from deeplimit.networks import ResidualStack, StagedResidual, ensemble
from tests.measures.views import drawn, look, seen

NETWORK = StagedResidual((2, 3), base=2, image=(3, 6, 5), classes=3)


def viewed(network, params):
    view = look(ResidualStack(Perceptron(2, 3), 2), drawn(ResidualStack(Perceptron(2, 3), 2)))
    return dataclasses.replace(view, network=network, params=params)


def largest_factor(kernel, side, *, circular=True):
    """The norm of the map itself: its matrix, column by column."""
    inputs = kernel.shape[1]
    basis = torch.eye(inputs * math.prod(side), dtype=torch.float64).reshape(-1, inputs, *side)
    padded = torch.nn.functional.pad(basis, (1, 1, 1, 1), mode="circular" if circular else "constant")
    return float(torch.linalg.matrix_norm(torch.nn.functional.conv2d(padded, kernel).flatten(1), ord=2))


def test_norms_are_those_of_the_maps_with_the_size_of_the_input_of_each_block():
    params = ensemble([NETWORK.initialise(seed, dtype=torch.float64) for seed in range(2)])
    found = seen(BlockNorms(), viewed(NETWORK, params))
    for e in range(2):
        first, second = params["stage1.A"][e], params["stage2.A"][e]
        sizes = [largest_factor(A, (6, 5)) for A in first]
        sizes += [largest_factor(params["stage2.first"][e, 0], (6, 5))]  # stride 2, of which the norm knows nothing
        sizes += [largest_factor(A, (3, 3)) for A in second]
        assert found["block.A"][e].tolist() == pytest.approx(sizes)
        assert sizes[0] != pytest.approx(largest_factor(first[0], (6, 5), circular=False))
        squares = [a**2 for a in sizes]
        assert float(found["statistic.maximum.A"][e]) == pytest.approx(max(sizes))
        assert float(found["statistic.root_sum_of_squares.A"][e]) == pytest.approx(math.sqrt(sum(squares)))
        carriers = sum(squares) ** 2 / sum(a**2 for a in squares)
        assert float(found["statistic.carriers.A"][e]) == pytest.approx(carriers)
        steps = [largest_factor(first[1] - first[0], (6, 5)), largest_factor(second[1] - second[0], (3, 3))]
        assert float(found["statistic.increment.A"][e]) == pytest.approx(max(steps))
        deltas = [(d, (6, 5)) for d in params["stage1.delta"][e]] + [(d, (3, 3)) for d in params["stage2.delta"][e]]
        assert found["block.delta"][e].tolist() == pytest.approx([largest_factor(d, side) for d, side in deltas])


def test_carriers_count_the_blocks_that_are_not_0():
    params = {role: 0 * p for role, p in ensemble([NETWORK.initialise(0, dtype=torch.float64)]).items()}
    for k, n in ((0, 3), (2, 3)):
        params["stage2.delta"][0, k, 0, 0, 1, 1] = n
    found = seen(BlockNorms(), viewed(NETWORK, params))
    assert found["block.delta"].tolist() == [pytest.approx([0, 0, 3, 0, 3])]
    assert float(found["statistic.carriers.delta"]) == pytest.approx(2)
    assert float(found["statistic.increment.delta"]) == pytest.approx(3)


def test_blocks_without_a_neighbour_of_their_shape_have_no_increments():
    network = StagedResidual((1, 1), base=2, image=(3, 6, 5))
    found = seen(BlockNorms(), viewed(network, ensemble([network.initialise(0)])))
    assert not any("increment" in quantity for quantity in found)
    assert found["block.A"].shape == (1, 2)


def test_other_networks_are_refused():
    network = ResidualStack(Perceptron(2, 3), 2)
    with pytest.raises(InputError, match="network: expected a StagedResidual, found ResidualStack"):
        seen(BlockNorms(), look(network, drawn(network)))
