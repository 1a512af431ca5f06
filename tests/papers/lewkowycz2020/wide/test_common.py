from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.lewkowycz2020.wide.common import (
    against_clock,
    claim,
    extreme,
    in_width,
    mean_largest,
    mean_of_rows,
    over_time,
)
from tests.papers.lewkowycz2020.wide.cases import power_law, rows


def course() -> pl.DataFrame:
    """Three iterations of eight seeds, the second the largest."""
    values = ((0.0, 1.0), (0.5, 4.0), (1.0, 2.0))
    return pl.concat([rows("gap", value, clock=clock, iteration=round(10 * clock)) for clock, value in values])


def test_the_largest_value_along_a_run_within_a_window():
    assert over_time(course(), "gap", until=1.0).filter(seed=0)["value"].to_list() == [4.0]
    assert over_time(course(), "gap", until=0.4).filter(seed=0)["value"].to_list() == [1.0]
    assert over_time(course(), "gap", since=0.6, until=1.0).filter(seed=0)["value"].to_list() == [2.0]
    with pytest.raises(LookupError, match="no rows with quantity = other"):
        over_time(course(), "other", until=1.0)


def test_means_over_seeds_have_an_interval():
    found = mean_largest("gap", until=1.0)(course())
    assert found.value == pytest.approx(4.014)
    assert found.low < 4.014 < found.high
    assert found.sample == 8
    with pytest.raises(LookupError, match="one value for each of at least two seeds, found 24"):
        mean_of_rows(course())


def test_exponents_extremes_and_curves():
    found = power_law("gap", -1.0, clock=0.0, iteration=0)
    assert in_width("gap", until=1.0)(found).value == pytest.approx(-1)
    assert extreme("largest", found).value == found["value"].max()
    assert extreme("least", found).value == found["value"].min()
    curve = against_clock(course(), "gap", label="gap")
    assert list(curve.x) == [0.0, 0.5, 1.0]
    assert curve.label == "gap"


def test_claims_are_theorems_unless_they_say_otherwise():
    made = claim("a.b", "x", quantity="q", measure=mean_of_rows, band=(1.0, 0.5), source="derived")
    assert (made.id, made.source, made.where) == ("lewkowycz2020.8.a.b", "derived", "Theorem 1")
