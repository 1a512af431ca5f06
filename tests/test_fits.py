from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from deeplimit.checks import InputError
from deeplimit.fits import (
    against_reference,
    convergence_law,
    exponent,
    half_width,
    local_exponents,
    mean_over_seeds,
    power_law,
    power_law_over_seeds,
    table_deviation,
)

DEPTHS = (16, 32, 64, 128, 256)


# --- one curve ---


@pytest.mark.parametrize(("slope", "factor"), [(-1.0, 3.0), (-0.5, 1e-8), (0.0, 2.0), (1.5, 7.0)])
def test_an_exact_law_is_found_with_an_interval_of_rounding(slope: float, factor: float) -> None:
    fit = power_law(DEPTHS, [factor * depth**slope for depth in DEPTHS])
    assert fit.value == pytest.approx(slope, abs=1e-12)
    assert fit.intercept == pytest.approx(math.log(factor), abs=1e-12)
    assert fit.high - fit.low < 1e-12
    assert (fit.n, fit.sample) == (5, 1)
    assert fit.residual < 1e-13


def test_the_interval_is_that_of_the_textbook() -> None:
    from scipy import stats

    x, y = np.array(DEPTHS), np.array([1.0, 0.55, 0.2, 0.13, 0.06])
    fit, known = power_law(x, y), stats.linregress(np.log(x), np.log(y))
    half = stats.t.ppf(0.975, 3) * known.stderr
    assert fit.value == pytest.approx(known.slope, rel=1e-12)
    assert (fit.low, fit.high) == pytest.approx((known.slope - half, known.slope + half), rel=1e-10)


def test_the_interval_covers_the_truth_19_times_in_20() -> None:
    generator = np.random.default_rng(0)
    noise = np.exp(0.1 * generator.standard_normal((1000, len(DEPTHS))))
    fits = [power_law(DEPTHS, row / DEPTHS) for row in noise]
    covered = np.mean([fit.low <= -1 <= fit.high for fit in fits])
    assert 0.93 < covered < 0.97
    assert np.mean([fit.residual**2 for fit in fits]) == pytest.approx(0.01, rel=0.1)


def test_a_bend_widens_the_interval() -> None:
    bent = power_law(DEPTHS, [1 / depth + 10 / depth**2 for depth in DEPTHS])
    straighter = power_law(DEPTHS, [1 / depth + 1 / depth**2 for depth in DEPTHS])
    assert bent.high - bent.low > 5 * (straighter.high - straighter.low) > 0
    assert bent.residual > 5 * straighter.residual


def test_units_of_x_and_y_do_not_matter() -> None:
    y = [1.0, 0.55, 0.2, 0.13, 0.06]
    plain, scaled = power_law(DEPTHS, y), power_law([1e3 * x for x in DEPTHS], [1e-9 * v for v in y])
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx((plain.value, plain.low, plain.high), rel=1e-9)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_numbers_without_a_logarithm_are_named(wrong: float) -> None:
    with pytest.raises(InputError, match=rf"y: expected finite numbers above 0, found {wrong:g} at x = 64"):
        power_law(DEPTHS, [1, 1, wrong, 1, 1])
    with pytest.raises(InputError, match=rf"x: expected finite numbers above 0, found {wrong:g} at position 1"):
        power_law([1, wrong, 3], [1, 1, 1])


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([[1, 2, 3]], [[1, 2, 3]])])
def test_too_few_points_or_odd_shapes_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(InputError, match="two flat sequences of equal length, at least 3"):
        power_law(x, y)


def test_a_single_abscissa_has_no_slope() -> None:
    with pytest.raises(InputError, match="at least 2 different numbers"):
        power_law([4, 4, 4], [1, 2, 3])


# --- over seeds ---


def test_the_mean_slope_and_its_interval_over_seeds() -> None:
    from scipy import stats

    slopes = [-1.02, -0.99, -1.0, -1.01, -0.98]
    fit = power_law_over_seeds(DEPTHS, {seed: [depth**p for depth in DEPTHS] for seed, p in enumerate(slopes)})
    low, high = stats.t.interval(0.95, 4, np.mean(slopes), stats.sem(slopes))
    assert (fit.value, fit.low, fit.high) == pytest.approx((-1.0, low, high), rel=1e-10)
    assert (fit.sample, fit.n) == (5, 5)


def test_over_seeds_the_seeds_are_the_sample_not_the_depths() -> None:
    # A bend that all seeds share leaves the mean slope sharp over seeds, while one curve reports it.
    bent = [1 / depth + 10 / depth**2 for depth in DEPTHS]
    shared = power_law_over_seeds(DEPTHS, {0: bent, 1: bent, 2: bent})
    alone = power_law(DEPTHS, bent)
    assert shared.value == pytest.approx(alone.value)
    assert shared.residual == pytest.approx(alone.residual)
    assert shared.high - shared.low < 1e-12 < alone.high - alone.low


