"""Exponents with intervals, and the measured numbers that claims are judged by.

A law y = c·x^p is a straight line of slope p on log–log axes. Two intervals are offered for p, and they mean different
things. Along one curve (`power_law`) the interval comes from the residuals about the line, so that a curve that bends
gets a wide one. Over seeds (`power_law_over_seeds`) the abscissae are a design, the same for every seed, and the seeds
are the sample: the interval says how far the mean slope would move with other seeds, and says nothing about a bend they
share; `local_exponents` shows that.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeplimit import checks
from deeplimit.claims import Measured

if TYPE_CHECKING:
    import polars as pl

LEVEL = 0.95
"""Level of every interval of this module."""

Floats = NDArray[np.float64]

# ---------------------------------------------------------------------------------------------------------- power laws


@dataclass(frozen=True)
class Exponent:
    """A fitted power law y = e^intercept · x^value.

    Args:
        value: the exponent.
        low, high: its 95 % interval.
        n: number of abscissae.
        intercept: log y at x = 1.
        residual: residual standard error of log y about the line, √(RSS/(n−2)): noise and bend together.
        sample: number of independent curves behind the interval: 1, or the number of seeds.
    """

    value: float
    low: float
    high: float
    n: int
    intercept: float
    residual: float
    sample: int = 1


def power_law(x: ArrayLike, y: ArrayLike) -> Exponent:
    """Fit one curve by least squares on the logarithms.

    log y_i = a + p log x_i + ε_i;  p̂ ± t_{n−2} s / √(Σ (log x_i − mean)²),  s² = RSS/(n−2)

    Args:
        x, y: n ≥ 3 positive numbers each, at least two different x.

    Raises:
        InputError: fewer than 3 points, or a number that has no logarithm.

    >>> fit = power_law([16, 64, 256], [1 / 16, 1 / 64, 1 / 256])
    >>> round(fit.value, 12), fit.n
    (-1.0, 3)
    """
    log_x, log_y = _logarithms(x, y, least=3)
    slope, intercept, residual = _line(log_x, log_y)
    spread = float(np.sqrt(np.sum((log_x - log_x.mean()) ** 2)))
    half = _quantile(len(log_x) - 2) * residual / spread
    return Exponent(slope, slope - half, slope + half, len(log_x), intercept, residual)


def power_law_over_seeds(x: ArrayLike, y_by_seed: Mapping[Any, ArrayLike]) -> Exponent:
    """Fit one slope per seed on common abscissae; the interval is that of the mean slope over seeds.

    p̄ ± t_{S−1} s_p / √S,  S seeds, s_p the standard deviation of their slopes

    Args:
        x: n ≥ 3 positive numbers, the same for every seed.
        y_by_seed: seed -> n positive numbers; at least 2 seeds.

    Returns:
        The mean slope; `intercept` is the mean intercept, `residual` the root mean square of the seeds' residual
        standard errors, and `sample` the number of seeds.

    Raises:
        InputError: fewer than 2 seeds or 3 points, or a number that has no logarithm.

    >>> fit = power_law_over_seeds([1, 2, 4], {0: [4, 2, 1], 1: [8, 4, 2]})
    >>> round(fit.value, 12), fit.sample
    (-1.0, 2)
    """
    if len(y_by_seed) < 2:
        raise checks.InputError(f"y_by_seed: expected at least 2 seeds, found {len(y_by_seed)}; use power_law for one")
    fits = []
    for seed, y in y_by_seed.items():
        log_x, log_y = _logarithms(x, y, least=3, where=f"seed {seed}: ")
        fits.append(_line(log_x, log_y))
    slopes, intercepts, residuals = np.array(fits).T
    half = half_width(slopes)
    value, residual = float(slopes.mean()), float(np.sqrt(np.mean(residuals**2)))
    intercept = float(intercepts.mean())
    return Exponent(value, value - half, value + half, np.size(x), intercept, residual, len(slopes))


def half_width(values: ArrayLike, level: float = LEVEL) -> float:
    """Half the Student interval of the mean of n ≥ 2 independent numbers, t_{n−1} s / √n; NaN where one is not finite.

    >>> round(half_width([1.0, 2.0, 3.0]), 3)
    2.484
    """
    checks.inside("level", level)
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return _quantile(len(numbers) - 1, level) * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))


def mean_over_seeds(values: Sequence[float], note: str) -> Measured:
    """The mean of one number per seed with its t-interval; the number itself where there is one seed.

    Raises:
        LookupError: there is none.

    >>> found = mean_over_seeds([1.0, 2.0, 3.0], "a number")
    >>> found.value, found.sample, round(found.low, 3)
    (2.0, 3, -0.484)
    """
    import numpy as np

    if not values:
        raise LookupError(f"no values: {note}")
    count, mean = len(values), float(np.mean(values))
    half = half_width(values) if count > 1 else 0.0
    said = f"{note}; {LEVEL:.0%} t-interval over {count} seeds" if count > 1 else f"{note}; one seed"
    return Measured(mean, mean - half, mean + half, count, said)


def local_exponents(x: ArrayLike, y: ArrayLike) -> Floats:
    """Slopes between successive points of a curve on log–log axes.

    p_i = log(y_{i+1}/y_i) / log(x_{i+1}/x_i)

    Args:
        x, y: n ≥ 2 positive numbers each, x increasing.

    Returns:
        n − 1 slopes: constant for a power law, tending to the exponent for a law that is one in the limit.

    >>> local_exponents([1, 2, 4], [1, 4, 64]).round(12).tolist()
    [2.0, 4.0]
    """
    log_x, log_y = _logarithms(x, y, least=2)
    if not np.all(np.diff(log_x) > 0):
        raise checks.InputError(f"x: expected increasing numbers, found {np.asarray(x).tolist()}")
    slopes: Floats = np.diff(log_y) / np.diff(log_x)
    return slopes


def against_reference(depth: ArrayLike, reference: float) -> Floats:
    """Abscissa on which an O(1/L) law compared with a finite reference depth has slope −1 exactly.

    If Z^L = Z + c/L, then Z^L − Z^{L_ref} = c (1/L − 1/L_ref): a power law in 1/(1/L − 1/L_ref), not in L.

    Args:
        depth: depths L, all below the reference.
        reference: L_ref.

    Raises:
        InputError: a depth that is not positive, or not below the reference.

    >>> against_reference([16, 512], 1024).round(4).tolist()
    [16.254, 1024.0]
    """
    depths = np.asarray(depth, dtype=np.float64)
    checks.positive("reference", reference)
    if not np.all((depths > 0) & (depths < reference)):
        raise checks.InputError(
            f"depth: expected depths above 0 and below the reference {reference}, found {depths.tolist()}"
        )
    abscissa: Floats = 1 / (1 / depths - 1 / reference)
    return abscissa


# ---------------------------------------------------------------------------------------------- laws with a limit value


@dataclass(frozen=True)
class ConvergenceLaw:
    """A fitted law y = limit + coefficient · x^(−rate).

    Args:
        limit, coefficient: a and b.
        rate: r > 0.
        low, high: 95 % interval of r; 0 or infinity where the data do not bound it.
        n: number of points.
        residual: residual standard error √(RSS/(n−3)).
    """

    limit: float
    coefficient: float
    rate: float
    low: float
    high: float
    n: int
    residual: float


_RATES = (1e-2, 10.0)  # the rates looked at; an interval that reaches an end of it is open on that side


def convergence_law(x: ArrayLike, y: ArrayLike) -> ConvergenceLaw:
    """Fit y = a + b·x^(−r) by least squares, with a profile interval for r.

    RSS(r) = min over a, b of Σ (y_i − a − b x_i^(−r))²;  interval {r : RSS(r) ≤ RSS_min (1 + t²_{n−3} / (n−3))}

    Given r the law is linear, so that a and b are solved for and only r is searched, in [0.01, 10].

    Args:
        x: n ≥ 4 different positive numbers (depths).
        y: n finite numbers of any sign, of comparable accuracy.

    Raises:
        InputError: fewer than 4 points, equal or non-positive x, or a y that is not finite.

    >>> law = convergence_law([16, 32, 64, 128, 256], [3 + 5 / L for L in (16, 32, 64, 128, 256)])
    >>> round(law.limit, 6), round(law.coefficient, 6), round(law.rate, 6)
    (3.0, 5.0, 1.0)
    """
    log_x, values = _limit_points(x, y)
    start = float(log_x.min())
    rate = _best_rate(log_x - start, values)
    limit, coefficient, squares = _limit_line(rate, log_x=log_x - start, y=values)
    # Sums of squares below the rounding of y carry no information on r.
    floor = len(values) * (4 * np.finfo(np.float64).eps * float(np.abs(values).max())) ** 2
    freedom = len(values) - 3
    threshold = max(squares, floor) * (1 + _quantile(freedom) ** 2 / freedom)
    low, high = _profile_interval(rate, threshold, log_x=log_x - start, y=values)
    scale = math.exp(rate * start)  # the line was fitted against x / min(x)
    return ConvergenceLaw(limit, coefficient * scale, rate, low, high, len(values), math.sqrt(squares / freedom))


def _limit_points(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _same_length(xs, ys, least=4)
    _positive_entries("x", xs)
    if len(np.unique(xs)) < 4:
        raise checks.InputError(f"x: expected at least 4 different numbers, found {xs.tolist()}")
    if not np.all(np.isfinite(ys)):
        raise checks.InputError(f"y: expected finite numbers, found {ys.tolist()}")
    return np.log(xs), ys


def _limit_line(rate: float, *, log_x: Floats, y: Floats) -> tuple[float, float, float]:
    """a, b and the sum of squares of the best y = a + b·exp(−r log x) at a given r."""
    z = np.expm1(-rate * log_x)  # x^(−r) − 1, which keeps its digits as r tends to 0
    centred = z - z.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    level = float(y.mean() - slope * z.mean())
    residual = y - level - slope * z
    return level - slope, slope, float(residual @ residual)


def _best_rate(log_x: Floats, y: Floats) -> float:
    from scipy.optimize import minimize_scalar

    grid = np.geomspace(*_RATES, 200)
    best = int(np.argmin([_limit_line(float(rate), log_x=log_x, y=y)[2] for rate in grid]))
    around = (math.log(grid[max(best - 1, 0)]), math.log(grid[min(best + 1, len(grid) - 1)]))

    # The root of the sum of squares: near a perfect fit the sum itself is flat to rounding over a wide range of r.
    found = minimize_scalar(
        lambda log_rate: math.sqrt(_limit_line(math.exp(log_rate), log_x=log_x, y=y)[2]),
        bounds=around,
        method="bounded",
        options={"xatol": 1e-10},
    )
    return math.exp(float(found.x))


def _profile_interval(rate: float, threshold: float, *, log_x: Floats, y: Floats) -> tuple[float, float]:
    """Ends of the set of rates whose sum of squares is below the threshold; 0 or infinity where it has no end."""
    from scipy.optimize import brentq

    def excess(r: float) -> float:
        return _limit_line(r, log_x=log_x, y=y)[2] - threshold

    grid = sorted({rate, *np.geomspace(*_RATES, 200).tolist()})
    inside = [i for i, r in enumerate(grid) if r == rate or excess(r) <= 0]
    first, last = inside[0], inside[-1]
    low = 0.0 if first == 0 else float(brentq(excess, grid[first - 1], grid[first]))
    high = math.inf if last == len(grid) - 1 else float(brentq(excess, grid[last], grid[last + 1]))
    return low, high


# ---------------------------------------------------------------------------------------- from rows to measured numbers


def exponent(
    rows: pl.DataFrame,
    x: str = "depth",
    *,
    y: str = "value",
    by: str = "seed",
    minimum: float = 16,
    reference: float | None = None,
) -> Measured:
    """Measure the exponent of y in x on rows that hold one value per x and seed.

    One slope per seed; the interval is the t-interval over seeds, or with a single seed that of the line. Nothing is
    dropped in silence: a seed without a value at one of the x makes the exponent unavailable.

    Args:
        rows: rows of one quantity.
        x, y, by: columns of the abscissa, of the value and of the independent repetitions.
        minimum: smallest x fitted; below it a law that holds in the limit is not straight yet.
        reference: L_ref where the values are distances from that depth: rows at L_ref are left out and the abscissa is
            `against_reference`.

    Returns:
        Measured, `sample` being the number of seeds.

    Raises:
        LookupError: no rows, fewer than 3 different x, or a seed that lacks one of them.
        InputError: two values for the same x and seed, or a value that is not a finite number above 0; the row is
        named.

    >>> import polars as pl
    >>> rows = pl.DataFrame({"depth": [16, 32, 64] * 2, "seed": [0, 0, 0, 1, 1, 1], "value": [4.0, 2, 1, 12, 6, 3]})
    >>> measured = exponent(rows)
    >>> round(measured.value, 12), measured.sample
    (-1.0, 2)
    """
    kept = _fitted_rows(rows, x=x, y=y, by=by, minimum=minimum, reference=reference)
    abscissae, curves = _curves(kept, x, y=y, by=by)
    xs = np.array(abscissae, dtype=np.float64) if reference is None else against_reference(abscissae, reference)
    if len(curves) == 1:
        fit, interval = power_law(xs, next(iter(curves.values()))), f"t-interval of the line ({by}: one)"
    else:
        fit, interval = power_law_over_seeds(xs, curves), f"t-interval over {len(curves)} values of {by}"
    axis = f"log {x}" if reference is None else f"log 1/(1/{x} - 1/{reference:g})"
    note = (
        f"slope in {axis}, {len(abscissae)} points, {x} {abscissae[0]:g} to {abscissae[-1]:g}; {LEVEL:.0%} {interval}"
    )
    return Measured(fit.value, fit.low, fit.high, fit.sample, note)


def table_deviation(
    rows: pl.DataFrame,
    published: Mapping[Any, float],
    *,
    keys: Sequence[str],
    value: str = "value",
    spread: str = "dtype",
) -> Measured:
    """Measure the largest relative deviation of our values from a published table.

    max over cells of |ours / published − 1|, once per value of the `spread` column; the interval is the range of these.

    Args:
        rows: rows of one quantity, on the authors' draw, with one value per cell and precision.
        published: cell -> published number; a cell is a tuple of values of the `keys` columns.
        keys: columns that name a cell.
        value: column of our value.
        spread: column over which a deterministic number is computed several times; it may be absent.

    Returns:
        Measured, `sample` being the number of cells; `value` belongs to the first precision of the rows, and the note
        names its worst cell.

    Raises:
        LookupError: a published cell that the rows do not hold in every precision, or an empty table.
        InputError: two values for one cell, a value that is not finite, or a published number that is 0 or not finite.

    >>> import polars as pl
    >>> rows = pl.DataFrame({"depth": [16, 64], "value": [1.02, 0.99]})
    >>> measured = table_deviation(rows, {(16,): 1.0, (64,): 1.0}, keys=["depth"])
    >>> round(measured.value, 6), measured.note
    (0.02, 'largest |ours/published - 1| of 2 cells, at depth 16; one precision')
    """
    if not published:
        raise LookupError("the published table has no cells")
    _usable(rows, [*keys, value])
    versions = rows.get_column(spread).unique(maintain_order=True).to_list() if spread in rows.columns else [None]
    parts = [rows if spread not in rows.columns else rows.filter(_equals(spread, version)) for version in versions]
    worst = [_worst_cell(part, published, keys=keys, value=value) for part in parts]
    deviations = [deviation for deviation, _ in worst]
    where = _cell_name(worst[0][1], keys)
    over = f"range over {spread} {', '.join(map(str, versions))}" if len(versions) > 1 else "one precision"
    note = f"largest |ours/published - 1| of {len(published)} cells, at {where}; {over}"
    return Measured(deviations[0], min(deviations), max(deviations), len(published), note)


def _fitted_rows(
    rows: pl.DataFrame, *, x: str, y: str, by: str, minimum: float, reference: float | None
) -> pl.DataFrame:
    """The rows that a fit uses, sorted, each with an abscissa and a value that has a logarithm."""
    import polars as pl

    _usable(rows, [x, y, by])
    if rows.get_column(x).null_count():
        raise checks.InputError(
            f"{x}: expected a number in every row, found a row without: {_first(rows, pl.col(x).is_null())}"
        )
    kept = rows.filter(pl.col(x) >= minimum)
    if reference is not None:
        kept = kept.filter(pl.col(x) != reference)
    found = kept.get_column(x).unique().sort().to_list()
    if len(found) < 3:
        raise LookupError(f"an exponent needs at least 3 values of {x} from {minimum:g} on, found {found}")
    number = pl.col(y).cast(pl.Float64)
    unusable = number.is_null() | ~number.is_finite() | (number <= 0)
    if not kept.filter(unusable).is_empty():
        raise checks.InputError(f"{y}: expected finite numbers above 0, found the row {_first(kept, unusable)}")
    repeated = pl.struct(x, by).is_duplicated()
    if not kept.filter(repeated).is_empty():
        raise checks.InputError(f"expected one row per {x} and {by}, found several such as {_first(kept, repeated)}")
    return kept.sort(by, x)


def _curves(rows: pl.DataFrame, x: str, *, y: str, by: str) -> tuple[list[float], dict[Hashable, Floats]]:
    """The common abscissae, and one curve of values per seed."""
    abscissae = rows.get_column(x).unique().sort().to_list()
    curves: dict[Hashable, Floats] = {}
    for (seed,), part in rows.group_by([by], maintain_order=True):
        missing = sorted(set(abscissae) - set(part.get_column(x).to_list()))
        if missing:
            raise LookupError(f"{by} {seed} has no value at {x} {', '.join(map(str, missing))}")
        curves[seed] = part.get_column(y).to_numpy().astype(np.float64)
    return abscissae, curves


def _worst_cell(
    rows: pl.DataFrame, published: Mapping[Any, float], *, keys: Sequence[str], value: str
) -> tuple[float, tuple[object, ...]]:
    """The largest relative deviation from the published table, and the cell it is found in."""
    deviations = {
        cell: abs(_cell(rows, cell, keys=keys, value=value) / _reference(cell, number) - 1)
        for cell, number in published.items()
    }
    worst = max(deviations, key=lambda cell: deviations[cell])
    return deviations[worst], worst


def _cell(rows: pl.DataFrame, cell: tuple[object, ...], *, keys: Sequence[str], value: str) -> float:
    """Our one value of a cell."""
    if len(cell) != len(keys):
        raise checks.InputError(f"published: expected cells of {len(keys)} parts {tuple(keys)}, found {cell!r}")
    found = rows.filter(*[_equals(key, part) for key, part in zip(keys, cell, strict=True)])
    name = _cell_name(cell, keys)
    if found.is_empty():
        raise LookupError(f"no row for the published cell {name}")
    if len(found) > 1:
        raise checks.InputError(
            f"expected one row for the cell {name}, found {len(found)} such as {found.row(0, named=True)}"
        )
    ours = found.get_column(value).item()
    if ours is None or not math.isfinite(ours):
        raise checks.InputError(f"{value}: expected a finite number, found the row {found.row(0, named=True)}")
    return float(ours)


def _cell_name(cell: tuple[object, ...], keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {part}" for key, part in zip(keys, cell, strict=True))


def _reference(cell: tuple[object, ...], number: float) -> float:
    if not math.isfinite(number) or number == 0:
        raise checks.InputError(f"published: expected a finite number other than 0 for {cell!r}, found {number!r}")
    return number


def _equals(column: str, value: object) -> pl.Expr:
    import polars as pl

    return pl.col(column).is_null() if value is None else pl.col(column).eq(value)


def _first(rows: pl.DataFrame, condition: pl.Expr) -> dict[str, object]:
    return {name: part for name, part in rows.filter(condition).row(0, named=True).items() if part is not None}


def _usable(rows: pl.DataFrame, needed: Sequence[str]) -> None:
    """Check that there are rows, with the columns needed."""
    if rows.is_empty():
        raise LookupError("no rows")
    for name in needed:
        checks.one_of("column", name, rows.columns)


# -------------------------------------------------------------------------------------------------------------- helpers


def _line(log_x: Floats, log_y: Floats) -> tuple[float, float, float]:
    """Slope, intercept and residual standard error of the least-squares line through at least 3 points."""
    centred = log_x - log_x.mean()
    slope = float(centred @ log_y / (centred @ centred))
    intercept = float(log_y.mean() - slope * log_x.mean())
    residual = log_y - intercept - slope * log_x
    return slope, intercept, math.sqrt(float(residual @ residual) / (len(log_x) - 2))


def _quantile(freedom: int, level: float = LEVEL) -> float:
    """Two-sided Student quantile: a t variable lies within ± it with probability `level`."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def _logarithms(x: ArrayLike, y: ArrayLike, *, least: int, where: str = "") -> tuple[Floats, Floats]:
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _same_length(xs, ys, least=least, where=where)
    _positive_entries(f"{where}x", xs)
    _positive_entries(f"{where}y", ys, beside=xs)
    if len(np.unique(xs)) < 2:
        raise checks.InputError(f"{where}x: expected at least 2 different numbers, found {xs.tolist()}")
    return np.log(xs), np.log(ys)


def _same_length(xs: Floats, ys: Floats, *, least: int, where: str = "") -> None:
    if xs.ndim != 1 or xs.shape != ys.shape or len(xs) < least:
        found = f"{xs.shape} and {ys.shape}"
        raise checks.InputError(
            f"{where}x, y: expected two flat sequences of equal length, at least {least}, found {found}"
        )


def _positive_entries(name: str, values: Floats, *, beside: Floats | None = None) -> None:
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        at = f"position {wrong[0]}" if beside is None else f"x = {beside[wrong[0]]:g}"
        raise checks.InputError(f"{name}: expected finite numbers above 0, found {values[wrong[0]]:g} at {at}")
