"""The zoo: families draw the same limit at every depth, and are what they are called."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.regimes.zoo import FAMILIES

BY_NAME = {family.name: family for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_family_draws_what_is_asked_for_and_repeats_it(family):
    weights = family.draw((8, 16), 7, seed=1)
    assert {L: tuple(w.shape) for L, w in weights.items()} == {8: (1, 8, 7), 16: (1, 16, 7)}
    again, other = family.draw((8, 16), 7, seed=1), family.draw((8, 16), 7, seed=2)
    assert torch.equal(weights[16], again[16])
    assert not torch.equal(weights[16], other[16])


@pytest.mark.parametrize("name", ["smooth, β = 0", "kinked, β = 0", "fractional, H = 0.3"])
def test_paths_with_a_limit_are_the_same_at_every_depth(name):
    weights = BY_NAME[name].draw((8, 32), 5, seed=0)
    assert torch.allclose(weights[8], weights[32][:, 3::4])


def test_jumps_and_spikes_are_as_many_as_they_should_be():
    jumps = BY_NAME["piecewise, 3 jumps"].draw((64,), 5, seed=0)[64]
    assert int((jumps.diff(dim=1).abs().sum(2) > 0).sum()) == 3
    spikes = BY_NAME["sparse, 3 layers"].draw((256,), 50, seed=0)[256]
    assert int((spikes.norm(dim=2) > 1).sum()) <= 3
    assert float(spikes.norm(dim=2).max()) > 3


def test_sizes_follow_the_name():
    for gamma in (0, 0.25, 1):
        weights = BY_NAME[f"independent, size L^-{gamma:g}"].draw((64, 256), 200, seed=0)
        for depth, tensor in weights.items():
            assert float(tensor.std()) == pytest.approx(depth**-gamma, rel=0.05)


def test_depths_that_do_not_fit_on_one_grid_are_refused():
    with pytest.raises(InputError, match="divisor of the largest, 32, found 12"):
        FAMILIES[0].draw((12, 32), 5, seed=0)
