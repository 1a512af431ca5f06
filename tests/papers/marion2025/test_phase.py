"""The phase diagram: networks, contours, extrapolation, figures."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from deeplimit import theory
from deeplimit.claims import judge
from deeplimit.figures import HeatMap
from deeplimit.papers.marion2025.common import WIDTH, log_ratio, network, output_ratio
from deeplimit.papers.marion2025.phase import (
    CONTOURS,
    DIAGRAM,
    EXPECTED,
    Contours,
    PhaseColumn,
    crossing,
    draw,
    extrapolated,
)
from deeplimit.processes.fractional import noise_covariance
from deeplimit.records import Context, frame


@pytest.mark.parametrize("hurst", [0.2, 0.8])
def test_weights_are_fractional_noise_over_depth(hurst: float) -> None:
    theta, h, readout = draw(hurst, 200, seed=0, net=0)
    expected = noise_covariance(hurst, 2) / WIDTH
    for weights in theta.values():
        assert weights.shape == (1, 200, WIDTH, WIDTH)
        assert weights.square().mean().item() == pytest.approx(expected[0].item(), rel=0.03)
        assert (weights[:, 1:] * weights[:, :-1]).mean().item() == pytest.approx(expected[1].item(), abs=0.001)
    assert (theta["V"] * theta["W"]).mean().abs() < 0.001
    assert (h.shape, readout.shape) == ((1, 10, WIDTH), (1, 1, WIDTH))
    assert not torch.equal(draw(hurst, 200, seed=0, net=1)[0]["V"], theta["V"])


def test_a_column_holds_both_ratios_of_each_net_and_they_fall_with_beta() -> None:
    rows = frame(PhaseColumn(0.6, (0.2, 0.6, 1.2), 60, nets=2).run(Context()))
    assert rows.group_by("quantity", "index").len()["len"].to_list() == [3] * 4
    for _, part in rows.group_by("quantity", "index"):
        assert part.sort("beta")["value"].is_sorted(descending=True)
    theta, h, _ = draw(0.6, 60, seed=0, net=1)
    one = rows.filter(quantity="output", index=1, beta=0.6)["value"].item()
    assert one == pytest.approx(log_ratio(output_ratio(network(60, 0.6), theta, h=h)).mean().item(), abs=1e-4)


def test_an_explosion_beyond_the_range_of_floats_is_far_above_the_colours() -> None:
    rows = frame(PhaseColumn(0.97, (0.0,), 400, nets=1).run(Context()))
    assert rows["value"].is_finite().all()
    assert rows["value"].min() > 20  # type: ignore[operator]


def test_at_the_contour_the_ratio_is_one() -> None:
    task = Contours(0.7, 80, nets=2, first=3)
    rows = frame(task.run(Context()))
    assert rows["index"].to_list() == [3, 4]
    theta, h, _ = draw(0.7, 80, seed=task.seed, net=4)
    ratio = output_ratio(network(80, rows["value"][1]), theta, h=h)
    assert log_ratio(ratio).mean().item() == pytest.approx(0.0, abs=0.005)


def test_independent_layers_have_the_contour_of_the_exact_law() -> None:
    depth = 300
    nets = frame(Contours(0.5, depth, nets=12).run(Context()))["value"]
    exact = 0.5 - math.log(2 * math.log(2)) / (2 * math.log(depth))
    assert theory.relu_ratio(depth, beta=exact) == pytest.approx(1.0, abs=0.005)
    assert nets.mean() == pytest.approx(exact, abs=0.02)


def test_a_crossing_is_interpolated_and_may_be_absent() -> None:
    assert crossing([0.0, 1.0, 2.0], [2.0, 1.0, -3.0]) == pytest.approx(1.25)
    assert crossing([0.0, 1.0], [1.0, 0.0]) == 1.0
    assert math.isnan(crossing([0.0, 1.0], [2.0, 1.0]))


def contours(limit: float, slope: float, *, bend: float = 0.0, noise: float = 0.0) -> pl.DataFrame:
    """Nets whose contours lie on a line in 1/log L, or beside it."""
    generator = np.random.default_rng(0)
    rows = [
        {
            "hurst": 0.7,
            "depth": L,
            "quantity": "contour",
            "index": net,
            "value": limit + slope / math.log(L) + bend * (L == 10000) + noise * generator.standard_normal(),
        }
        for L in (100, 1000, 10000)
        for net in range(20)
    ]
    return pl.DataFrame(rows)


def test_a_line_in_the_inverse_logarithm_is_extrapolated_exactly() -> None:
    measured = extrapolated(contours(0.7, -0.6), 0.7)
    assert (measured.value, measured.low, measured.high) == pytest.approx((0.7, 0.7, 0.7))
    assert extrapolated(contours(0.7, -0.6, bend=0.1), 0.7).value == pytest.approx(0.7 + 0.158, abs=0.01)
    with pytest.raises(LookupError, match=r"three depths, found \[100, 1000\]"):
        extrapolated(contours(0.7, -0.6).filter(pl.col("depth") < 10000), 0.7)


def test_the_interval_of_the_extrapolation_is_that_of_its_spread() -> None:
    measured = [extrapolated(contours(0.7, -0.6, noise=0.01 * k), 0.7) for k in (1, 2)]
    widths = [m.high - m.low for m in measured]
    assert widths[1] == pytest.approx(2 * widths[0])
    # Weights of the three means by the formula of least squares, times the t-interval of 20 numbers.
    x = 1 / np.log([100.0, 1000.0, 10000.0])
    design = np.linalg.inv(np.array([[3.0, x.sum()], [x.sum(), (x**2).sum()]])) @ np.array([np.ones(3), x])
    assert widths[0] / 2 == pytest.approx(2.093 * 0.01 / math.sqrt(20) * np.sqrt((design[0] ** 2).sum()), rel=0.3)


@pytest.mark.parametrize(("limit", "ruling"), [(0.7, "reproduced"), (0.8, "not reproduced")])
def test_a_limit_off_the_line_is_seen(limit: float, ruling: str) -> None:
    claim = next(claim for claim in CONTOURS.claims if claim.id == "marion2025.16.limit-0.7")
    assert judge(claim, contours(limit, -0.6, noise=0.005), tier="paper").ruling == ruling


def test_the_diagram_is_a_map_with_the_contour_and_the_line() -> None:
    # Ratios 10^(−3(β − H)): the contour is β = H.
    rows = pl.DataFrame(
        [
            {"hurst": H, "beta": beta, "quantity": q, "index": net, "value": -3 * (beta - H)}
            for H in (0.2, 0.5, 0.9)
            for beta in (0.0, 0.4, 0.8, 1.2)
            for q in ("output", "gradient")
            for net in (0, 1)
        ]
    )
    for panel in DIAGRAM.figures[0].panels(rows):
        assert isinstance(panel, HeatMap)
        assert (list(panel.x), list(panel.y)) == ([0.2, 0.5, 0.9], [0.0, 0.4, 0.8, 1.2])
        assert panel.values[1][1] == pytest.approx(10**0.3)
        measured, line = panel.lines
        assert measured.y == pytest.approx([0.2, 0.5, 0.9], abs=0.07)
        assert (line.y[0], line.y[-1]) == (0.5, 0.9)


def test_the_contours_are_drawn_at_one_depth_and_against_all() -> None:
    tasks = CONTOURS.plan("quick")
    planned = {(task.hurst, task.depth) for task in tasks}  # type: ignore[attr-defined]
    rows = pl.DataFrame(
        [
            {"hurst": H, "depth": L, "quantity": "contour", "index": net, "value": 0.5 + 0.01 * net - 0.2 / math.log(L)}
            for H, L in planned
            for net in range(5)
        ]
    )
    left, right = CONTOURS.figures[0].panels(rows)
    assert list(left.curves[0].x) == list(EXPECTED)  # type: ignore[union-attr]
    line = right.curves[0]  # type: ignore[union-attr]
    assert line.x[0] == 0.0
    assert line.y[0] == pytest.approx(0.52)


def test_tasks_say_what_they_cost() -> None:
    for task in (PhaseColumn(0.5, (0.5, 1.0), 100, nets=2), Contours(0.5, 100, nets=2)):
        assert task.cost().layer_steps > 0
        assert task.probe(Context()) > 0
