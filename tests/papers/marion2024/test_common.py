"""Selections of rows, and the two models of the paper."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from deeplimit.papers.marion2024.common import (
    AUTHORS_DRAW,
    by_iteration,
    cells,
    only,
    per_precision,
    printed,
    released,
    worst_exponent,
)


def rows(slopes: dict[int, float], seeds: int = 3) -> pl.DataFrame:
    """Power laws in depth: {iteration: exponent}."""
    return pl.DataFrame(
        [
            {"depth": L, "seed": seed, "iteration": t, "value": (1 + seed) * float(L) ** slope}
            for t, slope in slopes.items()
            for seed in range(seeds)
            for L in (2, 16, 64, 256)
        ]
    )


def test_only_keeps_the_rows_with_these_values() -> None:
    table = pl.DataFrame({"model": ["a", "b", "a"], "value": [1.0, 2.0, 3.0]})
    assert only(table, model="a")["value"].to_list() == [1.0, 3.0]


@pytest.mark.parametrize("columns", [{"model": "c"}, {"absent": 1}])
def test_only_says_what_is_missing(columns: dict[str, object]) -> None:
    with pytest.raises(LookupError, match="no rows with"):
        only(pl.DataFrame({"model": ["a"], "value": [1.0]}), **columns)


def test_worst_exponent_covers_every_group() -> None:
    found = worst_exponent(by_iteration(rows({50: -0.9, 100: -1.0})))
    assert found.value == pytest.approx(-1.0)
    assert [found.low, found.high] == pytest.approx([-1.0, -0.9])
    assert found.sample == 3


def test_worst_exponent_needs_groups() -> None:
    with pytest.raises(LookupError, match="no groups"):
        worst_exponent([])


def test_by_iteration_is_in_order_and_starts_where_it_is_told() -> None:
    groups = by_iteration(rows({100: -1.0, 50: -1.0, 1: -1.0}), first=50)
    assert [group["iteration"][0] for group in groups] == [50, 100]


def test_a_deterministic_number_takes_its_range_over_precisions() -> None:
    table = pl.DataFrame({"dtype": ["float32", "float64"], "value": [1.5, 1.0]})
    found = per_precision(table)
    assert (found.value, found.low, found.high, found.sample) == (1.0, 1.0, 1.5, 2)


def test_two_values_for_a_precision_are_refused() -> None:
    with pytest.raises(LookupError, match="one value for each precision"):
        per_precision(pl.DataFrame({"dtype": ["float64", "float64"], "value": [1.0, 2.0]}))


def test_cells_of_some_depths() -> None:
    assert cells({50: {2: 0.4, 16: 0.1}, 100: {2: 1.6}}, [2]) == {(50, 2): 0.4, (100, 2): 1.6}


def test_both_models_start_from_the_same_numbers_and_differ_by_their_factors() -> None:
    one, other = released(4, 32), printed(4, 32)
    theta = one.initialise(AUTHORS_DRAW.stream(2))
    assert all(torch.equal(p, other.initialise(AUTHORS_DRAW.stream(2))[role]) for role, p in theta.items())
    theta["V"] = theta["V"] + 1
    x = torch.zeros(1, 16)
    assert torch.equal(one(theta, x), x)  # σ(0) = 0
    x = torch.ones(1, 16)
    assert not torch.allclose(one(theta, x), other(theta, x))
