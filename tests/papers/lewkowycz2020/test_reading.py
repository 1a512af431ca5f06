from __future__ import annotations

import math

import polars as pl
import pytest

from deeplimit.papers.lewkowycz2020.clock import STUDY
from deeplimit.papers.lewkowycz2020.reading import (
    TEST,
    best_until,
    curves,
    geometric_mean,
    horizon,
    mean_of,
    peaks,
    smoothed,
)
from tests.papers.lewkowycz2020.planted import clock, plant


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return plant(STUDY, clock())


def test_a_horizon_is_ten_decay_times() -> None:
    assert horizon(0.05, 1e-3) == 200_000
    assert horizon(0.05, 1e-3, momentum=0.9) == 20_000


def test_curves_are_those_of_one_run_and_seed(rows: pl.DataFrame) -> None:
    found = list(curves(rows, TEST))
    assert len(found) == 21 * 5
    for labels, times, values in found:
        assert times == sorted(times)
        assert len(times) == len(values)
        law = clock()(times[-1], labels)
        assert values[-1] == law
    with pytest.raises(LookupError, match="quantity = nothing"):
        list(curves(rows, "nothing"))


def test_peaks_are_where_the_law_says(rows: pl.DataFrame) -> None:
    found = peaks(rows.filter(learning_rate=0.05, setting="constant"), within=0.0)
    assert len(found) == 5 * 5  # of the law; longer horizons than the runs are left out, and λ = 0
    # 0.5 exp(−u⁴/1.5⁴) + u/1000 is least where 2 u³/1.5⁴ exp(−u⁴/1.5⁴) = 1/1000
    u = min((k / 1000 for k in range(1, 5000)), key=lambda v: 0.5 * math.exp(-((v / 1.5) ** 4)) + v / 1000)
    for peak in found:
        ticks = peak["time"] * 0.05 * peak["weight_decay"]
        assert u < 1.1 * ticks  # a measurement
        assert ticks < 1.1 * math.exp(0.2) * u  # and the window, because curves rise faster than they fall
        assert peak["value"] == pytest.approx(0.98 - 0.05 * peak["weight_decay"] - u / 1000, abs=1e-3)
    earlier = peaks(rows.filter(learning_rate=0.05, setting="constant"), within=0.01)
    assert all(a["time"] < b["time"] for a, b in zip(earlier, found, strict=True))


def test_peaks_of_a_share_do_not_see_the_rest(rows: pl.DataFrame) -> None:
    rising = plant(STUDY, lambda step, labels: min(0.9, 0.3 + 1e-6 * step)).filter(learning_rate=0.05)
    whole, half = (peaks(rising, within=0.0, share=share) for share in (1.0, 0.5))
    for long, short in zip(whole, half, strict=True):
        assert 1.7 < long["time"] / short["time"] < 2.3


def test_a_curve_that_never_learns_has_no_peak() -> None:
    assert peaks(plant(STUDY, lambda step, labels: 0.1, tier="quick")) == []


def test_the_best_until_a_budget_grows_with_it(rows: pl.DataFrame) -> None:
    own = rows.filter(setting="constant", learning_rate=0.05)
    short, long = (mean_of(best_until(own, budget)) for budget in (1_000, 40_000))
    assert set(short) == {0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.0}
    assert short[0.1] == pytest.approx(long[0.1])
    assert short[0.001] < 0.6 < 0.8 < long[0.001]
    assert mean_of({1: {0.1: 1.0}, 2: {0.1: 3.0}}) == {0.1: 2.0}


def test_smoothing_is_over_log_time() -> None:
    assert smoothed([0, 10, 11, 40], [1.0, 2.0, 4.0, 8.0]) == [1.0, 3.0, 3.0, 8.0]
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
