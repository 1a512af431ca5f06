from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from deeplimit.figures import Panel
from deeplimit.papers.cohen2021.limits.common import claim, largest, panel, slope
from tests.papers.cohen2021.limits.cases import power_laws


def test_a_slope_is_that_of_the_rows_with_the_given_values():
    rows = pl.concat([power_laws("error", -1.0, kind=1), power_laws("error", -0.5, kind=2)])
    assert slope("error", kind=2)(rows).value == pytest.approx(-0.5)
    squared = rows.with_columns(units=pl.col("depth").cast(pl.Float64) ** 2)
    assert slope("error", "units", kind=1)(squared).value == pytest.approx(-0.5)


def test_the_largest_comes_with_the_range_of_all():
    rows = pl.DataFrame({"quantity": ["a", "a", "b"], "seed": [0, 1, 2], "value": [2.0, 5.0, 9.0]})
    found = largest(quantity="a")(rows)
    assert (found.value, found.low, found.high, found.sample) == (5.0, 2.0, 5.0, 2)
    with pytest.raises(LookupError):
        largest(quantity="c")(rows)


def test_the_first_curves_have_guides_of_their_own():
    rows = pl.concat([power_laws("a", -1.0), power_laws("b", -0.5)])
    drawn = panel(rows, {"first": {"quantity": "a"}, "second": {"quantity": "b"}}, slopes=(-2.0,), labels=("L", "y"))
    assert isinstance(drawn, Panel)
    assert [curve.label for curve in drawn.curves] == ["first", "second", "slope -2"]
    assert (drawn.xlabel, drawn.ylabel) == ("L", "y")


def test_a_claim_asks_for_5_seeds_unless_told_otherwise():
    facts: dict[str, Any] = {"quantity": "q", "measure": largest(quantity="a"), "band": (1.0, 0.1)}
    plain = claim("1.a", "a", **facts)
    assert (plain.id, plain.expected, plain.tolerance, plain.minimum_sample) == ("cohen2021.1.a", 1.0, 0.1, 5)
    told = claim("1.a", "a", **facts, relation="at most", minimum_sample=1)
    assert (told.relation, told.minimum_sample) == ("at most", 1)
