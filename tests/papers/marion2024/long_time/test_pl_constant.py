from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from deeplimit.networks import as_stack
from deeplimit.papers.marion2024.long_time.pl_constant import KernelConstant, tangent_kernel
from deeplimit.records import Context, frame
from deeplimit.study import conclude
from deeplimit.training import draw_members
from tests.papers.marion2024.long_time.cases import run_of, study


def test_the_kernel_gives_the_ratio_at_the_start():
    task = run_of(5, 3, width=7, target=0.5, rate=0.1, iterations=0)
    rows = frame(task.run(Context())).filter(quantity="pl")
    params, (x, y) = draw_members(task.networks[0], task.data, seeds=task.seeds)
    kernel, residual = tangent_kernel(as_stack(task.networks[0]), params, x=x), -y
    expected = 4 / 5 * (residual.mT @ kernel @ residual).flatten() / residual.square().sum((1, 2))
    assert rows["value"].to_list() == pytest.approx(expected.tolist(), rel=1e-12)
    least = frame(KernelConstant(5, 3, (7,), task.seeds).run(Context()))["value"]
    assert all(0 < mu < ratio for mu, ratio in zip(least, rows["value"], strict=True))


def test_too_few_features_leave_no_constant():
    rows = frame(KernelConstant(12, 6, (5, 24), (0,)).run(Context()))
    few, many = rows["value"]
    assert few < 1e-12 < 1e-5 < many


def test_the_study_of_the_kernel_comes_out_at_small_sizes():
    planned = [task for task in study("pl-constant").plan("quick") if isinstance(task, KernelConstant)]
    tasks = [dataclasses.replace(task, seeds=task.seeds[:5]) for task in planned]
    small = [task for task in tasks if task.samples <= 64]
    parts = [frame(t.run(Context())).with_columns(**{k: pl.lit(v) for k, v in t.labels.items()}) for t in small]
    rows = pl.concat(parts).with_columns(study=pl.lit("pl-constant"))
    verdicts = conclude([study("pl-constant")], rows, tier="quick")
    assert [verdict.ruling for verdict in verdicts] == ["reproduced", "reproduced"]
    (figure,) = study("pl-constant").figures
    assert all(len(panel.curves) <= 6 for panel in figure.panels(rows))  # type: ignore[union-attr]
