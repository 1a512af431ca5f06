"""The law at β = ½: measures on made-up runs, and the figure."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from deeplimit.claims import judge
from deeplimit.papers.marion2025.histograms import LOG_MEAN, LOG_SD, STUDIES

(STUDY,) = STUDIES


def made_up(*, shift: float = 0.0, runs: int = 20_000) -> pl.DataFrame:
    """Lognormal norms, and two ratios of the exact mean square."""
    generator = np.random.default_rng(0)
    growth = np.exp(LOG_MEAN + shift + LOG_SD * generator.standard_normal(runs))
    ratio = math.sqrt(math.sqrt(math.e) - 1)
    ratios = [ratio * (1 + 0.1 * generator.standard_normal(runs)) / math.sqrt(1.01) + shift for _ in range(2)]
    parts = {"growth": growth, "output": ratios[0], "gradient": ratios[1] + shift}
    return pl.concat([pl.DataFrame({"quantity": q, "index": np.arange(runs), "value": v}) for q, v in parts.items()])


@pytest.mark.parametrize(("shift", "ruling"), [(0.0, "reproduced"), (0.05, "not reproduced")])
def test_a_law_that_is_off_is_seen(shift: float, ruling: str) -> None:
    rows = made_up(shift=shift)
    for name in (
        "mean",
        "log-mean",
        "mean-square",
        "low",
        "high",
        "fourth-moment",
        "gradient-rms",
        "gradient-as-output",
    ):
        claim = next(claim for claim in STUDY.claims if claim.id == f"marion2025.14.{name}")
        assert judge(claim, rows, tier="paper").ruling == ruling, name


def test_what_rests_on_unverified_constants_is_not_judged() -> None:
    verdicts = {
        claim.id: judge(claim, made_up(), tier="paper") for claim in STUDY.claims if claim.source == "unverified"
    }
    assert len(verdicts) == 3
    assert {verdict.ruling for verdict in verdicts.values()} == {"unverifiable"}


def test_runs_are_cut_into_parts_that_go_on() -> None:
    tasks = STUDY.plan("paper")
    assert [task.first for task in tasks] == list(range(0, 20_000, 2_000))  # type: ignore[attr-defined]
    assert all(task.gradients and task.width == 100 for task in tasks)  # type: ignore[attr-defined]


def test_histograms_are_densities_beside_the_limit() -> None:
    norm, ratios = STUDY.figures[0].panels(made_up())
    outline, limit = norm.curves  # type: ignore[union-attr]
    for curve in (outline, limit, *ratios.curves):  # type: ignore[union-attr]
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(1.0, abs=0.02)
    assert max(limit.y) == pytest.approx(max(outline.y), rel=0.15)
