from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.lewkowycz2020.clock import STUDY
from deeplimit.papers.lewkowycz2020.law import WITHIN, banded, by_decay, clock_panel, definitions_panel, slope, times
from tests.papers.lewkowycz2020.planted import clock, plant


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return plant(STUDY, clock()).filter(setting="constant", learning_rate=0.05)


def test_the_slope_of_the_law_and_of_none(rows: pl.DataFrame) -> None:
    assert slope(rows).value == pytest.approx(-1, abs=0.01)
    assert slope(rows).note == "λ from 0.001 to 0.1, a slope per seed"
    none = plant(STUDY, clock(per_tick="η")).filter(setting="constant", learning_rate=0.05)
    assert slope(none).value == pytest.approx(0, abs=0.1)


def test_times_are_by_seed_in_rising_order_of_the_coefficient(rows: pl.DataFrame) -> None:
    decays, table = times(rows)
    assert decays == [1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
    assert list(table) == [1000, 1001, 1002, 1003, 1004]
    for own in table.values():
        assert own == sorted(own, reverse=True)
    assert by_decay(decays, table)[0.1] == [own[-1] for own in table.values()]


def test_a_coefficient_that_one_seed_lacks_is_left_out(rows: pl.DataFrame) -> None:
    lacking = rows.filter(~((pl.col("seed") == 1001) & (pl.col("weight_decay") == 0.003)))
    assert times(lacking)[0] == [1e-3, 1e-2, 3e-2, 1e-1]
    with pytest.raises(LookupError, match=r"three λ and two seeds, found \[0.03, 0.1\] of 5"):
        times(rows.filter(pl.col("weight_decay") > 0.02))
    with pytest.raises(LookupError, match="of 1"):
        times(rows.filter(seed=1000))


def test_panels(rows: pl.DataFrame) -> None:
    lines = definitions_panel(rows).curves
    assert [line.label for line in lines] == [*(name.replace("-", " ") for name in WITHIN), "1/λ"]
    guide = lines[-1]
    assert guide.y[0] * guide.x[0] == pytest.approx(guide.y[-1] * guide.x[-1])
    (line,) = clock_panel({"all": rows}).curves
    assert max(line.y) / min(line.y) < 1.02
    narrow = clock_panel({"none": plant(STUDY, clock(per_tick="η")).filter(learning_rate=0.05)}).curves[0]
    assert max(narrow.y) / min(narrow.y) > 50


@pytest.mark.parametrize(("per_tick", "level"), [("ηλ/(1 − m)", True), ("ηλ", False)])
def test_decay_times_count_the_momentum(per_tick: str, level: bool) -> None:
    rows = plant(STUDY, clock(per_tick=per_tick)).filter(setting="momentum")
    (line,) = clock_panel({"all m": rows}).curves
    assert line.low
    assert line.high
    assert (line.high[0] < 1.05 * line.low[0]) is level  # else a factor of 2 and more


def test_a_band_is_the_range_over_seeds() -> None:
    line = banded({0.1: [2.0, 8.0], 0.01: [1.0, 1.0]}, "x")
    assert list(line.x) == [0.01, 0.1]
    assert list(line.y) == pytest.approx([1.0, 4.0])
    assert (line.low, line.high) == ([1.0, 2.0], [1.0, 8.0])
