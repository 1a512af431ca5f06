"""Exponents and curves from rows."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.cohen2021.rows import (
    curve,
    layers_panel,
    product,
    slope,
    statistics_panels,
)
from deeplimit.statistics import STATISTICS

DEPTHS = (4, 8, 16, 32, 64)


def table(exponents: dict[str, float], setting: str = "s") -> pl.DataFrame:
    rows = [
        {
            "setting": setting,
            "depth": L,
            "seed": seed,
            "quantity": q,
            "value": (1 + seed) * float(L) ** p,
            "index": None,
        }
        for q, p in exponents.items()
        for L in DEPTHS
        for seed in range(3)
    ]
    return pl.DataFrame(rows)


def test_a_product_has_the_sum_of_the_exponents():
    rows = table({"a": 0.5, "b": -0.75})
    assert slope("s", {"a": 1.0, "b": 2.0})(rows).value == pytest.approx(-1.0)
    assert slope("s", "a")(rows).value == pytest.approx(0.5)
    found = product(rows, {"a": 1.0, "b": -1.0})
    assert found.filter(pl.col("depth") == 16)["value"].to_list() == pytest.approx([16**1.25] * 3)
    with pytest.raises(LookupError, match="quantity"):
        product(rows, {"c": 1.0})


def test_signs_turn_the_interval_and_ends_are_kept():
    rows = table({"a": 0.5}).with_columns(value=pl.col("value") * pl.col("depth") ** (0.01 * pl.col("seed")))
    up, down = slope("s", "a")(rows), slope("s", "a", sign=-1.0, at_0=1.0)(rows)
    assert (down.value, down.low, down.high) == pytest.approx((1 - up.value, 1 - up.high, 1 - up.low))
    assert up.low < up.value < up.high
    bent = pl.concat(
        [rows.filter(pl.col("depth") < 32), rows.filter(pl.col("depth") >= 32).with_columns(value=pl.lit(9.9))]
    )
    assert slope("s", "a", last=16)(bent).value == pytest.approx(up.value)
    assert slope("s", "a")(bent).value != pytest.approx(up.value, abs=0.01)


def test_a_seed_that_lacks_a_depth_gives_no_exponent():
    rows = table({"a": 0.5}).filter(~((pl.col("depth") == 16) & (pl.col("seed") == 1)))
    with pytest.raises(LookupError):
        slope("s", "a")(rows)


def test_a_curve_is_the_geometric_mean_with_its_slope():
    found = curve(table({"a": -0.5}), "a", factor=1.0)
    assert found.label == "a: +0.50"
    assert list(found.y) == pytest.approx([6 ** (1 / 3) * L**0.5 for L in DEPTHS])
    assert found.low is not None
    assert list(found.low) == pytest.approx([L**0.5 for L in DEPTHS])


def test_the_panels_of_a_role():
    rows = table({f"statistic.{name}.A": -0.2 for name in STATISTICS})
    paper, others = statistics_panels(rows, "A", factor=0.2)
    assert [c.label for c in paper.curves] == [
        "max norm: -0.20",
        "increments · L^0.2: +0.00",
        "root sum of squares: -0.20",
    ]
    assert len(others.curves) == 3


def test_layers_are_those_of_the_deepest_network_of_the_first_seed():
    rows = pl.DataFrame(
        [
            {"quantity": "entry.A", "depth": L, "seed": seed, "index": k, "value": float(10 * seed + k)}
            for L in (2, 4)
            for seed in (5, 6)
            for k in range(1, L + 1)
        ]
    )
    (one,) = layers_panel(rows, "entry.A", ylabel="A").curves
    assert list(one.y) == [51.0, 52.0, 53.0, 54.0]
    (sums,) = layers_panel(rows, "entry.A", ylabel="A", sums=True).curves
    assert list(sums.y) == [51.0, 103.0, 156.0, 210.0]
