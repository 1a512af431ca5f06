"""Claims and figures on optimisers, on rows made by hand."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.cohen2021.networks import MIDDLE
from deeplimit.papers.cohen2021.optimisers import OPTIMISERS, SGD, STUDY, conserved
from deeplimit.training import TrainingRun


def table() -> pl.DataFrame:
    """Gradient flow of a linear network: δ = L^(−1/4), ‖A_k‖ = L^(−3/4), and as much in b as in A."""
    powers = {
        "statistic.maximum.delta": -0.25,
        "statistic.maximum.A": -0.75,
        "statistic.cumulative_sum.A": 0.25,
        "statistic.root_sum_of_squares.A": -0.25,
        "statistic.root_sum_of_squares.b": -0.25,
    }
    return pl.DataFrame(
        [
            {"setting": s, "quantity": q, "depth": L, "seed": seed, "value": float(L) ** p}
            for s in OPTIMISERS
            for q, p in powers.items()
            for L in (128, 203, 512)
            for seed in range(5)
        ]
    )


def claim(name: str):
    (found,) = [claim for claim in STUDY.claims if claim.id == f"cohen2021.7.{name}"]
    return found


def test_the_exponents_of_gradient_flow():
    assert claim("conserved-alpha").measure(table()).value == pytest.approx(0.25)
    assert claim("conserved-beta").measure(table()).value == pytest.approx(0.75)
    assert conserved(table()).value == pytest.approx(2.0)
    with pytest.raises(LookupError):
        conserved(table().filter(pl.col("setting") != SGD))


def test_every_figure_shows_the_three():
    curves, plane = (figure.panels(table()) for figure in STUDY.figures)
    assert [len(panel.curves) for panel in curves] == [3, 3, 3]  # type: ignore[union-attr]
    assert [list(c.y) for c in plane[0].curves[3:]] == [[pytest.approx(0.75)]] * 3  # type: ignore[union-attr]


def test_sweeps_end_where_steps_get_too_large():
    depths = {run.networks[0].depth for run in STUDY.plan("paper") if isinstance(run, TrainingRun)}
    assert max(depths) == MIDDLE
