"""CIFAR-10: the claims on curves of a known law, the plans, and one training of each kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from deeplimit.data import OVERALL, Chain, FixedPairs, Flip, Images, Mixup, PaddedCrop
from deeplimit.data.sets import SETS
from deeplimit.measures import HeldOut
from deeplimit.networks import Convolutional, WideResidual
from deeplimit.papers.lewkowycz2020.cifar import RATE, SMALL_STUDY, WIDE_STUDY
from deeplimit.papers.lewkowycz2020.contest import RULES
from deeplimit.papers.lewkowycz2020.reading import TEST, curves
from deeplimit.study import Study
from deeplimit.training import SGD, Batches, TrainingRun
from deeplimit.training.l2 import PublishedRule, RobustRule, Setting, convert
from tests.data.fakes import tiny_cifar
from tests.papers.lewkowycz2020.images import rows_of, shrunk
from tests.papers.lewkowycz2020.planted import clock, pictures, plant, rule, ruling, verdict

GOOD, BAD = rule(best=0.99, time=30.0), rule(best=0.95, time=3_000.0)


def runs(study: Study, tier: str) -> list[TrainingRun]:
    return [task for task in study.plan(tier) if isinstance(task, TrainingRun)]


def test_the_law_and_its_condition() -> None:
    rows = plant(SMALL_STUDY, clock())
    assert ruling(SMALL_STUDY, "1.cifar-fits", rows) == "reproduced"
    assert ruling(SMALL_STUDY, "1.cifar-slope", rows) == "reproduced"
    other = plant(SMALL_STUDY, clock(per_tick="η"), fitted=0.9)
    assert ruling(SMALL_STUDY, "1.cifar-fits", other) == "not reproduced"
    assert ruling(SMALL_STUDY, "1.cifar-slope", other) == "not reproduced"


@pytest.mark.parametrize(("study", "row", "tier"), [(SMALL_STUDY, "cifar", "paper"), (WIDE_STUDY, "wide", "full")])
def test_each_rule_against_the_best_constant(study: Study, row: str, tier: str) -> None:
    rows = plant(study, clock(), tier=tier, others={"published": GOOD, "robust": BAD})
    for what in ("final", "time"):
        assert ruling(study, f"6.{row}-{what}-published", rows, tier=tier) == "reproduced"
        assert ruling(study, f"6.{row}-{what}-robust", rows, tier=tier) == "not reproduced"


def test_smaller_tiers_measure_and_do_not_decide() -> None:
    for study, row, tier, seeds in ((SMALL_STUDY, "cifar", "quick", 1), (WIDE_STUDY, "wide", "paper", 3)):
        rows = plant(study, clock(), tier=tier, others=dict.fromkeys(RULES, GOOD))
        for what in ("final", "time"):
            found = verdict(study, f"6.{row}-{what}-published", rows, tier=tier)
            assert found.ruling == "undecided"
            assert found.measured is not None
            assert found.measured.sample == seeds


def test_pictures() -> None:
    assert pictures(SMALL_STUDY, plant(SMALL_STUDY, clock())) == {"cifar-clock": [6, 1], "cifar-autol2": [4, 2]}
    assert pictures(WIDE_STUDY, plant(WIDE_STUDY, clock())) == {"wide-residual": [4, 2]}
    quick = plant(SMALL_STUDY, clock(), tier="quick")
    clocks, contest = SMALL_STUDY.figures
    with pytest.raises(LookupError, match="t\\* of three λ"):
        clocks.panels(quick)  # no run is long enough
    assert [len(panel.curves) for panel in contest.panels(quick)] == [4, 2]  # type: ignore[union-attr]


def test_the_plan_of_the_small_network() -> None:
    quick, paper = runs(SMALL_STUDY, "quick"), runs(SMALL_STUDY, "paper")
    assert SMALL_STUDY.plan("full")[0].seeds == (*paper[0].seeds, 1003, 1004)  # type: ignore[attr-defined]
    assert {len(run.seeds) for run in quick} == {1}
    assert {len(run.seeds) for run in paper} == {3}
    assert {run.iterations for run in quick} == {300}
    steps = {run.labels["weight_decay"]: run.iterations for run in paper if run.rule is None}
    # Ten decay times (1 − m)/(ηλ) are 50/λ steps.
    assert steps == {0.1: 1_000, 0.03: 1_667, 0.01: 5_000, 0.003: 1_000, 0.001: 1_000, 0.0: 1_000}
    assert [run.rule for run in paper[-2:]] == [PublishedRule(classes=10), RobustRule(horizon=1_000)]
    for run in (*quick, *paper):
        assert isinstance(run.networks[0], Convolutional)
        assert run.augmentation is None
        assert run.optimizer == SGD(RATE, 0.9, float(run.labels["weight_decay"]))


def test_the_plan_of_the_wide_network_is_the_authors_recipe() -> None:
    paper, full = runs(WIDE_STUDY, "paper"), runs(WIDE_STUDY, "full")
    assert WIDE_STUDY.tiers == ("paper", "full")
    recipe = Chain((Flip(0.5), PaddedCrop(4, published=True), Mixup(1.0)))
    assert {run.augmentation for run in (*paper, *full)} == {recipe}
    assert {run.networks for run in paper} == {(WideResidual(1, 1, base=8),)}
    assert {run.networks for run in full} == {(WideResidual(blocks=4, widen=10),)}
    assert full[0].networks[0].depth == 28
    assert {run.batches for run in full} == {Batches(1024)}
    assert {run.iterations for run in full} == {9_600}  # 200 epochs of 48 steps
    assert {run.batches.per_epoch(getattr(run.data, "samples", 0)) for run in full if run.batches} == {48}
    assert {run.decay for run in full} == {None}
    assert [run.rule for run in full[-2:]] == [PublishedRule(classes=10), RobustRule(horizon=9_600)]


def test_the_wide_coefficients_are_the_authors_in_our_convention() -> None:
    authors = Setting(0.2, momentum=0.9, classes=10)
    own = {run.labels["setting"]: run.optimizer for run in runs(WIDE_STUDY, "full")[3:]}
    for setting, flag in (("published", 0.1), ("robust", 0.1)):
        found = convert(flag, authors, source="lewkowycz2020", target="house")
        optimizer = own[setting]
        assert isinstance(optimizer, SGD)
        assert optimizer.learning_rate == pytest.approx(found.learning_rate)
        assert optimizer.weight_decay == pytest.approx(found.weight_decay)
        assert optimizer.momentum == 0.9
    constant = convert(1e-4, authors, source="lewkowycz2020", target="house").weight_decay
    assert constant == pytest.approx(runs(WIDE_STUDY, "full")[1].labels["weight_decay"])


@pytest.mark.parametrize("study", [SMALL_STUDY, WIDE_STUDY])
def test_no_image_is_both_trained_on_and_looked_at(study: Study) -> None:
    for tier in study.tiers:
        for run in runs(study, tier):
            validation, test = (m for m in run.measures if isinstance(m, HeldOut))
            trained, aside, held = (
                p.pairs for p in (run.data, validation.data, test.data) if isinstance(p, FixedPairs)
            )
            assert isinstance(trained, Images)
            assert isinstance(aside, Images)
            assert isinstance(held, Images)
            assert (trained.samples or 0) <= aside.offset
            assert (trained.part, aside.part, held.part) == ("train", "train", "test")
            assert [own.scale for own in (trained, held)] == [OVERALL["cifar-10", part] for part in ("train", "test")]


@pytest.mark.parametrize("study", [SMALL_STUDY, WIDE_STUDY])
def test_one_of_each_kind_is_trained(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    planned = runs(study, "quick" if study is SMALL_STUDY else "paper")
    monkeypatch.setenv("DEEPLIMIT_DATA", str(tmp_path))
    monkeypatch.setitem(SETS, "cifar-10", tiny_cifar(tmp_path, batch=10))
    for task in (planned[0], *planned[-2:]):
        short = shrunk(task, train=30, validation=20, test=10, iterations=3)
        held = [dataclasses.replace(m, chunk=10) if isinstance(m, HeldOut) else m for m in short.measures]
        rows = rows_of(dataclasses.replace(short, measures=tuple(held), seeds=task.seeds[:1]))
        ((labels, times, values),) = curves(rows, TEST)
        assert labels["setting"] == task.labels["setting"]
        assert times[0] == 0
        assert all(0 <= value <= 1 for value in values)
        if task.rule is not None:
            ((_, changed, decays),) = curves(rows, "weight_decay")
            assert (changed[0], decays[0]) == (0, task.labels["weight_decay"])
