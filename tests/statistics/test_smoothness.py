from __future__ import annotations

import math

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.processes import FractionalBrownianMotion
from deeplimit.statistics import smoothness
from tests.cases import normal


def test_statistics_are_those_of_the_definition():
    weights = normal((2, 7, 3, 2), torch.Generator().manual_seed(3))
    found = smoothness(weights)
    for e, own in enumerate(weights.reshape(2, 7, 6)):
        entries = own.T
        steps = [sum(abs(a[k + 1] - a[k]) for k in range(6)) / 6 / a.std(correction=0) for a in entries]
        lags = []
        for a in entries:
            d = a - a.mean()
            lags.append(sum(d[k] * d[k + 1] for k in range(6)) / sum(d * d))
        assert found["step"][e] == pytest.approx(float(sum(steps)) / 6)
        assert found["lag"][e] == pytest.approx(float(sum(lags)) / 6)
        assert found["increment"][e] == pytest.approx(float(sum((own[k + 1] - own[k]).norm() for k in range(6))) / 6)
        second = {
            m: sum(float((a[2 * m :] - 2 * a[m:-m] + a[: -2 * m]).square().mean()) for a in entries) for m in (1, 2)
        }
        assert found["roughness"][e] == pytest.approx(math.log2(second[2] / second[1]) / 2)


@pytest.mark.parametrize("H", [0.2, 0.5, 0.8])
def test_roughness_is_the_hurst_index(H):
    paths = FractionalBrownianMotion(H, finest=64).sample((400,), torch.Generator().manual_seed(1))(64)
    assert smoothness(paths[None])["roughness"].item() == pytest.approx(H, abs=0.03)


def test_noise_of_a_tenth_of_a_trend_is_seen_by_the_roughness_alone():
    trend = torch.linspace(0, 1, 64, dtype=torch.float64)[None, :, None]
    found = smoothness(trend + 0.03 * normal((1, 64, 300), torch.Generator().manual_seed(2)))
    assert found["lag"].item() > 0.9
    assert abs(found["roughness"].item()) < 0.03


def test_equal_layers_are_smooth():
    tied = torch.randn(16, generator=torch.Generator().manual_seed(0)).expand(2, 8, 16).clone()
    tied[1, 3] *= 1 + 1e-7  # rounding of float32
    found = {name: value.tolist() for name, value in smoothness(tied).items()}
    assert found["step"] == [0, 0]
    assert found["lag"] == [1, 1]
    assert found["roughness"] == [2, 2]
    assert found["increment"][0] == 0


@pytest.mark.parametrize("shape", [(3,), (1, 4, 2)])
def test_too_few_layers_are_refused(shape):
    with pytest.raises(InputError, match="at least 5 layers"):
        smoothness(torch.zeros(shape))
