"""The depths of the released code."""

from __future__ import annotations

import polars as pl

from deeplimit.papers.cohen2021.grids import STUDY, TANH_LIST, DepthGrid, different, relu_ends
from deeplimit.records import Context, frame


def listed(tasks) -> pl.DataFrame:
    return pl.concat(
        [frame(task.run(Context())).with_columns(family=pl.lit(task.labels["family"])) for task in tasks],
        how="diagonal",
    )


def test_both_grids_are_those_of_the_code():
    rows = listed(STUDY.plan("quick"))
    assert different("tanh", TANH_LIST)(rows).value == 0
    assert relu_ends(rows).value == 0
    assert rows.filter(pl.col("family") == "relu").height == 44


def test_another_base_is_not():
    rows = listed([DepthGrid(1.25, 3, 10321, {"family": "tanh"}), DepthGrid(1.21, 3, 9100, {"family": "relu"})])
    assert different("tanh", TANH_LIST)(rows).value > 0
    assert relu_ends(rows).value > 0
