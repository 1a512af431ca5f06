from __future__ import annotations

import math

import polars as pl
import pytest

from deeplimit.draws import NamedDraw
from deeplimit.papers.cohen2021.limits.mean import WIDE, Aligned, MeanOde
from deeplimit.records import Context, frame
from tests.papers.cohen2021.limits.cases import ruling


def test_aligned_layers_have_the_moments_they_state():
    network = MeanOde(((1, 1),), (0,), 8)._network(2000, 8)
    params = Aligned(3.0).stacked(network.branch, 2000, NamedDraw().stream(0))
    V, W = params["V"] * math.sqrt(8), params["W"].mT
    assert V.shape == W.shape == (2000, 4, 8)
    assert (V * W).mean().item() == pytest.approx(3.0, abs=0.1)
    assert V.var().item() == pytest.approx(10.0, rel=0.03)
    assert (V[:-1] * V[1:]).mean().abs().item() < 0.15


def test_networks_of_independent_layers_and_their_mean_ode():
    task = MeanOde(((4, 2048), (32, 4), (512, 4)), tuple(range(12)), layers=512)
    rows = frame(task.run(Context()))
    assert rows.filter(quantity="sample.error")["value"].item() < 3
    gap = rows.filter(quantity="gap").group_by("units").agg(pl.col("value").mean()).sort("units")
    narrow = gap.filter(pl.col("units") < 4096)["value"].to_list()
    assert math.log(narrow[1] / narrow[0]) / math.log(16) == pytest.approx(-0.5, abs=0.15)
    assert task.alignment == 2  # the mean ODE is dH/ds = H
    euler = math.e - (1 + 1 / 4) ** 4
    shortfall = rows.filter(quantity="shortfall", width=2048)["value"].mean()
    assert shortfall == pytest.approx(2 * euler, rel=0.15)


def test_the_claims_on_the_mean_ode_tell_rates_apart():
    def rows(rate: float) -> pl.DataFrame:
        shapes = (
            [(L, 4) for L in (256, 1024, 4096)] + [(256, M) for M in (1, 16, 64)] + [(L, WIDE) for L in (16, 32, 64)]
        )
        return pl.DataFrame(
            [
                {"quantity": q, "seed": s, "depth": L, "width": M, "units": L * M, "value": (1 + s) * scale}
                for L, M in shapes
                for s in range(5)
                for q, scale in (("gap", (L * M) ** -rate), ("shortfall", L ** (-2 * rate)))
            ]
        )

    for name in ("depth", "width", "euler"):
        assert ruling(f"mean-ode.{name}", rows(0.5)) == "reproduced"
        assert ruling(f"mean-ode.{name}", rows(0.2)) == "not reproduced"
