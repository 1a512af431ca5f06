"""The order of the batches."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.cohen2021.networks import TANH
from deeplimit.papers.cohen2021.shuffle import SPENT, STUDY, DistinctBatches, change, distinct
from deeplimit.records import Context, frame
from deeplimit.training import Batches, TrainingRun


def counts(order: str) -> pl.DataFrame:
    return frame(DistinctBatches(Batches(8, order), 64, 4, tuple(range(20))).run(Context()))


def test_batches_disappear_in_the_released_order_alone():
    released = [distinct(epoch)(counts("published")).value for epoch in range(1, 5)]
    assert released == sorted(released, reverse=True)
    assert released[3] < 3 < released[0] < 6
    assert [distinct(epoch)(counts("shuffled")).value for epoch in (1, 4)] == [8.0, 8.0]
    with pytest.raises(LookupError):
        distinct(5)(counts("published"))


def test_deeper_networks_start_with_fewer_batches():
    runs = [task for task in STUDY.plan("quick") if isinstance(task, TrainingRun)]
    released = [run for run in runs if run.labels["order"] == "published"]
    correct = [run for run in runs if run.labels["order"] == "shuffled"]
    assert [run.networks for run in released] == [run.networks for run in correct]
    assert [run.batches.earlier for run in released if run.batches] == [SPENT * i for i in range(len(released))]
    assert {run.batches.order for run in correct if run.batches} == {"shuffled"}


def test_a_change_is_one_of_exponents_seed_by_seed():
    rows = pl.DataFrame(
        [
            {"setting": TANH, "order": order, "depth": L, "seed": seed, "quantity": "q", "value": (1 + seed) * L**p}
            for order, p in (("shuffled", -0.6), ("published", -0.7))
            for L in (4.0, 8.0, 16.0)
            for seed in range(3)
        ]
    )
    found = change("q")(rows)
    assert found.value == pytest.approx(0.1)
    assert found.sample == 3
    with pytest.raises(LookupError):
        change("p")(rows)
