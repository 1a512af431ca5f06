from __future__ import annotations

import dataclasses
import subprocess
import sys

import polars as pl
import pytest

from deeplimit.figures import Panel
from deeplimit.papers.cohen2021 import limits
from deeplimit.papers.cohen2021.limits.mean import MeanOde
from deeplimit.records import Context
from tests.papers.cohen2021.limits.cases import CLAIMS, small


def test_the_studies_are_planned_at_both_tiers():
    for tier, weak in (("quick", 5), ("paper", 10)):
        counts = {study.name.removeprefix("limit-"): len(study.plan(tier)) for study in limits.STUDIES}
        expected = {"neural-ode": 2, "alternative-ode": 9, "sde": 3, "sde-weak": weak, "backward": 6, "mean-ode": 1}
        assert counts == expected


def test_reading_the_studies_does_not_load_torch():
    code = "import sys, deeplimit.papers.cohen2021; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_the_known_exception_is_expected():
    expected = {name: c.expected_ruling for name, c in CLAIMS.items() if c.expected_ruling != "reproduced"}
    assert expected == {"cohen2021.4.noise-0.8": "not reproduced"}


@pytest.mark.parametrize("task", [small(), MeanOde(((4, 4),), (0,), layers=16)], ids=["convergence", "mean"])
def test_tasks_say_what_they_cost(task):
    assert task.cost().layer_steps > 0
    assert 0 < task.probe(Context()) < 60
    assert dataclasses.replace(task, seeds=(0, 1, 2, 3)).cost().layer_steps > task.cost().layer_steps


def test_every_figure_is_drawn_from_the_rows_of_its_study():
    """On a study's rows with made-up values, one of each quantity that its task yields."""
    for study in limits.STUDIES:
        rows = pl.concat([_rows(task) for task in study.plan("quick", 1)], how="diagonal_relaxed")
        for figure in study.figures:
            panels = figure.panels(rows)
            curves = [curve for panel in panels if isinstance(panel, Panel) for curve in panel.curves]
            assert len(curves) >= len(panels) >= 1
            assert all(len(curve.x) >= 3 for curve in curves)


def _rows(task) -> pl.DataFrame:
    if isinstance(task, MeanOde):
        points = [{"depth": L, "width": M, "units": L * M} for L, M in task.shapes]
        quantities = ["gap", "shortfall"]
    else:
        points = [{"depth": L} for L in task.depths]
        kinds = ("jacobian", "gradient") if task.derivatives else ("error", "weak")
        quantities = [f"{kind}.{limit}" for kind in kinds for limit in task.limits]
    return pl.DataFrame(
        [
            {"quantity": q, "seed": s, "value": 1.0 / p["depth"], **p, **task.labels}
            for q in quantities
            for p in points
            for s in task.seeds
        ]
    )
