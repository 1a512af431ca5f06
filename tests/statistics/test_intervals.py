"""The bootstrap over entries or runs."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.statistics import bootstrap


def test_the_interval_covers_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        sample = torch.randn(60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found = bootstrap(sample, torch.mean, resamples=200, level=0.9, seed=seed)
        assert found.value == pytest.approx(float(sample.mean()))
        covered += found.low < 0 < found.high
    assert 0.82 < covered / 200 < 0.96


def test_it_repeats_and_follows_its_seed():
    sample = torch.arange(10.0)
    first, again, other = (bootstrap(sample, torch.mean, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert first.sample == 10


def test_one_thing_cannot_be_resampled():
    with pytest.raises(InputError, match="at least 2"):
        bootstrap(torch.ones(1), torch.mean)
