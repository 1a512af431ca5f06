"""Schedules, decoupled decay and the narrow network, on curves of a known law."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplimit.papers.lewkowycz2020.mnist import RATE
from deeplimit.papers.lewkowycz2020.reading import TEST, curves
from deeplimit.papers.lewkowycz2020.variants import (
    ADAM_DECAYS,
    ADAM_RATE,
    FACTOR,
    NARROW,
    NARROW_DECAYS,
    SCHEDULED,
    STUDY,
)
from deeplimit.training import SGD, Adam, StepDecay, TrainingRun
from tests.papers.lewkowycz2020.images import rows_of, shrunk
from tests.papers.lewkowycz2020.planted import clock, pictures, plant, ruling, verdict
from tests.papers.marion2025.mnist import use_tiny_mnist

LAWFUL, FREE = clock(), clock(per_tick="η")
SCHEDULES = ("schedule-5000", "schedule-15000")


def test_each_claim_reads_its_own_runs() -> None:
    rows = plant(STUDY, LAWFUL, others={"narrow": clock(per_tick="η", ticks=0.5)}, fitted=0.9)
    assert ruling(STUDY, "7.schedule", rows) == "reproduced"
    assert ruling(STUDY, "7.decoupled", rows) == "reproduced"
    assert ruling(STUDY, "9.narrow-cannot-fit", rows) == "reproduced"
    narrow = verdict(STUDY, "9.narrow", rows)
    assert narrow.ruling == "not reproduced"
    assert narrow.as_expected


def test_other_laws_come_out_otherwise() -> None:
    rows = plant(STUDY, LAWFUL, others=dict.fromkeys((*SCHEDULES, "AdamW"), FREE), fitted=1.0)
    assert ruling(STUDY, "7.schedule", rows) == "not reproduced"
    assert ruling(STUDY, "7.decoupled", rows) == "not reproduced"
    assert ruling(STUDY, "9.narrow-cannot-fit", rows) == "not reproduced"
    assert verdict(STUDY, "9.narrow", rows).as_expected is False


def test_one_budget_has_no_slope() -> None:
    rows = plant(STUDY, LAWFUL).filter(setting="schedule-5000")
    assert verdict(STUDY, "7.schedule", rows).reason == "not measured: expected two budgets with a schedule, found 1"


def test_pictures() -> None:
    assert pictures(STUDY, plant(STUDY, LAWFUL)) == {"variants": [2, 2]}


def test_the_plan() -> None:
    tasks = [task for task in STUDY.plan("paper") if isinstance(task, TrainingRun)]
    own = {name: [t for t in tasks if t.labels["setting"] == name] for name in (*SCHEDULES, "AdamW", "narrow")}
    assert sum(map(len, own.values())) == len(tasks)
    assert [t.optimizer for t in own["AdamW"]] == [Adam(ADAM_RATE, weight_decay=d, decoupled=True) for d in ADAM_DECAYS]
    assert [t.iterations for t in own["AdamW"]] == [3_333, 10_000, 33_333]
    assert [t.labels["weight_decay"] for t in own["narrow"]] == list(NARROW_DECAYS)
    assert {t.networks for t in own["narrow"]} == {(NARROW,)}
    for name in SCHEDULES:
        assert [t.labels["weight_decay"] for t in own[name]] == list(SCHEDULED)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rate_falls_at_three_tenths_six_tenths_and_nine_tenths(name: str) -> None:
    budget = int(name.split("-")[1])
    for task in STUDY.plan("paper"):
        if isinstance(task, TrainingRun) and task.labels["setting"] == name:
            assert task.iterations == budget
            assert isinstance(task.decay, StepDecay)
            epochs = budget // 500
            rates = [task.decay(SGD(1.0), epoch).learning_rate for epoch in range(epochs)]
            changes = [epoch / epochs for epoch in range(1, epochs) if rates[epoch] != rates[epoch - 1]]
            assert changes == pytest.approx([0.3, 0.6, 0.9])
            assert rates[-1] == pytest.approx(FACTOR**3)


def test_one_of_each_kind_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kinds = {str(task.labels["setting"]): task for task in STUDY.plan("paper", 2) if isinstance(task, TrainingRun)}
    assert len(kinds) == 4
    use_tiny_mnist(monkeypatch, tmp_path, train=60, test=10)
    for name, task in kinds.items():
        rows = rows_of(shrunk(task, train=40, validation=20, test=10, iterations=12))
        found = list(curves(rows, TEST))
        assert [labels["setting"] for labels, _, _ in found] == [name] * 2
        rate = ADAM_RATE if name == "AdamW" else RATE
        assert all(labels["learning_rate"] == rate and times[-1] == 12 for labels, times, _ in found)
