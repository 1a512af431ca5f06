from __future__ import annotations

import math

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.fits import power_law
from deeplimit.processes import Function, GaussianProcess

LENGTHS = [0.02, 0.1, 0.5, 1.0, 10.0]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def squared_exponential(s: torch.Tensor, length: float) -> torch.Tensor:
    return torch.exp(-((s[:, None] - s[None, :]) ** 2) / (2 * length**2))


@pytest.mark.parametrize("length", LENGTHS)
def test_the_series_is_the_covariance_to_rounding(length):
    s = torch.linspace(0, 1, 201, dtype=torch.float64)
    features = GaussianProcess(length).features(s)
    torch.testing.assert_close(features @ features.T, squared_exponential(s, length), rtol=0, atol=5e-12)
    assert features.isfinite().all()


@pytest.mark.parametrize("length", LENGTHS)
def test_the_variance_is_one_everywhere(length):
    s = torch.tensor([0.0, 0.3, 0.5, 1.0], dtype=torch.float64)
    variance = (GaussianProcess(length).features(s) ** 2).sum(1)
    torch.testing.assert_close(variance, torch.ones(4, dtype=torch.float64), rtol=0, atol=5e-12)


def test_the_paths_have_the_covariance():
    process, s = GaussianProcess(0.3, std=2.0), torch.linspace(0, 1, 6, dtype=torch.float64)
    weights = process.sample((200, 200), generator()).at(s).flatten(1)
    found = weights @ weights.T / weights.shape[1]
    torch.testing.assert_close(found, 4 * squared_exponential(s, 0.3), rtol=0, atol=0.12)
    assert weights.mean().abs() < 0.05


def test_the_entries_are_independent():
    weights = GaussianProcess(0.3).sample((2, 20_000), generator()).at(torch.tensor([0.4], dtype=torch.float64))[0]
    assert abs((weights[0] * weights[1]).mean().item()) < 0.03


def test_the_increments_of_neighbouring_layers_are_of_order_one_over_depth():
    """No roughness at any depth: the reason for the series instead of a Cholesky factor."""
    path, depths = GaussianProcess(0.2).sample((4, 4), generator()), (64, 512, 4096)
    steps = [(path(depth)[1:] - path(depth)[:-1]).abs().max().item() for depth in depths]
    assert power_law(depths, steps).value == pytest.approx(-1, abs=0.02)
    second = [path(depth).diff(n=2, dim=0).abs().max().item() for depth in depths]
    assert power_law(depths, second).value == pytest.approx(-2, abs=0.04)


def test_the_mean_square_increment_is_that_of_the_covariance():
    process, depth = GaussianProcess(0.25), 32
    weights = process.sample((20_000,), generator())(depth)
    found = (weights.diff(dim=0) ** 2).mean().item()
    assert found == pytest.approx(2 * (1 - math.exp(-1 / (2 * (0.25 * depth) ** 2))), rel=0.03)


def test_positions_may_come_in_any_precision_and_order():
    path = GaussianProcess(0.4).sample((2,), generator())
    s = torch.tensor([0.75, 0.25])
    torch.testing.assert_close(path.at(s), path.at(s.double()))
    torch.testing.assert_close(path.at(s.flip(0)), path.at(s).flip(0))
    assert path.at(s).dtype == torch.float64


@pytest.mark.parametrize("scale", [0.0, -0.5, math.inf])
def test_scales_that_are_not_positive_are_refused(scale):
    with pytest.raises(InputError, match="length: expected a finite number above 0, found"):
        GaussianProcess(scale)
    with pytest.raises(InputError, match="std: expected a finite number above 0, found"):
        GaussianProcess(0.5, std=scale)


def test_a_function_is_read_at_the_layers():
    path = Function(lambda s: torch.stack([s, s**2], dim=1)).sample((2,), generator())
    assert path(2).tolist() == [[0.5, 0.25], [1.0, 1.0]]


def test_a_function_draws_nothing():
    used = generator()
    Function(lambda s: s).sample((), used)(3)
    assert torch.equal(used.get_state(), generator().get_state())


def test_a_function_of_the_wrong_shape_is_refused():
    path = Function(lambda s: s).sample((3,), generator())
    with pytest.raises(InputError, match=r"weights as a function of s: expected shape \(4, 3\), found \(4,\)"):
        path(4)
