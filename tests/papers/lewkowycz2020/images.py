"""Runs of a paper's tier on a few images."""

from __future__ import annotations

import dataclasses

import polars as pl

from deeplimit.data import FixedPairs, Images
from deeplimit.measures import HeldOut
from deeplimit.records import Context, frame
from deeplimit.training import Batches, TrainingRun


def shrunk(run: TrainingRun, *, train: int, validation: int, test: int, iterations: int) -> TrainingRun:
    """The run on fewer images, in batches of ten: validation images follow those trained on, as in the plan."""
    parts = {"train": (train, 0), "validation": (validation, train), "test": (test, 0)}
    measures = tuple(
        dataclasses.replace(m, data=_fewer(m.data, *parts[m.name])) if isinstance(m, HeldOut) else m
        for m in run.measures
    )
    data = _fewer(run.data, *parts["train"])
    return dataclasses.replace(run, data=data, measures=measures, iterations=iterations, batches=Batches(10))


def _fewer(pairs: object, samples: int, offset: int) -> FixedPairs:
    assert isinstance(pairs, FixedPairs)
    assert isinstance(pairs.pairs, Images)
    return FixedPairs(dataclasses.replace(pairs.pairs, samples=samples, offset=offset), pairs.seed)


def rows_of(run: TrainingRun) -> pl.DataFrame:
    """Its rows with its labels, as a study sees them."""
    rows = frame(run.run(Context()))
    absent = {name: pl.lit(label) for name, label in run.labels.items() if name not in rows.columns}
    return rows.with_columns(**absent)