def test_one_seed_is_no_sample() -> None:
    with pytest.raises(InputError, match="at least 2 seeds, found 1"):
        power_law_over_seeds(DEPTHS, {0: [1, 1, 1, 1, 1]})


def test_the_seed_of_a_wrong_number_is_named() -> None:
    with pytest.raises(InputError, match=r"seed 7: y: .* found 0 at x = 16"):
        power_law_over_seeds(DEPTHS, {3: [1, 1, 1, 1, 1], 7: [0, 1, 1, 1, 1]})


# --- local exponents, reference depth ---


def test_local_exponents_tend_to_the_exponent_of_the_limit() -> None:
    depths = 2.0 ** np.arange(1, 14)
    local = local_exponents(depths, 1 / depths + 5 / depths**2)
    assert np.all(np.diff(local) > 0)
    assert local[0] < -1.5
    assert local[-1] == pytest.approx(-1, abs=1e-2)


def test_local_exponents_need_an_order() -> None:
    with pytest.raises(InputError, match="increasing"):
        local_exponents([1, 4, 2], [1, 1, 1])


def test_against_a_reference_a_law_in_one_over_depth_is_straight() -> None:
    depths = np.array([16, 64, 256, 512])
    distance = 3 * (1 / depths - 1 / 1024)
    assert power_law(against_reference(depths, 1024), distance).value == pytest.approx(-1, abs=1e-12)
    assert power_law(depths, distance).value < -1.1


def test_a_far_reference_changes_nothing() -> None:
    np.testing.assert_allclose(against_reference(DEPTHS, 1e12), DEPTHS, rtol=1e-9)


@pytest.mark.parametrize("depth", [1024, 2048, 0])
def test_depths_at_or_above_the_reference_are_refused(depth: int) -> None:
    with pytest.raises(InputError, match="below the reference 1024"):
        against_reference([16, depth], 1024)


# --- a law with a limit ---


@pytest.mark.parametrize("rate", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("limit", "factor"), [(3.0, 5.0), (-1.0, -0.1), (0.0, 1e6)])
def test_an_exact_convergence_law_is_found(rate: float, limit: float, factor: float) -> None:
    x = 2.0 ** np.arange(2, 11)
    law = convergence_law(x, limit + factor * x**-rate)
    assert law.rate == pytest.approx(rate, rel=1e-5)
    assert law.limit == pytest.approx(limit, abs=1e-5 * abs(factor))
    assert law.coefficient == pytest.approx(factor, rel=1e-4)
    assert law.low <= rate <= law.high
    assert law.high - law.low < 1e-5


def test_the_profile_interval_covers_the_truth_about_19_times_in_20() -> None:
    generator = np.random.default_rng(1)
    x = 2.0 ** np.arange(2, 10)
    noise = 0.02 * generator.standard_normal((200, len(x)))
    laws = [convergence_law(x, 1 + 2 / x + row) for row in noise]
    covered = np.mean([law.low <= 1 <= law.high for law in laws])
    assert 0.91 < covered < 0.99


def test_rounding_is_noise_too() -> None:
    # A small law on a large limit: its last digits are lost in y, and the interval must still hold the rate.
    x = 2.0 ** np.arange(2, 11)
    law = convergence_law(x, 1e6 + x**-1.5)
    assert law.low <= 1.5 <= law.high


def test_a_convergence_law_is_the_least_squares_solution_of_scipy() -> None:
    from scipy.optimize import curve_fit

    x = 2.0 ** np.arange(2, 10)
    y = 1 + 2 / x + 0.01 * np.random.default_rng(2).standard_normal(len(x))
    law = convergence_law(x, y)
    (limit, factor, rate), covariance = curve_fit(lambda x, a, b, r: a + b * x**-r, x, y, p0=(1, 2, 1))
    assert (law.limit, law.coefficient, law.rate) == pytest.approx((limit, factor, rate), rel=1e-4)
    assert law.residual**2 * (len(x) - 3) == pytest.approx(np.sum((y - limit - factor * x**-rate) ** 2), rel=1e-6)
    # The profile interval is not symmetric, but as wide as the linearised one to leading order: t with 5 degrees of freedom is 2.57.
    assert law.high - law.low == pytest.approx(2 * 2.57 * math.sqrt(covariance[2, 2]), rel=0.1)


def test_data_without_a_trend_leave_the_rate_unbounded() -> None:
    law = convergence_law([1, 2, 4, 8, 16], [1.0, 1.0, 1.0, 1.0, 1.0])
    assert (law.low, law.high) == (0.0, math.inf)
    assert law.limit == pytest.approx(1.0)


