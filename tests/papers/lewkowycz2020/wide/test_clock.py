from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.lewkowycz2020.wide.clock import THEORY, ModeClock
from deeplimit.records import Context, frame
from tests.papers.lewkowycz2020.wide.cases import power_law, rows, ruling


def test_the_exponent_of_a_mode_is_steeper_than_minus_one_and_tends_to_it():
    task = ModeClock(10.0, (2, 3), THEORY)
    found = frame(task.run(Context()))
    for k in (2, 3):
        slopes = found.filter(quantity="mode.slope", degree=k)["value"].to_list()
        assert slopes == sorted(slopes, reverse=True)
        assert -1.2 < slopes[-1] < slopes[0] < -1.05
    lives = found.filter(quantity="mode.half-life", degree=2)
    scaled = (lives["value"] * lives["decay"]).to_list()
    assert scaled[1:] == pytest.approx([5.66, 4.51, 3.35, 2.20], abs=0.006)
    assert ruling("clock.modes", found) == "reproduced"
    assert task.cost().layer_steps > 0
    assert task.probe(Context()) > 0


def test_the_claims_on_half_lives_tell_laws_apart():
    for power, expected in ((-1.1, "reproduced"), (-0.5, "not reproduced")):
        found = power_law("half-life", power, "decay")
        assert ruling("clock.networks", found) == expected
    same = power_law("half-life.flow", -1.0, "decay")
    close, far = (
        pl.concat([same, same.with_columns(pl.col("value") * ratio, quantity=pl.lit("half-life"))])
        for ratio in (1.02, 1.3)
    )
    assert ruling("clock.flow", close) == "reproduced"
    assert ruling("clock.flow", far) == "not reproduced"


def test_the_claims_on_linear_models_can_fail():
    for name, quantity in (("kernel", "kernel.gap"), ("ridge", "gap.train")):
        for value, expected in ((1e-15, "reproduced"), (0.1, "not reproduced")):
            found = rows(quantity, value, layers=1, iteration=1600, clock=40.0)
            assert ruling(f"linear.{name}", found) == expected
