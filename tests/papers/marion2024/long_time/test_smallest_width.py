from __future__ import annotations

import dataclasses
import itertools

import polars as pl
import pytest

from deeplimit.measures import Loss
from deeplimit.papers.marion2024.long_time.smallest_width import LinearWidth, TrainedWidth, smallest
from deeplimit.papers.marion2024.long_time.strict import strict, strict_data
from deeplimit.records import Checkpoint, Context, frame
from deeplimit.training import GradientFlow, TrainingRun
from tests.papers.marion2024.long_time.cases import ruling, run_of


@pytest.mark.parametrize("least", [1, 3, 64])
def test_bisection_finds_the_first_that_passes(least: int) -> None:
    tried: list[int] = []

    def passed(m: int) -> bool:
        tried.append(m)
        return m >= least

    assert smallest(range(1, 65), passed) == least
    assert len(tried) <= 7


def test_bisection_says_when_none_passes():
    assert smallest((1, 2, 4), lambda m: False) is None


def test_small_targets_train_as_their_limit_says():
    task = run_of(4, 3, width=6, target=1e-6, rate=0.01, iterations=600)
    losses = frame(task.run(Context())).filter(quantity="loss").sort("seed", "iteration")["value"]
    predicted = LinearWidth(4, 3, 6.0, task.seeds).decay(6, task.seeds)
    assert [losses[1] / losses[0], losses[3] / losses[2]] == pytest.approx(predicted, rel=0.05)
    assert predicted[0] != pytest.approx(predicted[1], rel=0.05)


def test_the_limit_of_small_targets_needs_as_many_features_as_directions():
    rows = frame(LinearWidth(16, 8, 1e6, tuple(range(6))).run(Context()))
    (rank,) = rows.filter(quantity="rank")["value"]
    widths = rows.filter(quantity="width")["value"]
    assert len(widths) == 2
    assert min(widths) >= rank == 8


def test_a_time_too_short_leaves_no_width():
    assert frame(LinearWidth(16, 8, 1.0, (0, 1, 2)).run(Context()))["quantity"].to_list() == ["rank"]


# More inputs than samples: quick to train.
EASY = TrainedWidth(3, 5, 0.1, 20.0, (0, 1, 2, 3, 4, 5), goal=1e-4, depth=2, rate=0.05)


def test_training_finds_a_width_for_each_group():
    rows = frame(EASY.run(Context()))
    widths = rows.filter(quantity="width").sort("index")
    assert widths["index"].to_list() == [0, 1]
    for index, width in zip(widths["index"], widths["value"], strict=True):
        passed = rows.filter(quantity="passage", index=width)["seed"]
        assert set(EASY.seeds[3 * index : 3 * index + 3]) <= set(passed)
    missed = dict(zip(*rows.filter(quantity="missed")["index", "value"], strict=True))
    for width, count in missed.items():
        assert count + len(rows.filter(quantity="passage", index=width)) == 6
    assert rows.filter(quantity="passage")["value"].is_between(0, EASY.horizon).all()


def test_a_passage_is_when_the_loss_is_reached():
    width, seed = 4, 2
    found = EASY.passages(width, Context())[seed]
    run = TrainingRun(
        networks=(strict(EASY.depth, inputs=EASY.inputs, width=width),),
        data=strict_data(EASY.samples, inputs=EASY.inputs, target=EASY.target),
        optimizer=GradientFlow(EASY.rate),
        iterations=round(EASY.horizon / EASY.rate),
        measures=(Loss(),),
        seeds=(seed,),
    )
    losses = frame(run.run(Context())).filter(pl.col("value") <= EASY.goal)
    assert found == pytest.approx(EASY.rate * losses["iteration"].min())  # type: ignore[operator]


def test_no_time_no_width():
    rows = frame(dataclasses.replace(EASY, horizon=0.1).run(Context()))
    assert rows["quantity"].unique().to_list() == ["missed"]
    assert (rows["value"] == 6).all()


def test_members_that_diverge_miss():
    assert dataclasses.replace(EASY, rate=1e3).passages(2, Context()) == {}


def test_an_interrupted_bisection_trains_no_width_twice(tmp_path, monkeypatch):
    context = Context(checkpoint=Checkpoint(tmp_path / "state"))
    rows = frame(EASY.run(context))

    def never(self: TrainedWidth, width: int, context: Context) -> dict[int, float]:
        raise AssertionError(f"width {width} was trained before")

    monkeypatch.setattr(TrainedWidth, "passages", never)
    assert frame(EASY.run(context)).equals(rows)


@pytest.mark.parametrize(("slope", "expected"), [(0.5, "reproduced"), (2.0, "not reproduced")])
def test_a_width_that_grows_too_fast_is_refused(slope, expected):
    cells = itertools.product((16, 32, 64), range(5))
    rows = pl.DataFrame(
        [
            {
                "samples": n,
                "index": group,
                "quantity": "width",
                "clock": clock,
                "value": (3 + group) * float(n) ** slope,
            }
            for n, group in cells
            for clock in ("10 n√n q", "400 n", "training")
        ]
    )
    names = ("15.smallest-width", "15.smallest-width-short", "15.smallest-width-trained")
    assert [ruling(name, rows) for name in names] == [expected] * 3