def test_a_convergence_law_needs_four_depths_and_finite_values() -> None:
    with pytest.raises(InputError, match="at least 4, found"):
        convergence_law([1, 2, 3], [1, 2, 3])
    with pytest.raises(InputError, match="at least 4 different"):
        convergence_law([1, 2, 3, 3], [1, 2, 3, 4])
    with pytest.raises(InputError, match="y: expected finite numbers"):
        convergence_law([1, 2, 3, 4], [1, 2, math.nan, 4])
    with pytest.raises(InputError, match="x: expected finite numbers above 0, found 0 at position 0"):
        convergence_law([0, 2, 3, 4], [1, 2, 3, 4])


# --- rows ---


def table(slopes: dict[int, float], depths: tuple[int, ...] = (2, 4, *DEPTHS)) -> pl.DataFrame:
    """Rows of one quantity that is a power law from depth 16 on and far from it below."""
    return pl.DataFrame(
        [
            {"depth": depth, "seed": seed, "iteration": 500, "value": 2 * float(depth) ** p * (1 if depth >= 16 else 9)}
            for seed, p in slopes.items()
            for depth in depths
        ]
    )


def test_an_exponent_is_fitted_per_seed_from_the_minimum_on() -> None:
    rows = table({2: -1.01, 1000: -1.0, 1001: -0.99}).sample(fraction=1.0, shuffle=True, seed=3)
    measured = exponent(rows)
    assert measured.value == pytest.approx(-1.0, abs=1e-12)
    assert measured.sample == 3
    assert measured.low < -1.01 < -0.99 < measured.high  # three seeds: t = 4.3
    assert measured.note == "slope in log depth, 5 points, depth 16 to 256; 95% t-interval over 3 values of seed"
    assert exponent(rows, minimum=2).value < -1.2


def test_one_seed_has_the_interval_of_its_line() -> None:
    rows = table({2: -1.0})
    measured = exponent(rows)
    assert measured.value == pytest.approx(-1.0)
    assert measured.sample == 1
    assert "of the line" in measured.note


def test_rows_without_a_seed_are_one_curve() -> None:
    rows = table({2: -1.0}).with_columns(seed=pl.lit(None, dtype=pl.Int64))
    assert exponent(rows).sample == 1


def test_other_columns_can_be_the_axis() -> None:
    rows = pl.DataFrame({"iteration": [50, 100, 200, 400], "run": ["a"] * 4, "gap": [1, 2, 4, 8]})
    assert exponent(rows, "iteration", y="gap", by="run").value == pytest.approx(1.0)


def test_distances_from_a_reference_leave_the_reference_out() -> None:
    depths = (16, 64, 256, 512, 1024)
    rows = pl.DataFrame(
        {
            "depth": depths * 2,
            "seed": [0] * 5 + [1] * 5,
            "value": [c * (1 / d - 1 / 1024) for c in (1, 3) for d in depths],
        }
    )
    measured = exponent(rows, reference=1024)
    assert measured.value == pytest.approx(-1, abs=1e-12)
    assert "log 1/(1/depth - 1/1024), 4 points, depth 16 to 512" in measured.note
    with pytest.raises(InputError, match=r"found the row .*'depth': 1024"):
        exponent(rows)


def test_missing_rows_leave_an_exponent_unmeasured() -> None:
    rows = table({0: -1.0, 1: -1.0})
    with pytest.raises(LookupError, match="no rows"):
        exponent(rows.clear())
    with pytest.raises(LookupError, match="no rows"):
        exponent(pl.DataFrame())
    with pytest.raises(LookupError, match=r"at least 3 values of depth from 16 on, found \[16, 32\]"):
        exponent(rows.filter(pl.col("depth") <= 32))
    with pytest.raises(LookupError, match="seed 1 has no value at depth 64, 128"):
        exponent(rows.filter((pl.col("seed") == 0) | ~pl.col("depth").is_in([64, 128])))


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf, None])
def test_a_value_without_a_logarithm_is_named_with_its_row(wrong: float | None) -> None:
    here = (pl.col("depth") == 64) & (pl.col("seed") == 1)
    rows = table({0: -1.0, 1: -1.0}).with_columns(value=pl.when(here).then(pl.lit(wrong)).otherwise(pl.col("value")))
    with pytest.raises(
        InputError, match=r"value: expected finite numbers above 0, found the row .*'depth': 64, 'seed': 1"
    ):
        exponent(rows)
    assert exponent(rows.filter(pl.col("seed") == 0)).value == pytest.approx(-1.0)


