"""Trend and noise."""

from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.papers.cohen2021.denoising import STUDY, Denoising, averaged, integral, ratio, trend_of
from deeplimit.papers.cohen2021.networks import RELU, SETTINGS, TANH
from deeplimit.records import Context, frame


def waves(depth: int) -> torch.Tensor:
    """cos(2 s) in one entry, s² in another, at the middle of each layer."""
    s = (torch.arange(depth, dtype=torch.float64) + 0.5) / depth
    return torch.stack([torch.cos(2 * s), s**2], dim=1)[None]


def test_the_sums_of_a_smooth_path_are_its_integral():
    beta, L = 0.3, 700
    found = integral(L**-beta * waves(L), beta, nodes=50)
    t = torch.arange(51) / 50
    assert torch.allclose(found[0], torch.stack([torch.sin(2 * t) / 2, t**3 / 3], dim=1).double(), atol=1e-5)
    whole = integral(L**-beta * waves(L), beta, nodes=50, whole=True)
    assert torch.allclose(whole, found)  # 700 is a multiple of 50
    uneven = integral(waves(720), 0.0, nodes=50, whole=True)
    assert not torch.allclose(uneven, integral(waves(720), 0.0, nodes=50), atol=1e-4)


def test_the_released_sums_count_whole_layers():
    """L = 5, two pieces: k < 2.5 are three layers."""
    weights = torch.arange(1.0, 6.0).reshape(1, 5, 1)
    assert integral(weights, 1.0, nodes=2, whole=True).flatten().tolist() == [0, 6, 15]
    assert integral(weights, 1.0, nodes=2).flatten().tolist() == [0, 4.5, 15]


def test_the_trend_of_a_smooth_path_is_itself_at_any_depth():
    beta = 0.3
    sums = integral(1000**-beta * waves(1000), beta, nodes=200)
    for depth in (200, 300):
        assert torch.allclose(trend_of(sums, depth, beta=beta), depth**-beta * waves(depth), atol=0.01)
    constant = trend_of(integral(torch.ones(1, 50, 1), 0.0, nodes=25), 50, beta=0.0)
    assert torch.allclose(constant, torch.ones(1, 50, 1, dtype=torch.float64))


def test_means_over_pieces():
    weights = torch.arange(5.0).reshape(1, 5, 1)
    assert averaged(weights, 2).flatten().tolist() == [1.0, 1.0, 1.0, 3.5, 3.5]
    assert torch.equal(averaged(weights, 5), weights)


def test_more_pieces_than_layers_are_refused():
    with pytest.raises(InputError, match="at most the 8 layers"):
        Denoising(SETTINGS[TANH], 0.2, (8, 16), (16,), 9, (0,))


@pytest.mark.parametrize(("name", "beta"), [(TANH, 0.2), (RELU, 0.5)])
def test_noise_matters_for_relu_and_not_for_tanh(name, beta):
    task = Denoising(SETTINGS[name], beta, (50, 64), (80,), 25, (0, 1), labels={"setting": name})
    rows = frame(task.run(Context())).with_columns(setting=pl.lit(name))
    trained_loss = rows.filter(pl.col("quantity") == "loss.trained")["value"]
    assert len(trained_loss) == 4
    assert all(loss < 0.01 for loss in trained_loss)
    own = ratio(name, "loss.own")(rows)
    assert own.sample == 2
    assert abs(own.value) < 0.02 if name == TANH else own.low > 0.3
    noise, released = (
        rows.filter((pl.col("quantity") == q) & (pl.col("seed") == 0))["value"] for q in ("noise.A", "noise.released.A")
    )
    assert len(noise) == 64
    assert released.to_list() == pytest.approx([64 ** (beta - 1) * x for x in noise])
    assert task.cost().layer_steps > 0


def test_ratios_are_logarithms():
    rows = pl.DataFrame(
        {
            "setting": ["s"] * 4,
            "depth": [8, 8, 16, 16],
            "seed": [0] * 4,
            "quantity": ["loss.trained", "loss.own"] * 2,
            "value": [1.0, 10.0, 1.0, 1000.0],
        }
    )
    assert ratio("s", "loss.own")(rows).value == pytest.approx(2.0)
    with pytest.raises(LookupError):
        ratio("s", "loss.denoised")(rows)


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_the_trend_comes_from_the_deepest(tier):
    for task in STUDY.plan(tier):
        assert isinstance(task, Denoising)
        assert max(task.depths) <= max(task.trend)
        assert len(task.seeds) == 5
        assert math.isfinite(dataclasses.replace(task).cost().memory_bytes)
