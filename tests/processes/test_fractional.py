from __future__ import annotations

import numpy as np
import pytest
import torch
from fbm import FBM

from deeplimit.checks import InputError
from deeplimit.processes import FractionalBrownianMotion, FractionalNoise
from deeplimit.processes.fractional import fractional_noise, noise_covariance

INDICES = (0.1, 0.3, 0.5, 0.7, 0.9)
PATHS = 40_000


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def motion_covariance(hurst, steps):
    s = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    a, b = s[:, None], s[None]
    return (a ** (2 * hurst) + b ** (2 * hurst) - (a - b).abs() ** (2 * hurst)) / 2


def agrees(samples, exact):
    """Whether the covariance of `[N, K]` samples of mean 0 is the exact one, within 6 standard errors of each entry."""
    count = len(samples)
    found = samples.T @ samples / count
    variances = exact.diagonal()
    error = ((variances[:, None] * variances[None] + exact**2) / count).sqrt()
    return bool(((found - exact).abs() <= 6 * error).all())


@pytest.mark.parametrize("hurst", INDICES)
@pytest.mark.parametrize("steps", [1, 2, 7, 16])
def test_the_noise_has_the_exact_covariance(hurst, steps):
    samples = fractional_noise(hurst, steps, paths=PATHS, generator=stream())
    lags = (torch.arange(steps)[:, None] - torch.arange(steps)[None]).abs()
    assert agrees(samples, noise_covariance(hurst, steps)[lags])
    other = 0.8 if hurst < 0.6 else 0.4
    if steps > 1:
        assert not agrees(samples, noise_covariance(other, steps)[lags])


@pytest.mark.parametrize("hurst", INDICES)
def test_the_embedding_has_no_negative_eigenvalue(hurst):
    for steps in (1, 2, 3, 10, 1000):
        row = noise_covariance(hurst, steps + 1)
        eigenvalues = torch.fft.fft(torch.cat([row, row[1:-1].flip(0)])).real
        assert float(eigenvalues.min()) >= -1e-12


@pytest.mark.parametrize("hurst", INDICES)
def test_the_motion_has_the_exact_covariance_at_every_depth(hurst):
    path = FractionalBrownianMotion(hurst, std=2.0, finest=24).sample((PATHS,), stream(1))
    for depth in (24, 6, 1):
        assert agrees(path(depth).T, 4 * motion_covariance(hurst, depth))


@pytest.mark.parametrize("hurst", INDICES)
def test_increments_have_one_law_at_every_depth(hurst):
    path = FractionalNoise(hurst, std=0.5, finest=24).sample((PATHS,), stream(2))
    for depth in (24, 6, 1):
        lags = (torch.arange(depth)[:, None] - torch.arange(depth)[None]).abs()
        assert agrees(path(depth).T, 0.25 * noise_covariance(hurst, depth)[lags])


def test_entries_are_independent():
    """Real and imaginary part of one transform are two entries."""
    samples = fractional_noise(0.8, 3, paths=2 * PATHS, generator=stream(3))
    pairs = torch.cat([c[: len(c) // 2].unsqueeze(0) for c in (samples, samples.roll(-64, 0))])
    correlation = (pairs[0] * pairs[1]).mean(0)
    assert float(correlation.abs().max()) <= 6 / PATHS**0.5


def test_networks_of_several_depths_stand_on_one_path():
    process = FractionalBrownianMotion(0.3, finest=60)
    path = process.sample((2, 3), stream())
    fine = path(60)
    assert fine.shape == (60, 2, 3)
    for depth in (1, 2, 5, 12, 30):
        assert torch.equal(path(depth), fine[60 // depth - 1 :: 60 // depth])
    assert torch.equal(path(60), fine)
    assert not torch.equal(process.sample((2, 3), stream(1))(60), fine)


def test_a_path_is_read_where_it_was_drawn():
    path = FractionalBrownianMotion(0.3, finest=8).sample((2,), stream())
    found = path.at(torch.tensor([0.0, 0.25, 1.0]))
    assert torch.equal(found, torch.stack([torch.zeros(2, dtype=torch.float64), path(4)[0], path(1)[0]]))
    with pytest.raises(InputError, match="s: expected multiples of 1/8"):
        path.at(torch.tensor([0.3]))
    with pytest.raises(InputError, match="s: expected multiples of 1/8"):
        path.at(torch.tensor([-0.125]))
    with pytest.raises(InputError, match="expected a process that is a function of s, found increments"):
        FractionalNoise(0.3, finest=8).sample((2,), stream()).at(torch.tensor([0.5]))


def test_a_depth_off_the_grid_is_refused():
    path = FractionalBrownianMotion(0.3, finest=8).sample((2,), stream())
    with pytest.raises(InputError, match="depth: expected a divisor of finest = 8, found 3"):
        path(3)


@pytest.mark.parametrize("hurst", [0.0, 1.0, -0.1, float("nan")])
@pytest.mark.parametrize("process", [FractionalBrownianMotion, FractionalNoise])
def test_an_index_outside_of_the_unit_interval_is_refused(hurst, process):
    with pytest.raises(InputError, match="hurst: expected a number between 0 and 1"):
        process(hurst)


def test_the_fbm_package_agrees_in_law():
    hurst, steps = 0.25, 8
    generator = FBM(n=steps, hurst=hurst, method="daviesharte")
    np.random.seed(0)  # noqa: NPY002 - the package draws from the global generator
    theirs = torch.tensor(np.stack([generator.fbm()[1:] for _ in range(4000)]))
    assert agrees(theirs, motion_covariance(hurst, steps))
