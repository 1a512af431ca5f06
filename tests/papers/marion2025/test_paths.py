"""Fractional Brownian motion: the exponent of its increments, and the figure."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.claims import judge
from deeplimit.papers.marion2025.paths import HURST, STEPS, STUDIES, MotionPaths
from deeplimit.records import Context, frame

(STUDY,) = STUDIES


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    parts = [
        frame(task.run(Context())).with_columns(hurst=pl.lit(task.labels["hurst"])) for task in STUDY.plan("quick")
    ]
    return pl.concat(parts)


def test_increments_grow_with_the_index(rows: pl.DataFrame) -> None:
    for claim in STUDY.claims:
        assert judge(claim, rows, tier="quick").ruling == "reproduced"
        bent = rows.with_columns(value=pl.col("value") * pl.col("index").clip(1) ** 0.1)
        assert judge(claim, bent, tier="quick").ruling == "not reproduced"


def test_a_path_starts_at_zero_and_has_its_variance_at_the_end(rows: pl.DataFrame) -> None:
    panels = STUDY.figures[0].panels(rows)
    assert [panel.title for panel in panels] == [f"H = {hurst}" for hurst in HURST]
    for panel in panels:
        (curve,) = panel.curves  # type: ignore[union-attr]
        assert (curve.x[0], curve.y[0], curve.x[-1], len(curve.x)) == (0.0, 0.0, 1.0, STEPS + 1)


def test_the_task_says_what_it_costs() -> None:
    task = MotionPaths(0.5, (0, 1), steps=200, paths=5)
    assert task.cost().layer_steps > 0
    assert task.probe(Context()) > 0