def test_rows_that_mix_quantities_are_refused() -> None:
    rows = table({0: -1.0})
    with pytest.raises(InputError, match=r"one row per depth and seed, found several such as .*'iteration': 500"):
        exponent(pl.concat([rows, rows]))
    with pytest.raises(InputError, match="column: expected one of depth; found 'dept'"):
        exponent(rows, "dept")
    with pytest.raises(InputError, match="depth: expected a number in every row, found a row without"):
        exponent(pl.concat([rows, pl.DataFrame({"depth": [None], "seed": [0], "iteration": [1], "value": [1.0]})]))


# --- published tables ---

PUBLISHED = {(64, 50): 0.08, (64, 450): 3.4, (256, 50): 0.04}


def ours(*factors: float, dtype: str) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"depth": depth, "iteration": iteration, "dtype": dtype, "value": value * factor}
            for ((depth, iteration), value), factor in zip(PUBLISHED.items(), factors, strict=True)
        ]
    )


def test_the_largest_deviation_and_its_spread_over_precisions() -> None:
    rows = pl.concat([ours(1.01, 0.98, 1.0, dtype="float64"), ours(1.01, 0.97, 1.0, dtype="float32")])
    measured = table_deviation(rows, PUBLISHED, keys=["depth", "iteration"])
    assert (measured.value, measured.low, measured.high) == pytest.approx((0.02, 0.02, 0.03))
    assert measured.sample == 3
    assert "at depth 64, iteration 450; range over dtype float64, float32" in measured.note
    assert table_deviation(rows.filter(pl.col("dtype") == "float64"), PUBLISHED, keys=["depth", "iteration"]).high == (
        pytest.approx(0.02)
    )


def test_a_table_equal_to_the_published_one_deviates_by_nothing() -> None:
    measured = table_deviation(ours(1, 1, 1, dtype="float64").drop("dtype"), PUBLISHED, keys=["depth", "iteration"])
    assert (measured.value, measured.low, measured.high) == (0, 0, 0)


def test_rows_beyond_the_published_cells_do_not_count() -> None:
    rows = ours(1, 5, 1, dtype="float64")
    some = {cell: value for cell, value in PUBLISHED.items() if cell != (64, 450)}
    assert table_deviation(rows, some, keys=["depth", "iteration"]).value == pytest.approx(0, abs=1e-15)
    assert table_deviation(rows, PUBLISHED, keys=["depth", "iteration"]).value == pytest.approx(4)


def test_a_cell_can_be_the_absence_of_a_key() -> None:
    rows = pl.DataFrame({"depth": [64, None], "value": [1.0, 2.0]})
    assert table_deviation(rows, {(None,): 1.0}, keys=["depth"]).value == pytest.approx(1.0)


def test_missing_cells_leave_the_deviation_unmeasured() -> None:
    rows = pl.concat([ours(1, 1, 1, dtype="float64"), ours(1, 1, 1, dtype="float32").head(2)])
    with pytest.raises(LookupError, match="no row for the published cell depth 256, iteration 50"):
        table_deviation(rows, PUBLISHED, keys=["depth", "iteration"])
    with pytest.raises(LookupError, match="no rows"):
        table_deviation(rows.clear(), PUBLISHED, keys=["depth", "iteration"])
    with pytest.raises(LookupError, match="no cells"):
        table_deviation(rows, {}, keys=["depth", "iteration"])


def test_unusable_tables_are_refused() -> None:
    rows = ours(1, 1, 1, dtype="float64")
    with pytest.raises(InputError, match="one row for the cell depth 64, found 2"):
        table_deviation(rows, {(64,): 1.0}, keys=["depth"])
    with pytest.raises(InputError, match=r"cells of 2 parts \('depth', 'iteration'\), found \(64,\)"):
        table_deviation(rows, {(64,): 1.0}, keys=["depth", "iteration"])
    with pytest.raises(InputError, match="other than 0"):
        table_deviation(rows, {(256,): 0.0}, keys=["depth"])
    with pytest.raises(InputError, match=r"value: expected a finite number, found the row .*'depth': 256"):
        table_deviation(ours(1, 1, math.nan, dtype="float64"), {(256,): 1.0}, keys=["depth"])


def test_the_half_width_of_a_mean_is_students():
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / 3**0.5)
    assert half_width([1.0, 2.0, 3.0], 0.99) == pytest.approx(9.924843 / 3**0.5)
    assert math.isnan(half_width([1.0, math.inf]))


# --- over seeds ---


def test_one_seed_has_no_interval():
    found = mean_over_seeds([2.0], "x")
    assert (found.low, found.value, found.high, found.sample) == (2.0, 2.0, 2.0, 1)
    with pytest.raises(LookupError, match="no values: x"):
        mean_over_seeds([], "x")
