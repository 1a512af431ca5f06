from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.data import EmbeddedMnist, FixedPairs, GaussianPairs, OscillatingFlow, SpherePairs
from deeplimit.draws import NamedDraw, SequentialDraw


@pytest.mark.parametrize("skip", [(), (3, 2)])
def test_gaussian_pairs_are_drawn_in_the_order_of_the_released_scripts(skip):
    x, y = GaussianPairs(4, 2, 3, skip=skip, target_scale=0.5).sample(SequentialDraw().stream(7))
    generator = torch.Generator().manual_seed(7)
    if skip:
        torch.randn(skip, generator=generator)
    assert torch.equal(x, torch.randn(4, 2, generator=generator))
    assert torch.equal(y, 0.5 * torch.randn(4, 3, generator=generator))
    assert x.dtype == y.dtype == torch.float32


def test_x_and_y_are_standard_normal_and_unrelated():
    x, y = GaussianPairs(20_000, 2, 2).sample(NamedDraw().stream(0))
    covariance = torch.cov(torch.cat([x, y], 1).T)
    torch.testing.assert_close(covariance, torch.eye(4), rtol=0, atol=0.04)


def test_samples_may_have_any_shape():
    x, y = GaussianPairs(4, (3, 8, 8), (5, 1)).sample(NamedDraw().stream(0))
    assert (x.shape, y.shape) == ((4, 3, 8, 8), (4, 5, 1))


def test_with_named_streams_one_size_does_not_move_another():
    stream = NamedDraw().stream(0)
    x, y = GaussianPairs(4, 2, 3).sample(stream)
    wide = GaussianPairs(4, 5, 3, skip=(7,), target_scale=2.0).sample(stream)
    assert torch.equal(wide[1], 2 * y)
    assert not torch.equal(wide[0][:, :2], x)


@pytest.mark.parametrize("radius", [1.0, 4.0])
def test_sphere_pairs_lie_on_the_sphere_in_all_directions(radius):
    x, y = SpherePairs(20_000, 3, 2, radius, target_scale=0.1).sample(NamedDraw().stream(0))
    torch.testing.assert_close(x.norm(dim=1), torch.full((20_000,), radius))
    torch.testing.assert_close(x.mean(0), torch.zeros(3), rtol=0, atol=0.02 * radius)
    torch.testing.assert_close(torch.cov(x.T), torch.eye(3) * radius**2 / 3, rtol=0, atol=0.02 * radius**2)
    assert y.shape == (20_000, 2)
    assert float(y.std()) == pytest.approx(0.1, rel=0.02)


def test_another_seed_is_other_data():
    pairs = SpherePairs(4, 2, 2, 1.0)
    first, again, other = (pairs.sample(NamedDraw().stream(seed))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def followed(z, steps):
    """The flow of one sample, coordinate by coordinate in float64."""
    for t in range(steps):
        sin, cos = np.sin(5 * np.pi * t / steps), np.cos(5 * np.pi * t / steps)
        z = [c + np.tanh(sin * c + cos) / np.sqrt(steps) for c in z]
    return np.array(z)


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_oscillating_flow_is_followed_from_the_cube(steps):
    x, y = OscillatingFlow(5, state=3, steps=steps).sample(NamedDraw().stream(2))
    starts = 2 * torch.rand(5, 3, generator=NamedDraw().stream(2).generator("x")).double().numpy() - 1
    ends = np.array([followed(start, steps) for start in starts])
    np.testing.assert_allclose(x, starts / np.linalg.norm(starts, axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(y, ends / np.linalg.norm(ends, axis=1, keepdims=True), rtol=1e-4)
    assert x.dtype == y.dtype == torch.float32


def test_the_oscillating_flow_has_the_sizes_of_the_paper_and_fills_the_sphere():
    x, y = OscillatingFlow(20_000).sample(NamedDraw().stream(0))
    assert x.shape == y.shape == (20_000, 10)
    torch.testing.assert_close(torch.cov(x.T), torch.eye(10) / 10, rtol=0, atol=0.005)
    torch.testing.assert_close(y.norm(dim=1), torch.ones(20_000))
    assert OscillatingFlow(4).facts(NamedDraw().stream(0)) == {}


@pytest.mark.parametrize(
    "pairs", [GaussianPairs(4, 2, 3, skip=(2,)), SpherePairs(4, 2, 3, 1.0), OscillatingFlow(4, steps=2)]
)
@pytest.mark.parametrize("draw", [NamedDraw(), SequentialDraw()], ids=["named", "sequential"])
def test_the_global_generator_is_never_touched(pairs, draw):
    before = torch.get_rng_state()
    pairs.sample(draw.stream(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GaussianPairs(0, 2, 2), "samples: expected an integer of at least 1, found 0"),
        (
            lambda: GaussianPairs(4, 2, 2, target_scale=0.0),
            r"target_scale: expected a finite number above 0, found 0\.0",
        ),
        (lambda: SpherePairs(-1, 2, 2, 1.0), "samples: expected an integer of at least 1, found -1"),
        (lambda: OscillatingFlow(4, state=0), "state: expected an integer of at least 1, found 0"),
        (lambda: SpherePairs(4, 2, 2, -1.0), r"radius: expected a finite number above 0, found -1\.0"),
        (lambda: SpherePairs(4, 2, 2, 1.0, -2.0), r"target_scale: expected a finite number above 0, found -2\.0"),
    ],
)
def test_sizes_and_scales_that_are_not_positive_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_fixed_pairs_do_not_depend_on_the_stream():
    fixed, other = FixedPairs(GaussianPairs(4, 2, 3), seed=5), FixedPairs(GaussianPairs(4, 2, 3), seed=6)
    first, second = (fixed.sample(NamedDraw().stream(seed)) for seed in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(first[0], GaussianPairs(4, 2, 3).sample(NamedDraw().stream(5))[0])
    assert not torch.equal(first[0], other.sample(NamedDraw().stream(0))[0])
    assert fixed.samples == 4
    assert FixedPairs(EmbeddedMnist()).samples == 60000
    assert fixed.facts(NamedDraw().stream(0)) == {}
