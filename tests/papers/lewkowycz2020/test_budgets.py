"""The best coefficient for a budget, on curves of a known law."""

from __future__ import annotations

import math

import polars as pl
import pytest

from deeplimit.papers.lewkowycz2020.budgets import PROBE_DECAY, PROBE_SHARE, STUDY, best_decay, budgets, predictions
from deeplimit.papers.lewkowycz2020.clock import STUDY as CLOCK
from deeplimit.papers.lewkowycz2020.mnist import BUDGETS
from deeplimit.records import run_id
from tests.papers.lewkowycz2020.planted import Law, clock, pictures, plant, ruling, verdict

PREDICTED, GAPS = (tuple(f"5.{what}-{size}" for size in ("smaller", "larger")) for what in ("predicted", "gap"))
SUDDEN = clock(gain=0.0065, ticks=0.7, steep=20, cost=0.09)
"""A small gain that comes suddenly: a prediction between two λ of the grid is then nearly as good as the better of them."""


def test_where_the_law_holds_every_claim_does() -> None:
    rows = plant(STUDY, SUDDEN)
    for claim in STUDY.claims:
        assert ruling(STUDY, claim.id.removeprefix("lewkowycz2020."), rows) == "reproduced", claim.id


@pytest.mark.parametrize(
    ("law", "fail"),
    [
        (clock(per_tick="η"), ("3.interior-small", "3.budget-slope", *PREDICTED)),
        (clock(cost=0.0, gain=0.01), ("3.interior-large",)),
        (clock(cost=0.3), ("4.plateau",)),
        (clock(cost=-0.3), ("4.rise",)),
        (clock(gain=0.5, ticks=0.6, steep=20), GAPS),
    ],
)
def test_where_it_does_not_they_do_not(law: Law, fail: tuple[str, ...]) -> None:
    rows = plant(STUDY, law)
    for name in fail:
        assert ruling(STUDY, name, rows) == "not reproduced", name


def test_a_prediction_is_what_the_probe_s_clock_says() -> None:
    rows = plant(STUDY, clock())
    for budget in BUDGETS.at("paper"):
        found = predictions(rows, budget)
        assert sorted(found) == [1000, 1001, 1002, 1003, 1004]
        for prediction in found.values():
            assert prediction.time < PROBE_SHARE * budget
            assert prediction.value == pytest.approx(PROBE_DECAY * prediction.time / budget)
            assert prediction.clock == pytest.approx(0.05 * PROBE_DECAY * prediction.time)


def test_a_probe_that_learns_nothing_decides_nothing() -> None:
    rows = plant(
        STUDY, clock(), others={"constant": lambda step, labels: 0.1 if labels["weight_decay"] == 0.1 else 0.9}
    )
    for name in (*PREDICTED, *GAPS):
        found = verdict(STUDY, name, rows)
        assert found.ruling == "undecided"
        assert found.measured is not None
        assert math.isnan(found.measured.value)


def test_the_best_coefficient_is_between_those_of_the_grid() -> None:
    peak = {decay: -((math.log10(decay) + 2.2) ** 2) for decay in (0.1, 0.01, 0.001)}
    assert best_decay(peak | {0.0: 9.0}) == pytest.approx(10**-2.2)
    assert best_decay({0.1: 3.0, 0.01: 2.0, 0.001: 1.0}) == 0.1
    assert best_decay({0.1: 1.0, 0.01: 1.0, 0.001: 1.0}) == 0.001


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_budgets_are_those_of_the_tier(tier: str) -> None:
    rows = plant(STUDY, clock(), tier=tier)
    assert budgets(rows) == BUDGETS.at(tier)
    assert pictures(STUDY, rows) == {"budgets": [3, 2]}
    with pytest.raises(LookupError, match="no run without L2 of the length of a budget"):
        budgets(rows.filter(pl.col("iteration") < 4_000))


def test_runs_of_different_coefficients_are_not_compared() -> None:
    rows = plant(STUDY, clock())
    uneven = rows.filter(~((pl.col("seed") == 1001) & (pl.col("weight_decay") == 0.003)))
    assert verdict(STUDY, "4.plateau", uneven).reason.startswith(
        "not measured: expected the best accuracies of the same"
    )


@pytest.mark.parametrize("tier", ["quick", "paper", "full"])
def test_its_runs_are_those_of_the_clock(tier: str) -> None:
    own, clocks = ({run_id(task) for task in study.plan(tier)} for study in (STUDY, CLOCK))
    assert own
    assert own <= clocks
