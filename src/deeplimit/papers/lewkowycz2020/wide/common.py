"""What the studies of wide networks share: claims, measures over seeds and time, and curves against λt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve
from deeplimit.fits import exponent, mean_over_seeds
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import seed_band

if TYPE_CHECKING:
    import polars as pl

Measure = Callable[["pl.DataFrame"], Measured]

REPLICATES = 7
"""With the first seed these are 8."""


def claim(
    name: str, statement: str, *, quantity: str, measure: Measure, band: tuple[float, float], **others: Any
) -> Claim:
    """A claim of the theory with the 5 seeds that an exponent needs; `band` is the expected value and its tolerance."""
    fields = {"where": "Theorem 1", "source": "theorem", "minimum_sample": 5, **others}
    expected, tolerance = band
    return Claim(
        f"lewkowycz2020.8.{name}",
        statement,
        quantity=quantity,
        measure=measure,
        expected=expected,
        tolerance=tolerance,
        **fields,
    )


def over_time(rows: pl.DataFrame, quantity: str, *, until: float, since: float = 0.0) -> pl.DataFrame:
    """The largest value of a quantity along each run, while λt is between two values; one row per run.

    Raises:
        LookupError: no rows.
    """
    import polars as pl

    own = only(rows, quantity=quantity).filter(pl.col("clock").is_between(since - 1e-9, until + 1e-9))
    runs = [name for name in own.columns if name not in ("iteration", "clock", "value", "index", "depth")]
    return own.group_by(runs, maintain_order=True).agg(pl.col("value").max())


def mean_of_rows(rows: pl.DataFrame, note: str = "mean over seeds") -> Measured:
    """The mean of one value per seed, with its Student interval.

    Raises:
        LookupError: fewer than two seeds.
    """
    values = rows["value"].to_list()
    if len(values) < 2 or rows["seed"].n_unique() < len(values):
        raise LookupError(f"expected one value for each of at least two seeds, found {len(values)}")
    return mean_over_seeds(values, note)


def mean_largest(quantity: str, *, until: float, since: float = 0.0, **columns: object) -> Measure:
    """The measure of the mean over seeds of the largest value of a quantity along a run."""

    def measure(rows: pl.DataFrame) -> Measured:
        return mean_of_rows(over_time(only(rows, **columns), quantity, until=until, since=since))

    return measure


def in_width(quantity: str, *, until: float, **columns: object) -> Measure:
    """The measure of the exponent in the width of the largest value of a quantity along a run, one slope per seed."""

    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(over_time(only(rows, **columns), quantity, until=until), "width")

    return measure


def extreme(which: Literal["largest", "least"], rows: pl.DataFrame) -> Measured:
    """The largest or least value of rows with several per seed; the interval is the range of all."""
    values = rows["value"].to_list()
    value = max(values) if which == "largest" else min(values)
    return Measured(value, min(values), max(values), rows["seed"].n_unique(), f"the {which}; range of all")


def against_clock(rows: pl.DataFrame, quantity: str, *, label: str, **columns: object) -> Curve:
    """A quantity against λt, mean and range over seeds."""
    return seed_band(only(rows, quantity=quantity, **columns), "clock", label=label)
