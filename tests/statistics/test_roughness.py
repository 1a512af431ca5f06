"""The pooled Hurst index against paths whose index is known, and the ratio against shuffled layers."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.processes import FractionalBrownianMotion
from deeplimit.statistics import hurst, variation_ratio, variogram


def motion(index, depth, entries, seed=0):
    return (
        FractionalBrownianMotion(index, finest=depth).sample((entries,), torch.Generator().manual_seed(seed))(depth).T
    )


@pytest.mark.parametrize("index", [0.2, 0.35, 0.5, 0.65, 0.8])
def test_500_entries_of_24_layers_give_the_index_to_two_hundredths(index):
    found = [hurst(motion(index, 24, 500, seed), resamples=100) for seed in range(20)]
    errors = torch.tensor([estimate.value - index for estimate in found])
    assert (errors.abs() <= 0.02).float().mean() >= 0.95
    assert errors.square().mean().sqrt() < 0.01
    assert sum(estimate.low <= index <= estimate.high for estimate in found) >= 16


def test_white_noise_smooth_weights_and_trends():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 64, generator=generator, dtype=torch.float64)
    s = torch.linspace(0, 1, 64, dtype=torch.float64)
    waves = torch.sin(3 * s + torch.arange(200)[:, None])
    assert hurst(noise, order=2).value == pytest.approx(0.0, abs=0.03)
    assert hurst(waves, (1, 2)).value == pytest.approx(1.0, abs=0.03)
    assert hurst(waves, (1, 2), order=2).value == pytest.approx(2.0, abs=0.03)
    ramps = noise + 30 * s * torch.randn(200, 1, generator=generator, dtype=torch.float64)
    assert hurst(ramps).value > 0.2  # first differences see the ramp
    assert hurst(ramps, order=2).value == pytest.approx(0.0, abs=0.03)


def test_the_variogram_by_hand():
    paths = torch.tensor([[0.0, 1.0, 3.0, 6.0]])
    assert variogram(paths, (1, 2)).tolist() == [[(1 + 4 + 9) / 3, (9 + 25) / 2]]
    assert variogram(paths, (1,), order=2).tolist() == [[1.0]]


@pytest.mark.parametrize(("lags", "order", "message"), [((4,), 1, "more than 4"), ((2,), 2, "more than 4")])
def test_short_paths_are_refused(lags, order, message):
    with pytest.raises(InputError, match=message):
        variogram(torch.ones(3, 4), lags, order=order)


def test_one_lag_or_one_path_is_refused():
    with pytest.raises(InputError, match="different lags"):
        hurst(torch.ones(3, 8), (2, 2))
    with pytest.raises(InputError, match="at least 2 things"):
        hurst(torch.rand(1, 8))


def test_layers_in_a_random_order_are_not_smooth():
    p_values = []
    for seed in range(100):
        weights = torch.randn(16, 5, generator=torch.Generator().manual_seed(seed))
        ratio, p_value = variation_ratio(weights, shuffles=99, seed=seed)
        assert 1 < ratio < 3
        p_values.append(p_value)
    uniform = torch.tensor(p_values)  # under the null
    assert 0.35 < uniform.mean() < 0.65
    assert (uniform <= 0.05).float().mean() < 0.13


def test_order_that_matters_is_found_whatever_the_entries():
    weights = motion(0.5, 16, 40).T.reshape(16, 8, 5)
    ratio, p_value = variation_ratio(weights)
    assert ratio < 1
    assert p_value < 0.01
    shuffled = weights.flatten(1)[:, torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    assert variation_ratio(shuffled)[0] == pytest.approx(ratio)


def test_equal_layers_are_the_smoothest():
    assert variation_ratio(torch.ones(8, 3), shuffles=99) == (0.0, 0.01)


def test_two_layers_have_no_order():
    with pytest.raises(InputError, match="at least 3 layers"):
        variation_ratio(torch.ones(2, 3))
