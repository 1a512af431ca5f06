"""The bootstrap over entries or runs."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.statistics import STATISTICS, bootstrap, depth_statistics, statistic_intervals


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


@pytest.mark.parametrize("runs", [1, 3, 6])
def test_every_statistic_of_a_stack_has_an_interval(runs):
    weights = torch.randn(runs, 20, 5, 4, generator=torch.Generator().manual_seed(runs), dtype=torch.float64)
    found, plain = statistic_intervals(weights, resamples=100), depth_statistics(weights)
    assert set(found) == set(STATISTICS)
    for name, measured in found.items():
        assert measured.value == pytest.approx(float(plain[name].mean()))
        assert measured.low < measured.high
        if name in (
            "cumulative_sum",
            "root_sum_of_squares",
            "quadratic_variation",
            "sobolev",
        ):  # no maximum over layers
            assert measured.low < measured.value < measured.high
        assert measured.sample == (6 if runs == 6 else 20)


def test_intervals_of_a_statistic_hold_what_other_entries_give():
    held = 0
    expected = (
        2 * 19 * 50
    ) ** 0.5 * 20**0.5  # of the Sobolev seminorm: the root of L Σ of 19 differences of variance 2
    for seed in range(40):
        weights = torch.randn(1, 20, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found = statistic_intervals(weights, resamples=100)["sobolev"]
        held += found.low < expected < found.high
    assert held >= 32


def test_one_entry_of_few_runs_has_no_interval():
    with pytest.raises(InputError, match="at least 2"):
        statistic_intervals(torch.ones(3, 20))
