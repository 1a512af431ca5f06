from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.lewkowycz2020.auto import STUDY
from deeplimit.papers.lewkowycz2020.clock import STUDY as CLOCK
from deeplimit.papers.lewkowycz2020.contest import (
    RULES,
    best_constant,
    budget_of,
    claims,
    constants_of,
    figure,
    final,
    gain,
    haste,
    rules,
)
from deeplimit.papers.lewkowycz2020.mnist import BUDGETS, RATE
from deeplimit.papers.lewkowycz2020.reading import VALIDATION
from deeplimit.training.l2 import PublishedRule, RobustRule
from tests.papers.lewkowycz2020.planted import clock, plant, rule

BUDGET = BUDGETS.at("paper")[0]
LAWS = {"published": rule(best=0.99, time=100.0), "robust": rule(best=0.97, time=2_000.0)}


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return plant(STUDY, clock(), others=LAWS)


@pytest.fixture(scope="module")
def constants(rows: pl.DataFrame) -> pl.DataFrame:
    return constants_of(rows)


def test_what_is_compared_is_read_off_the_rows(rows: pl.DataFrame, constants: pl.DataFrame) -> None:
    assert budget_of(rows) == BUDGET
    assert set(constants["setting"]) == {"constant"}
    several = pl.concat([rows, plant(CLOCK, clock())])
    assert set(several.filter(setting="constant")["learning_rate"]) == {RATE / 2, RATE, 2 * RATE}
    assert set(constants_of(several)["learning_rate"]) == {RATE}


def test_only_runs_as_long_as_the_budget_are_compared(constants: pl.DataFrame) -> None:
    table = final(constants, BUDGET)
    assert sorted(table) == [1000, 1001, 1002, 1003, 1004]
    assert set(table[1000]) == {0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.0}  # λ = 0.1 is over before
    with pytest.raises(LookupError, match="no run lasts 400000 steps"):
        final(constants, 400_000)


def test_the_best_constant_is_chosen_on_validation_images(constants: pl.DataFrame) -> None:
    assert best_constant(constants, BUDGET) == 0.01
    assert best_constant(constants, 20_000) == 0.003
    validation_of_none = (pl.col("quantity") == VALIDATION) & (pl.col("weight_decay") == 0.0)
    swapped = constants.with_columns(value=pl.when(validation_of_none).then(0.99).otherwise("value"))
    assert best_constant(swapped, BUDGET) == 0.0


def test_a_gain_is_by_seed_on_test_images(rows: pl.DataFrame, constants: pl.DataFrame) -> None:
    table = final(constants, BUDGET)
    better, worse = (gain(setting)(rows) for setting in LAWS)
    assert better.value == pytest.approx(0.99 - sum(own[0.01] for own in table.values()) / 5)
    assert better.sample == 5
    assert better.value > 0.01 > 0 > worse.value


def test_haste_is_steps_over_steps(rows: pl.DataFrame) -> None:
    fast, slow = (haste(setting)(rows) for setting in LAWS)
    # 0.99 − 0.5 exp(−t/100) comes to 0.98 after some 400 steps, the constant after two decay times of 2,000 steps.
    assert 0.05 < fast.value < 0.2
    assert slow.value > 1
    assert "a lower bound" not in fast.note
    assert "5 of 5 seeds do not come to it" in slow.note


def test_what_is_known_before_training_takes_some_time() -> None:
    known = plant(STUDY, lambda step, labels: 0.9)
    assert haste("published")(known).value == 1.0


def test_the_figure(rows: pl.DataFrame) -> None:
    shown = figure("name", "a network", where="Figure 1c")
    assert (shown.id, shown.where) == ("name", "Figure 1c")
    accuracies, stairs = shown.panels(rows)
    lines = list(accuracies.curves)  # type: ignore[union-attr]
    assert [line.label for line in lines] == [*RULES.values(), "λ = 0.01", "no L2"]
    assert [line.label for line in stairs.curves] == list(RULES.values())  # type: ignore[union-attr]
    assert [line.x[-1] for line in (*lines, *stairs.curves)] == pytest.approx([BUDGET] * 6, rel=0.1)  # type: ignore[union-attr]
    top = max(max(line.y) for line in lines)
    assert all(min(line.y) > 0.9 * top for line in lines[:3])
    assert len(lines[3].y) == 1  # never near: its end alone


def test_without_l2_is_drawn_once() -> None:
    best = plant(STUDY, clock(), others={"constant": lambda step, labels: 0.9 - labels["weight_decay"]} | LAWS)
    (accuracies, _) = figure("name", "a network", where="").panels(best)
    assert [line.label for line in accuracies.curves] == [*RULES.values(), "λ = 0"]  # type: ignore[union-attr]


def test_a_staircase_changes_where_the_coefficient_does() -> None:
    rows = plant(STUDY, clock(), others=LAWS, divide=lambda run, start: {0: start, 40: start / 10, 500: start / 100})
    line = figure("name", "a network", where="").panels(rows)[1].curves[0]  # type: ignore[union-attr]
    assert list(line.x) == [1, 40, 40, 500, 500, BUDGET]
    assert list(line.y) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_both_rules_and_their_claims() -> None:
    assert rules(700) == {"published": PublishedRule(classes=10), "robust": RobustRule(horizon=700)}
    found = list(claims("x-", "a network", tiers=("full",)))
    assert [claim.id.removeprefix("lewkowycz2020.6.x-") for claim in found] == [
        f"{what}-{name}" for name in RULES for what in ("final", "time")
    ]
    assert {claim.tiers for claim in found} == {("full",)}
