"""Families trained depth by depth, and the rows of their verdicts."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.branches import Perceptron
from deeplimit.data import FixedPairs, GaussianPairs
from deeplimit.networks import ResidualStack
from deeplimit.papers.reconciliation.family import Family, summary, verdict
from deeplimit.processes import IID
from deeplimit.records import Context, frame, run_id
from deeplimit.scaling import DepthScaling
from deeplimit.training import SGD, TrainingRun


def family(rate: float = 0.1, iterations: int = 3) -> Family:
    runs = tuple(
        TrainingRun(
            (ResidualStack(Perceptron(6, 8), depth, scaling=DepthScaling(0.5), init=IID()),),
            FixedPairs(GaussianPairs(5, 6, 6)),
            SGD(rate),
            iterations,
            (),
            seeds=tuple(range(6)),
        )
        for depth in (16, 32, 64, 128)
    )
    return Family(runs, GaussianPairs(4, 6, 6))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return frame(family().run(Context()))


def test_both_verdicts_stand_before_and_after(rows):
    for stage in ("before", "after"):
        assert verdict(rows, "function", stage=stage) == ["SDE"]
        assert verdict(rows, "weights", stage=stage) == ["i.i.d.-like", "i.i.d.-like"]
        assert set(rows.filter(stage=stage, quantity="spread")["depth"]) == {16, 32, 64, 128}
    assert rows.filter(quantity="kept")["value"].item() == 6
    slope = rows.filter(quantity="slope.variation", stage="after")
    assert slope["low"].item() < slope["value"].item() < slope["high"].item()


def test_training_moves_what_is_seen_after(rows):
    untrained = frame(family(iterations=0).run(Context()))
    loss, first = (frame.filter(quantity="loss")["value"].mean() for frame in (rows, untrained))
    assert isinstance(loss, float)
    assert isinstance(first, float)
    assert loss < first
    learning = [f.filter(quantity="function", stage="after")["learning"].item() for f in (rows, untrained)]
    assert learning[0] != "undecided"
    same = untrained.filter(quantity="slope.spread")
    assert same["value"][0] == pytest.approx(same["value"][1], rel=1e-9)


def test_runs_that_diverge_are_left_out():
    found = frame(family(rate=1e6, iterations=20).run(Context()))
    kept = found.filter(quantity="kept")["value"].item()
    assert kept < 6
    if kept == 0:
        with pytest.raises(LookupError, match="no verdict with quantity = function"):
            verdict(found, "function")


def test_every_part_of_the_runs_is_part_of_the_id():
    assert run_id(family()) == run_id(family())
    assert run_id(family()) != run_id(family(rate=0.2))
    assert family().cost().layer_steps == 6 * 4 * (16 + 32 + 64 + 128)
    assert family().probe(Context()) > 0


def test_the_roughest_role_speaks_for_all():
    assert summary(["hypothesis 1", "hypothesis 1"]) == "hypothesis 1"
    assert summary(["hypothesis 1", "i.i.d.-like", "hypothesis 2"]) == "i.i.d.-like"
    assert summary(["i.i.d.-like", "undecided"]) == "undecided"
