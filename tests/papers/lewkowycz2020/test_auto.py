"""AutoL2 against constants on curves of a known law, the plan, and one training of a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplimit.measures import Geometric
from deeplimit.papers.lewkowycz2020.auto import START, STUDY
from deeplimit.papers.lewkowycz2020.budgets import STUDY as BUDGETS_STUDY
from deeplimit.papers.lewkowycz2020.contest import RULES
from deeplimit.papers.lewkowycz2020.mnist import BUDGETS, RATE
from deeplimit.papers.lewkowycz2020.reading import VALIDATION, curves
from deeplimit.records import run_id
from deeplimit.training import SGD, TrainingRun
from deeplimit.training.l2 import PublishedRule, RobustRule
from tests.papers.lewkowycz2020.images import rows_of, shrunk
from tests.papers.lewkowycz2020.planted import clock, never, pictures, plant, rule, ruling, verdict
from tests.papers.marion2025.mnist import use_tiny_mnist

GOOD, BAD = rule(best=0.99, time=300.0), rule(best=0.97, time=3_000.0)
FINAL, TIME = (tuple(f"6.{what}-{name}" for name in RULES) for what in ("final", "time"))


def divided(run: TrainingRun, start: float, *, waiting: float = 1.5) -> dict[int, float]:
    """By ten, each time after so many delays of the authors' rule."""
    own, decay, step, found = PublishedRule(classes=10), start, 0, {0: start}
    for _ in range(2):
        step += round(waiting * own.delay / own.flag(decay))
        decay /= 10
        found[step] = decay
    return found


@pytest.mark.parametrize("good", RULES)
def test_each_rule_is_judged_by_its_own_runs(good: str) -> None:
    rows = plant(STUDY, clock(), others=dict.fromkeys(RULES, BAD) | {good: GOOD}, divide=divided)
    for name in RULES:
        expected = "reproduced" if name == good else "not reproduced"
        assert ruling(STUDY, f"6.final-{name}", rows) == expected
        assert ruling(STUDY, f"6.time-{name}", rows) == expected


def test_better_and_faster_are_two_things() -> None:
    rows = plant(STUDY, clock(), others=dict.fromkeys(RULES, rule(best=0.99, time=1_300.0)), divide=divided)
    assert {ruling(STUDY, name, rows) for name in FINAL} == {"reproduced"}
    assert {ruling(STUDY, name, rows) for name in TIME} == {"not reproduced"}


def test_divisions_within_the_delay_are_counted() -> None:
    late = plant(STUDY, clock(), divide=divided)
    assert ruling(STUDY, "6.refractory", late, tier="quick") == "reproduced"
    early = plant(STUDY, clock(), divide=lambda run, start: divided(run, start, waiting=0.9))
    found = verdict(STUDY, "6.refractory", early)
    assert found.ruling == "not reproduced"
    assert found.measured is not None
    assert found.measured.value == 10  # two of each of five seeds
    none = verdict(STUDY, "6.refractory", plant(STUDY, clock(), divide=never))
    assert none.reason == "not measured: λ was never divided"


def test_the_quick_tier_is_measured_too() -> None:
    rows = plant(STUDY, clock(), tier="quick", others=dict.fromkeys(RULES, GOOD), divide=divided)
    for name in (*FINAL, *TIME):
        found = verdict(STUDY, name, rows, tier="quick")
        assert found.ruling == "undecided"
        assert found.measured is not None
        assert found.measured.sample == 2
    assert pictures(STUDY, rows) == {"autol2": [4, 2]}


def test_pictures() -> None:
    assert pictures(STUDY, plant(STUDY, clock(), divide=divided)) == {"autol2": [4, 2]}


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_the_plan_has_the_constants_of_the_budgets_and_two_rules(tier: str) -> None:
    tasks, constants = STUDY.plan(tier), BUDGETS_STUDY.plan(tier)
    assert [run_id(task) for task in tasks[:-2]] == [run_id(task) for task in constants]
    budget = BUDGETS.at(tier)[0]
    rules = [task for task in tasks[-2:] if isinstance(task, TrainingRun)]
    for task in rules:
        assert task.optimizer == SGD(RATE, weight_decay=START)
        assert task.iterations == budget
        assert len(task.seeds) == {"quick": 2, "paper": 5}[tier]
    # The coefficients of the authors' rule, and those of ours that the budget sets.
    published = PublishedRule(classes=10, factor=10.0, delay=0.1, every=10)
    assert [task.rule for task in rules] == [published, RobustRule(horizon=budget)]


def test_a_rule_is_trained_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tasks = STUDY.plan("quick")[-2:]
    use_tiny_mnist(monkeypatch, tmp_path, train=60, test=10)
    for task in tasks:
        assert isinstance(task, TrainingRun)
        rows = rows_of(shrunk(task, train=40, validation=20, test=10, iterations=40))
        decays = [found for _, _, found in curves(rows, "weight_decay")]
        assert [found[0] for found in decays] == [START, START]
        due = tuple(t for t in range(41) if Geometric(16).due(t, final=t == 40))
        assert [tuple(times) for _, times, _ in curves(rows, VALIDATION)] == [due, due]
