from __future__ import annotations

import math

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.fits import power_law
from deeplimit.processes import IID, Constant, FractionalBrownianMotion, GaussianProcess, TrendAndNoise, Zero

DEPTHS = (8, 32, 128, 512)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(trend=None, beta=0.5, std=0.4, **more):
    return TrendAndNoise(trend or Zero(), beta, std, finest=512, **more).sample((50, 20), stream())


def test_layers_are_trend_plus_increments_of_one_path():
    path = TrendAndNoise(GaussianProcess(0.3), 0.5, 0.4, finest=24).sample((3,), stream(4))
    same = stream(4)
    trend = GaussianProcess(0.3).sample((3,), same)
    noise = FractionalBrownianMotion(0.5, 0.4, 24).sample((3,), same)
    for depth in (24, 8, 1):
        s = torch.arange(depth + 1, dtype=torch.float64) / depth
        W = noise.at(s)
        torch.testing.assert_close(path(depth), trend.at(s[:-1]) * depth**-0.5 + W[1:] - W[:-1])


def test_the_noise_of_a_shallow_network_is_that_of_a_deep_one_summed():
    path = noisy()
    torch.testing.assert_close(path(8), path(512).reshape(8, 64, 50, 20).sum(1))


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.7])
def test_the_size_of_the_noise_is_its_hurst_index(hurst):
    path = noisy(hurst=hurst)
    assert power_law(DEPTHS, [path(L).std().item() for L in DEPTHS]).value == pytest.approx(-hurst, abs=0.03)
    assert path(512).sum(0).std().item() == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_without_noise_layers_are_the_scaled_trend_at_the_left_end(beta):
    path = TrendAndNoise(GaussianProcess(0.3), beta, 0.0).sample((3,), stream())
    assert path.noise is None
    s = torch.arange(10, dtype=torch.float64) / 10
    torch.testing.assert_close(path(10), path.trend.at(s) / 10**beta)
    assert torch.equal(path.increments(s), torch.zeros(9, 3, dtype=torch.float64))


def test_the_squares_of_brownian_layers_add_up_to_the_variance():
    squares = noisy()(512).square().sum(0)
    assert squares.mean().item() == pytest.approx(0.16, rel=0.01)
    assert squares.std().item() == pytest.approx(0.16 * math.sqrt(2 / 512), rel=0.1)


def test_what_makes_no_weights_is_refused():
    with pytest.raises(InputError, match="beta: expected a finite number, found nan"):
        TrendAndNoise(Zero(), math.nan, 0.4)
    with pytest.raises(InputError, match="noise_std: expected a finite number of at least 0, found -1"):
        TrendAndNoise(Zero(), 0.0, -1.0)
    with pytest.raises(InputError, match="found trend and noise"):
        noisy(Constant(1.0)).at(torch.zeros(1))
    with pytest.raises(InputError, match="found independent layers"):
        TrendAndNoise(IID(), 0.0, 0.0).sample((2,), stream())(4)
