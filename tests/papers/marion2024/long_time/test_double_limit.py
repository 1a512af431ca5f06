from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from deeplimit.measures import At, Drift
from deeplimit.papers.marion2024.long_time.double_limit import NAMES, Settling
from deeplimit.records import Context, frame
from tests.papers.marion2024.long_time.cases import ruling, run_of


@pytest.fixture(scope="module")
def settled() -> pl.DataFrame:
    at = At((0, 2, 4, 8))
    base = run_of(4, 3, width=5, target=0.5, rate=0.05, iterations=8)
    return frame(dataclasses.replace(base, measures=(Settling(at), Drift(at))).run(Context()))


@pytest.mark.parametrize("role", ["embedding", "readout"])
def test_the_way_from_the_start_is_the_drift(settled, role):
    moved = settled.filter(quantity=f"moved.{role}").sort("seed", "iteration")
    drift = settled.filter(quantity=f"drift.{role}").filter(pl.col("iteration") > 0).sort("seed", "iteration")
    assert moved["value"].to_list() == pytest.approx(drift["value"].to_list())
    assert all(moved["value"] > 0)


@pytest.mark.parametrize("name", NAMES)
def test_rest_and_steps_are_distances_between_listed_times(settled, name):
    for seed in (0, 1):
        own = settled.filter(seed=seed)
        rest = own.filter(quantity=f"rest.{name}").sort("index")
        assert rest["index"].to_list() == [0, 2, 4]
        assert rest["value"][0] == own.filter(quantity=f"moved.{name}", iteration=8)["value"].item()
        assert rest["value"][-1] == own.filter(quantity=f"step.{name}", iteration=8)["value"].item()


def test_a_layer_moves_by_the_sum_over_its_matrices(settled):
    moved, V, W = (
        settled.filter(quantity=quantity, iteration=8).sort("seed")["value"]
        for quantity in ("moved.Z", "drift.V", "drift.W")
    )
    assert all(max(v, w) < z <= v + w + 1e-15 for z, v, w in zip(moved, V, W, strict=True))


def double_rows(quantity: str, values: tuple[float, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"samples": 4, "depth": 16, "seed": 0, "iteration": t, "quantity": quantity, "value": value}
            for t, value in enumerate(values)
        ]
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, 0.1, 1e-4), "reproduced"),
        ((1.0, 1e-17, 3e-17), "reproduced"),  # rounding
        ((1.0, 0.1, 0.09), "not reproduced"),
    ],
)
def test_a_run_that_does_not_come_to_rest_is_refused(values, expected):
    assert ruling("16.residuals", double_rows("residual", values)) == expected
    rows = pl.concat([double_rows(f"step.{name}", values) for name in NAMES])
    assert ruling("16.time", rows) == expected


def test_residuals_that_stay_are_no_interpolation():
    assert ruling("16.interpolation", double_rows("residual", (1.0, 0.1))) == "not reproduced"
    assert ruling("16.interpolation", double_rows("residual", (1.0, 1e-6))) == "reproduced"
