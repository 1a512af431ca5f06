"""The claims of the time law on curves of a known law, and the plan."""

from __future__ import annotations

import math

import polars as pl
import pytest

from deeplimit.measures import HeldOut
from deeplimit.papers.lewkowycz2020.clock import FEW_LAW, MOMENTA, RATES, STUDY
from deeplimit.papers.lewkowycz2020.law import WITHIN
from deeplimit.papers.lewkowycz2020.mnist import LAW, RATE
from deeplimit.training import SGD, TrainingRun
from tests.papers.lewkowycz2020.planted import Law, clock, pictures, plant, ruling, verdict

SLOPES = [f"1.{kind}slope-{name}" for kind in ("", "few-") for name in WITHIN]


@pytest.fixture(scope="module")
def lawful() -> pl.DataFrame:
    return plant(STUDY, clock())


def test_where_the_law_holds_every_claim_does(lawful: pl.DataFrame) -> None:
    for claim in STUDY.claims:
        assert ruling(STUDY, claim.id.removeprefix("lewkowycz2020."), lawful) == "reproduced", claim.id
    for name in (*SLOPES, "10.slope-test"):
        found = verdict(STUDY, name, lawful).measured
        assert found is not None
        assert found.value == pytest.approx(-1, abs=0.02)
        assert found.sample == 5


@pytest.mark.parametrize(
    ("per_tick", "fail"),
    [
        ("η", {*SLOPES, "10.slope-test", "2.momentum-0.5", "2.momentum-0.9"}),
        ("λ/(1 − m)", {"2.collapse"}),
        ("ηλ", {"2.momentum-0.5", "2.momentum-0.9"}),
    ],
)
def test_a_clock_that_leaves_something_out_is_found_out(per_tick: str, fail: set[str]) -> None:
    rows = plant(STUDY, clock(per_tick=per_tick))
    for name in fail:
        assert ruling(STUDY, name, rows) == "not reproduced", name
    if "2.collapse" not in fail:
        assert ruling(STUDY, "2.collapse", rows) == "reproduced"


def test_the_paper_s_variant_reads_the_test_set(lawful: pl.DataFrame) -> None:
    other = plant(STUDY, clock(per_tick="η"))
    rows = pl.concat([lawful.filter(quantity="validation.accuracy"), other.filter(quantity="test.accuracy")])
    assert ruling(STUDY, "1.slope-0.5-point", rows) == "reproduced"
    assert ruling(STUDY, "10.slope-test", rows) == "not reproduced"


def test_a_distance_above_what_l2_gains_reads_when_the_network_has_learned() -> None:
    rows = plant(STUDY, clock(gain=0.007))
    assert ruling(STUDY, "1.slope-0.25-point", rows) == "reproduced"
    assert ruling(STUDY, "1.slope-1-point", rows) == "not reproduced"


def late(base: Law) -> Law:
    """Small λ gain again in the second half of their runs."""

    def accuracy(step: int, labels: dict[str, float]) -> float:
        again = labels["weight_decay"] < 0.02 and labels["learning_rate"] * labels["weight_decay"] * step > 7
        return base(step, labels) + 0.015 * again

    return accuracy


def test_a_slope_that_moves_with_the_horizon_does_not_count() -> None:
    assert ruling(STUDY, "1.slope-halved", plant(STUDY, late(clock()))) == "not reproduced"


def test_an_accuracy_that_rises_to_the_end_whatever_the_coefficient_has_no_t_star() -> None:
    rows = plant(STUDY, lambda step, labels: 0.5 + 0.03 * math.log(1 + step))
    assert ruling(STUDY, "1.slope-0.5-point", rows) == "reproduced"  # t* is a share of the horizon
    assert ruling(STUDY, "1.slope-halved", rows) == "reproduced"
    assert ruling(STUDY, "1.time-halved", rows) == "not reproduced"


def test_the_quick_tier_measures_and_does_not_decide() -> None:
    rows = plant(STUDY, clock(), tier="quick")
    found = verdict(STUDY, "1.slope-0.5-point", rows, tier="quick")
    assert found.ruling == "undecided"
    assert found.measured is not None
    assert found.measured.value == pytest.approx(-1, abs=0.01)
    against, few, momenta, curves = STUDY.figures
    assert [[len(panel.curves) for panel in figure.panels(rows)] for figure in (against, curves)] == [[6, 1], [5, 5]]  # type: ignore[union-attr]
    for figure, setting in ((few, "few"), (momenta, "momentum")):
        with pytest.raises(LookupError, match=f"setting = {setting}"):
            figure.panels(rows)


def test_the_collapse_takes_three_learning_rates(lawful: pl.DataFrame) -> None:
    found = verdict(STUDY, "2.collapse", lawful.filter(learning_rate=RATE))
    assert found.ruling == "undecided"
    assert "expected three learning rates, found [0.05]" in found.reason


def test_the_curves_of_the_figures(lawful: pl.DataFrame) -> None:
    assert pictures(STUDY, lawful) == {
        "clock": [6, 3],
        "clock-few": [6, 2],
        "clock-momentum": [2],
        "clock-curves": [7, 7],
    }
    against, collapsed = STUDY.figures[0].panels(lawful)
    assert [curve.label for curve in against.curves][-1] == "1/λ"  # type: ignore[union-attr]
    (momenta,) = STUDY.figures[2].panels(lawful)
    line, guide = momenta.curves  # type: ignore[union-attr]
    assert list(line.x) == pytest.approx([0.1, 0.5, 1.0])
    assert list(line.y) == pytest.approx(list(guide.y), rel=0.01)
    for curve in collapsed.curves:  # type: ignore[union-attr]
        assert max(curve.y) / min(curve.y) < 1.05, curve.label
    with pytest.raises(LookupError, match="curves of two λ, found 1"):
        STUDY.figures[3].panels(lawful.filter(weight_decay=LAW.at("paper")[0]))


def test_the_plan() -> None:
    quick, paper = (STUDY.plan(tier) for tier in ("quick", "paper"))
    assert (len(quick), len(paper)) == (6, 8 + 3 * len(RATES) + len(MOMENTA) + len(FEW_LAW))
    assert STUDY.plan("full") == paper
    for task in paper:
        assert isinstance(task, TrainingRun)
        assert isinstance(task.optimizer, SGD)
        rate, decay, momentum = (task.labels[name] for name in ("learning_rate", "weight_decay", "momentum"))
        assert (rate, decay, momentum) == (
            task.optimizer.learning_rate,
            task.optimizer.weight_decay,
            task.optimizer.momentum,
        )
        assert [m.name for m in task.measures if isinstance(m, HeldOut)] == ["validation", "test"]
    runs = [task for task in paper if isinstance(task, TrainingRun)]
    assert [run.iterations for run in runs if run.labels["setting"] == "momentum"] == [16_667, 8_333, 1_667]
    few = [run for run in runs if run.labels["setting"] == "few"]
    assert [run.iterations for run in few] == [2_000, 6_667, 20_000, 66_667]
    assert {run.data.samples for run in few} == {1_000}  # type: ignore[attr-defined]
