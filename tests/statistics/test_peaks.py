from __future__ import annotations

import math

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.statistics import WITHIN, peak_time

LOG = np.geomspace(1, 1e5, 300)


def bump(t, peak, width=1.0):
    """A parabola in log time of height 0.9: within d of its top at log t = log peak − width √d."""
    return 0.9 - ((np.log(t) - math.log(peak)) / width) ** 2


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("peak", [30.0, 3000.0])
def test_the_first_crossing_is_found_between_measurements(within, peak):
    found = peak_time(LOG, bump(LOG, peak), within=within, smooth=0)
    assert found.time == pytest.approx(peak * math.exp(-math.sqrt(within)), rel=5e-3)
    assert found.low <= found.time <= found.high < 1.1 * found.time
    assert found.usable
    assert not found.early


def test_distance_0_is_the_argmax():
    found = peak_time(LOG, bump(LOG, LOG[100]), within=0, smooth=0)
    assert found.time == LOG[100]
    assert found.value == pytest.approx(0.9)


def test_interpolation_is_straight_in_log_time_and_in_time_from_0():
    values = [0.1, 0.5, 0.7, 0.9, 0.1]
    assert peak_time([1, 4, 16, 64, 128], values, within=0.1, smooth=0).time == pytest.approx(32)
    assert peak_time([0, 4, 16, 64, 128], values, within=0.6, smooth=0).time == pytest.approx(2)


def test_the_window_is_one_of_log_time():
    """Stretching time stretches t_*, whatever the smoothing."""
    noisy = bump(LOG, 300.0) + 0.01 * np.random.default_rng(1).standard_normal(len(LOG))
    found, stretched = peak_time(LOG, noisy), peak_time(LOG * 1000, noisy)
    assert stretched.time == pytest.approx(1000 * found.time)
    assert stretched.high == pytest.approx(1000 * found.high)


def test_smoothing_takes_the_mean_of_the_neighbours_in_the_window():
    t, values = [1.0, 2.0, 4.0, 8.0, 1000.0], [0.0, 0.3, 0.9, 0.6, 0.5]
    found = peak_time(t, values, within=0, smooth=math.log(2), samples=10**6)
    assert found.value == pytest.approx(0.75)  # the mean of 4 and 8; that of 2, 4 and 8 is 0.6
    assert found.time == 8
    assert peak_time(t, values, within=0, smooth=0.6).value == pytest.approx(0.9)  # nothing within the window


def test_equidistant_neighbours_at_the_edge_of_the_window_are_all_in():
    t = 10 ** (np.arange(60) / 20)
    values = np.tile([0.6, 0.3, 0.9], 20)  # a mean of three neighbours is 0.6, one of two neither at the ends
    assert peak_time(t, values, within=0, smooth=math.log(10) / 20, samples=10**6).value == pytest.approx(0.6)


def test_the_residuals_have_the_noise_of_the_measurements():
    """The interval is about that of binomial noise of the same size."""
    draws = np.random.default_rng(4).standard_normal((20, len(LOG))) * 0.003
    curves = [bump(LOG, 300.0, width=5.0) + noise for noise in draws]
    widths = [
        np.mean([math.log(peak.high / peak.low) for peak in peaks])
        for peaks in ([peak_time(LOG, a) for a in curves], [peak_time(LOG, a, samples=10**4) for a in curves])
    ]
    assert widths[0] == pytest.approx(widths[1], rel=0.1)  # √(0.9 · 0.1/10⁴) = 0.003


def test_noise_moves_t_less_with_smoothing_and_the_interval_covers():
    draws = np.random.default_rng(2).standard_normal((40, len(LOG))) * 0.003
    true = 300 * math.exp(-math.sqrt(0.01))
    raw = [peak_time(LOG, bump(LOG, 300.0) + noise, within=0.01, smooth=0).time for noise in draws]
    found = [peak_time(LOG, bump(LOG, 300.0) + noise, within=0.01) for noise in draws]
    assert np.std(np.log([peak.time for peak in found])) < 0.8 * np.std(np.log(raw))
    assert np.mean([peak.low <= true <= peak.high for peak in found]) >= 0.85
    assert np.median([peak.high / peak.low for peak in found]) < 1.25


