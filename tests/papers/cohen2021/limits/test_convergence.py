from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from deeplimit.branches import GELU, Tanh
from deeplimit.papers.cohen2021.limits.convergence import BLOWN_UP, Convergence
from deeplimit.records import Context, frame
from tests.papers.cohen2021.limits.cases import small


def slope(task: Convergence, quantity: str) -> float:
    rows = frame(task.run(Context())).filter(quantity=quantity).group_by("depth").agg(pl.col("value").log().mean())
    return float(np.polyfit(rows["depth"].log().to_numpy(), rows["value"].to_numpy(), 1)[0])


@pytest.mark.parametrize("derivatives", [False, True])
@pytest.mark.parametrize(
    ("fields", "limit", "rate"),
    [
        ({"alpha": 1.0, "beta": 0.0}, "neural", 1.0),
        ({"alpha": 0.5, "beta": 0.5, "noise": 0.0}, "linear", 1.0),
        ({"alpha": 0.5, "beta": 0.5}, "linear", 0.5),
        ({}, "sde", 0.5),
    ],
    ids=["neural", "linear", "linear-noise", "sde"],
)
def test_networks_tend_to_their_limit_at_its_rate(fields, limit, rate, derivatives):
    task = small(limits=(limit,), derivatives=derivatives, **fields)
    for quantity in ("jacobian", "gradient") if derivatives else ("error",):
        assert slope(task, f"{quantity}.{limit}") == pytest.approx(-rate, abs=0.25 if limit == "sde" else 0.15)


def test_the_correction_matters_where_sigma_is_curved_at_0():
    both = ("sde", "uncorrected")
    for activation, curved in ((GELU(), True), (Tanh(), False)):
        rows = frame(small(activation, limits=both, depths=(64,)).run(Context()))
        apart = rows.filter(quantity="distance.limits")["value"]
        assert bool((apart > 0.05).all()) == curved
        assert bool((apart == 0).all()) != curved
        error, bare = (rows.filter(quantity=f"error.{limit}")["value"].to_numpy().mean() for limit in both)
        assert bool(bare > 1.5 * error) == curved


def test_members_of_a_seed_do_not_depend_on_the_other_seeds():
    task = small()
    together = frame(task.run(Context()))
    alone = frame(dataclasses.replace(task, seeds=(1,)).run(Context()))
    for quantity in ("error.sde", "weak.sde"):
        found = together.filter(quantity=quantity, seed=1)["value"].to_numpy()
        assert found == pytest.approx(alone.filter(quantity=quantity)["value"].to_numpy(), rel=1e-9)


def test_paths_that_blow_up_are_counted_and_left_out_of_the_mean():
    rows = frame(small(GELU(), noise=6.0, trend=6.0, depths=(16,)).run(Context()))
    shares = rows.filter(quantity="blown-up.sde")["value"]
    assert (shares > 0.5).any()
    assert (frame(small().run(Context())).filter(quantity="blown-up.sde")["value"] == 0).all()
    assert not (rows.filter(quantity="mean.sde")["value"] > BLOWN_UP).any()
    assert rows["value"].is_not_nan().all()
