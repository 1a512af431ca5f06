"""The sweeps over depth, at small sizes."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.cohen2021.exponents import COARSE, RELU_OTHERS, RELU_STUDY, TANH_STUDY
from deeplimit.papers.cohen2021.networks import RELU, TANH, sweep
from deeplimit.papers.cohen2021.rows import DELTA
from deeplimit.records import Context, frame
from deeplimit.study import Study
from deeplimit.training import TrainingRun


def computed(*settings: str, depths: tuple[int, ...]) -> pl.DataFrame:
    runs = [run for name in settings for run in sweep(name, depths, seeds=(1000, 1001))]
    return pl.concat(
        [frame(run.run(Context())).with_columns(setting=pl.lit(run.labels["setting"])) for run in runs], how="diagonal"
    )


@pytest.fixture(scope="module")
def tanh() -> pl.DataFrame:
    return computed(TANH, COARSE, depths=(8, 16, 32, 128))


def measured(study: Study, name: str, rows: pl.DataFrame) -> float:
    (claim,) = [claim for claim in study.claims if claim.id == f"cohen2021.{name}"]
    return claim.measure(rows).value


def test_delta_falls_and_its_product_with_the_sum_hardly(tanh):
    alpha, beta = (measured(TANH_STUDY, f"6.{name}", tanh) for name in ("alpha", "beta"))
    assert 0.5 < alpha < 0.8
    assert 0.1 < beta < 0.4
    assert abs(measured(TANH_STUDY, "6.delta-times-sum", tanh)) < 0.15
    assert measured(TANH_STUDY, "6.alpha-plus-beta", tanh) == pytest.approx(alpha + beta)


def test_every_figure_of_tanh_is_drawn(tanh):
    for figure in TANH_STUDY.figures:
        assert figure.panels(tanh)
    layers = TANH_STUDY.figures[-1].panels(tanh)
    assert len(layers[0].curves[0].x) == 128  # type: ignore[union-attr]


def test_relu_has_no_shared_delta_and_rough_weights():
    rows = computed(RELU, *RELU_OTHERS, depths=(8, 16, 32))
    assert rows.filter(pl.col("quantity") == DELTA).is_empty()
    assert abs(measured(RELU_STUDY, "8.scaled-increments", rows)) < 0.3
    assert RELU_STUDY.figures[0].panels(rows)
    assert RELU_STUDY.figures[-1].panels(rows)


def test_sgd_for_relu_ends_before_it_diverges():
    runs = [run for run in RELU_STUDY.plan("paper") if isinstance(run, TrainingRun)]
    deepest = {
        name: max(r.networks[0].depth for r in runs if r.labels["setting"] == name) for name in (RELU, *RELU_OTHERS)
    }
    assert deepest == {RELU: 9100, **RELU_OTHERS}