def test_more_noise_is_a_wider_interval_and_samples_say_how_much():
    curve = bump(LOG, 300.0)
    widths = [math.log(peak.high / peak.low) for n in (10**2, 10**4) for peak in [peak_time(LOG, curve, samples=n)]]
    assert widths[0] > 2 * widths[1]
    exact = peak_time(LOG, curve, samples=10**12, smooth=0)
    after = int(np.searchsorted(LOG, exact.time))
    assert exact.low == pytest.approx(LOG[after - 1])  # no narrower than the measurements around it
    assert exact.high == pytest.approx(LOG[after])


def test_a_curve_that_still_rises_is_censored():
    rising = peak_time(LOG, np.log(LOG) / 12)
    assert rising.censored
    assert rising.learned
    assert not rising.usable
    assert not peak_time(LOG, bump(LOG, 0.8e5), smooth=0).censored
    assert peak_time(LOG, bump(LOG, 0.93e5), smooth=0).censored


def test_a_plateau_reached_before_half_time_is_not_censored_by_its_noise():
    plateau = np.where(LOG < 1e4, 0.1 + 0.2 * np.log10(LOG), 0.9)
    plateau[-1] += 0.004  # the maximum, less above the plateau than counts
    assert not peak_time(LOG, plateau, smooth=0).censored
    assert peak_time(LOG, plateau, smooth=0, within=0.003).censored
    late = np.where(LOG < 6e4, 0.8, 0.9)
    late[-1] += 0.004
    assert peak_time(LOG, late, smooth=0).censored


def test_a_flat_curve_peaks_at_once_and_says_so():
    found = peak_time([0, 10, 20, 40], [0.7, 0.7, 0.7, 0.7])
    assert (found.time, found.early, found.censored) == (0.0, True, False)
    assert peak_time([10, 20, 40], [0.9, 0.7, 0.7]).early
    assert peak_time([0, 10, 20, 40], [0.1, 0.9, 0.9, 0.9]).early  # somewhere before 10
    assert not peak_time([0, 10, 20, 40], [0.1, 0.3, 0.9, 0.9]).early


def test_a_curve_never_above_chance_has_no_peak_and_no_number():
    t = np.arange(200)
    guessing = np.random.default_rng(3).binomial(1000, 0.1, 200) / 1000
    for found in (peak_time(t, guessing, chance=0.1), peak_time(t, guessing, chance=0.1, samples=1000)):
        assert not found.learned
        assert not found.usable
        assert math.isnan(found.time)
        assert math.isnan(found.low)
    assert not peak_time(
        t, np.full(200, 0.1135), chance=0.1
    ).learned  # a constant answer, of MNIST's most frequent class
    assert peak_time(t, np.full(200, 0.16), chance=0.1).learned
    assert not peak_time(t, np.full(200, 0.16), chance=0.1, samples=100).learned  # 2 standard errors


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        ([1, 2], [0.1, 0.2], "at least 3"),
        ([1, 2, 2], [0.1, 0.2, 0.3], "increasing"),
        ([-1, 2, 3], [0.1, 0.2, 0.3], "from 0 on"),
        ([1, 2, 3], [0.1, 0.2], "values: expected shape"),
        ([1, 2, 3], [0.1, math.nan, 0.2], "found nan at time 2"),
    ],
)
def test_what_is_no_curve_is_refused(times, values, message):
    with pytest.raises(InputError, match=message):
        peak_time(times, values)


def test_a_negative_distance_is_refused():
    with pytest.raises(InputError, match="within: expected a finite"):
        peak_time([1, 2, 3], [0.1, 0.2, 0.3], within=-0.1)
    with pytest.raises(InputError, match="smooth: expected a finite"):
        peak_time([1, 2, 3], [0.1, 0.2, 0.3], smooth=-0.1)
