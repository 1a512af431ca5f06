"""States and gradients against depth: weights, tasks, measures, figures."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from deeplimit import theory
from deeplimit.checks import InputError
from deeplimit.claims import Claim, judge
from deeplimit.figures import Panel
from deeplimit.papers.marion2025 import norms
from deeplimit.papers.marion2025.common import over_runs, root_mean_square
from deeplimit.papers.marion2025.norms import (
    IID_STUDY,
    RMS_STUDY,
    SMOOTH_STUDY,
    WEIGHTS,
    GaussianIncrements,
    Ratios,
)
from deeplimit.records import Context, frame
from deeplimit.study import Study


def claim_of(study: Study, name: str) -> Claim:
    return next(claim for claim in study.claims if claim.id == f"marion2025.{name}")


def small(
    kind: str, betas: tuple[float, ...], *, runs: int = 10, depths: tuple[int, ...] = (100, 120, 200)
) -> pl.DataFrame:
    rows = [
        frame(Ratios(L, betas, WEIGHTS[kind], runs, 0).run(Context())).with_columns(weights=pl.lit(kind))
        for L in depths
    ]
    return pl.concat(rows)


@pytest.fixture(scope="module")
def smooth() -> pl.DataFrame:
    return pl.concat([small(kind, (0.5, 1.0, 2.0)) for kind in ("values", "increments")])


@pytest.fixture(scope="module")
def iid() -> pl.DataFrame:
    return pl.concat([small(kind, (0.25, 0.5, 1.0), runs=20) for kind in ("gaussian", "uniform")])


@pytest.mark.parametrize("length", [0.1, 0.5])
def test_increments_have_variance_one_and_the_covariance_of_the_process(length: float) -> None:
    path = GaussianIncrements(length, 2.0).sample((4000,), torch.Generator().manual_seed(0))
    for depth in (3, 50):
        steps = path(depth)
        assert steps.square().mean(1).div(4).tolist() == pytest.approx([1.0] * depth, abs=0.12)

        def kernel(lag: float) -> float:
            return math.exp(-((lag / length) ** 2) / 2)

        lag = 1 / depth
        expected = (2 * kernel(lag) - 1 - kernel(2 * lag)) / (2 - 2 * kernel(lag))
        assert (steps[1:] * steps[:-1]).mean().div(4).item() == pytest.approx(expected, abs=0.05)


def test_increments_are_no_function_of_depth() -> None:
    path = GaussianIncrements(0.1).sample((2,), torch.Generator())
    with pytest.raises(InputError, match="function of s, found increments"):
        path.at(torch.zeros(1))
    with pytest.raises(InputError, match="depth"):
        path(0)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_every_kind_of_weights_has_variance_one_over_d(kind: str) -> None:
    theta, h, readout = Ratios(40, (1.0,), WEIGHTS[kind], 5, 0, uniform_ends=True).draw(0, 5)
    for weights in theta.values():
        assert weights.shape == (5, 40, 40, 40)
        assert weights.square().mean().item() == pytest.approx(1 / 40, rel=0.03)
    assert (h.shape, readout.shape) == ((5, 1, 40), (5, 1, 40))
    assert readout.abs().max() <= math.sqrt(3 / 40)


def test_smooth_weights_are_one_function_read_at_every_depth() -> None:
    coarse, fine = (Ratios(L, (1.0,), WEIGHTS["values"], 5, 0).draw(0, 5)[0]["V"] for L in (5, 20))
    torch.testing.assert_close(fine[:, 3::4], coarse)


def by_run(rows: pl.DataFrame, depth: int) -> NDArray[np.float64]:
    return rows.filter(depth=depth).sort("index")["value"].to_numpy()


def test_rows_have_a_value_for_every_run_quantity_and_beta(iid: pl.DataFrame) -> None:
    assert len(iid) == 2 * 3 * 3 * 2 * 20
    assert iid.group_by("weights", "depth", "beta", "quantity").agg(pl.col("index").n_unique())[
        "index"
    ].unique().to_list() == [20]
    assert iid["value"].is_finite().all()


def test_independent_layers_move_as_the_exact_law_says(iid: pl.DataFrame) -> None:
    for (depth, beta), part in iid.group_by(["depth", "beta"]):
        rms = root_mean_square(part["value"].to_numpy())
        assert rms == pytest.approx(theory.relu_ratio(int(str(depth)), beta=float(str(beta))), rel=0.25)
    for quantity in ("output", "gradient"):
        verdict = judge(claim_of(IID_STUDY, f"13.vanishing-{quantity}-gaussian"), iid, tier="quick")
        assert verdict.measured is not None
        assert verdict.measured.value == pytest.approx(-0.5, abs=0.1)


def test_smooth_layers_are_flat_at_one_fall_at_two_and_explode_below(smooth: pl.DataFrame) -> None:
    for kind in ("values", "increments"):
        for word, expected in (("flat", 0.0), ("identity", -1.0)):
            verdict = judge(claim_of(SMOOTH_STUDY, f"15.{word}-output-{kind}"), smooth, tier="quick")
            assert verdict.ruling == "reproduced"
            assert verdict.measured is not None
            assert verdict.measured.value == pytest.approx(expected, abs=0.02)
    flat, explosive = (smooth.filter(weights="values", quantity="output", beta=beta) for beta in (1.0, 0.5))
    growth = [np.median(by_run(part, 200) / by_run(part, 100)) for part in (flat, explosive)]
    assert growth[0] == pytest.approx(1.0, abs=0.01)
    assert growth[1] > 3


def test_increments_move_the_state_less(smooth: pl.DataFrame) -> None:
    assert judge(claim_of(SMOOTH_STUDY, "15.level-increments"), smooth, tier="quick").ruling == "reproduced"
    as_values = smooth.with_columns(weights=pl.lit("increments"), value=pl.col("value") * 1.7)
    assert judge(claim_of(SMOOTH_STUDY, "15.level-increments"), as_values, tier="quick").ruling == "not reproduced"


def test_a_level_holds_those_of_all_depths() -> None:
    rows = pl.DataFrame({"depth": [50, 50, 100, 100, 200, 200], "value": [9.0, 9.5, 1.0, 1.1, 2.0, 2.1]})
    measured = norms._level(1.0)(rows.with_columns(value=pl.col("value") / pl.col("depth")))
    alone = [over_runs(values, "") for values in ([1.0, 1.1], [2.0, 2.1])]
    assert measured.value == pytest.approx(2.05)
    assert (measured.low, measured.high) == pytest.approx((alone[0].low, alone[1].high))


def test_growth_of_the_logarithm_is_run_by_run() -> None:
    rows = pl.DataFrame(
        {
            "depth": [1000, 1000, 120, 120],
            "index": [1, 0, 0, 1],
            "value": [1e4, 1e3, 1e1, 1e2],
            "quantity": ["output"] * 4,
        }
    )
    assert norms._logarithm(1000, against=120)(rows).value == pytest.approx(2.0)
    assert norms._logarithm(1000)(rows).value == pytest.approx(3.5)


def test_root_mean_squares_meet_the_exact_law_by_both_ways() -> None:
    tasks = [task for task in RMS_STUDY.plan("quick") if task.labels.get("beta") == 0.5 and task.depth == 100]  # type: ignore[attr-defined]
    (sampled,) = tasks
    direct = Ratios(100, (0.5,), WEIGHTS["gaussian"], 200, 1)
    rows = pl.concat(
        [
            frame(dataclasses.replace(sampled, runs=4000).run(Context())).with_columns(beta=pl.lit(0.5), way=pl.lit("conditional")),  # type: ignore[type-var]
            frame(direct.run(Context())).with_columns(way=pl.lit("direct")),
        ],
        how="diagonal",
    )  # fmt: skip
    verdict = judge(claim_of(RMS_STUDY, "13.exact-100"), rows, tier="quick")
    assert verdict.ruling == "reproduced"
    off = rows.with_columns(value=pl.col("value") * 1.05)
    assert judge(claim_of(RMS_STUDY, "13.exact-100"), off, tier="quick").ruling == "not reproduced"
    by_matrices = norms._rms(100, "direct")(rows)
    assert by_matrices.value == pytest.approx(theory.relu_ratio(100, beta=0.5), abs=0.05)


def test_the_figures_show_every_beta_beside_the_exact_law(iid: pl.DataFrame, smooth: pl.DataFrame) -> None:
    for study, rows, names in (
        (IID_STUDY, iid, ["β = ¼", "β = ½", "β = 1", *["exact rms"] * 3]),
        (SMOOTH_STUDY, smooth, ["β = ½", "β = 1", "β = 2"]),
    ):
        for figure in study.figures:
            for panel in figure.panels(rows):
                assert isinstance(panel, Panel)
                assert [curve.label for curve in panel.curves] == names
                assert panel.curves[0].low is not None
    exact = IID_STUDY.figures[0].panels(iid)[0].curves[4]  # type: ignore[union-attr]
    assert exact.y == pytest.approx([theory.relu_ratio(L, beta=0.5) for L in (100, 120, 200)])


@pytest.mark.parametrize("study", norms.STUDIES, ids=lambda study: study.name)
def test_tasks_say_what_they_cost(study: Study) -> None:
    task = min(study.plan("quick"), key=lambda task: task.cost().layer_steps)
    assert task.cost().layer_steps > 0
    assert task.probe(Context()) > 0
