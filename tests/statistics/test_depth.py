"""Statistics over depth: definitions on small weights, and the exponents of the synthetic families."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.statistics import STATISTICS, Spectral, depth_statistics

DEPTHS = [int(2 ** (i / 3) + 1e-9) for i in range(23, 41, 2)]  # 203 to 8192
ENTRIES = 100  # d = 10


def test_definitions_on_three_layers():
    weights = torch.tensor([[[1.0, 2.0], [3.0, 2.0], [3.0, -1.0]]])
    found = {name: value.item() for name, value in depth_statistics(weights).items()}
    assert found["maximum"] == pytest.approx(math.sqrt(13))
    assert found["increment"] == pytest.approx(3)
    assert found["cumulative_sum"] == pytest.approx(math.sqrt(49 + 9))
    assert found["root_sum_of_squares"] == pytest.approx(math.sqrt(5 + 13 + 10))
    assert found["quadratic_variation"] == pytest.approx(13)
    assert found["sobolev"] == pytest.approx(math.sqrt(39))
    # W = 0, (1, 2), (4, 4) against k/3 · (7, 3)
    assert found["detrended"] == pytest.approx(max(math.hypot(1 - 7 / 3, 1), math.hypot(4 - 14 / 3, 2)))


def test_detrended_takes_off_the_local_mean():
    weights = torch.randn(2, 57, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    depth, w = 57, 5
    path = np.concatenate([np.zeros((2, 1, 3)), np.cumsum(weights.numpy(), axis=1)[:, :-1]], axis=1)
    worst = np.zeros(2)
    for k in range(1, depth):
        low, high = (0, 2 * k) if k < w else (2 * k - depth, depth) if k > depth - w else (k - w, k + w)
        worst = np.maximum(worst, np.linalg.norm(path[:, k] - path[:, low:high].mean(axis=1), axis=1))
    assert np.allclose(depth_statistics(weights)["detrended"], worst)


def test_one_layer_has_no_increments():
    found = depth_statistics(torch.ones(2, 1, 3))
    assert found["increment"].tolist() == found["quadratic_variation"].tolist() == [0.0, 0.0]


def test_runs_do_not_mix_and_the_norm_is_used():
    weights = torch.randn(3, 12, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together, alone = depth_statistics(weights, Spectral()), depth_statistics(weights[1:2], Spectral())
    for name in STATISTICS:
        assert torch.allclose(together[name][1:2], alone[name])
    assert together["maximum"][0] == pytest.approx(float(torch.linalg.matrix_norm(weights[0], ord=2).max()))


@pytest.mark.parametrize("shape", [(3,), (0, 4, 2), (1, 0, 2)])
def test_weights_without_runs_or_layers_are_refused(shape):
    with pytest.raises(InputError, match=r"expected shape \[runs, depth"):
        depth_statistics(torch.ones(shape))


def smooth(depth, beta, generator):
    s = torch.arange(1, depth + 1, dtype=torch.float64)[:, None] / depth
    return depth**-beta * (1 + 0.5 * torch.sin(2 * s + torch.arange(ENTRIES)))


def noisy(depth, beta, generator):
    noise = torch.randn(depth, ENTRIES, generator=generator, dtype=torch.float64)
    return smooth(depth, beta, generator) + noise / math.sqrt(depth)


def independent(depth, beta, generator):
    return torch.randn(depth, ENTRIES, generator=generator, dtype=torch.float64)


def sparse(depth, beta, generator):
    weights = torch.zeros(depth, ENTRIES, dtype=torch.float64)
    weights[[depth // 5, depth // 2, depth // 2 + depth // 9]] = 1.0
    return weights


# Family, β -> slopes of maximum, increment, cumulative sum, root of squares, quadratic variation; NaN where a logarithm or a
# mixture of trend and noise bends the line.
TABLE = [
    (smooth, 0.2, (-0.2, -1.2, 0.8, 0.3, -1.4)),
    (smooth, 0.0, (0.0, -1.0, 1.0, 0.5, -1.0)),
    (smooth, 1.0, (-1.0, -2.0, 0.0, -0.5, -3.0)),
    (noisy, 0.5, (math.nan, -0.5, 0.5, 0.0, 0.0)),
    (noisy, 1.0, (-0.5, -0.5, 0.0, 0.0, 0.0)),
    (independent, 0.0, (0.0, 0.0, 0.5, 0.5, 1.0)),
    (sparse, 0.0, (0.0, 0.0, 0.0, 0.0, 0.0)),
]


@pytest.mark.parametrize(("family", "beta", "slopes"), TABLE)
def test_exponents_of_the_synthetic_families(family, beta, slopes):
    names = ("maximum", "increment", "cumulative_sum", "root_sum_of_squares", "quadratic_variation")
    runs = 20  # the sum of independent layers is one random vector: its norm needs the mean over many
    curves: dict[str, list[float]] = {name: [] for name in names}
    for depth in DEPTHS:
        generators = [torch.Generator().manual_seed(100 * depth + run) for run in range(runs)]
        found = depth_statistics(torch.stack([family(depth, beta, g) for g in generators]))
        for name in names:
            curves[name].append(float(found[name].log().mean()))
    for name, expected in zip(names, slopes, strict=True):
        if not math.isnan(expected):
            slope = np.polyfit(np.log(DEPTHS), curves[name], 1)[0]
            assert slope == pytest.approx(expected, abs=0.03), name
