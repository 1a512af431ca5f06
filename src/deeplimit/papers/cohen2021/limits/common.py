"""What the studies of limits share: sizes, the measures of their claims, and their panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Panel
from deeplimit.fits import exponent
from deeplimit.papers.cohen2021.limits.convergence import SIZE
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import guide, seed_band
from deeplimit.study import Tiered

if TYPE_CHECKING:
    import polars as pl

Measure = Callable[["pl.DataFrame"], Measured]

HYPOTHESES = {"H1": 0.0, "H2": SIZE}
"""Standard deviation of the noise."""

REPLICATES = 9
PATHS = Tiered(quick=8, paper=24)

STRONG = "exponent in L of the median of sup over k of ‖h_k − H(k/L)‖, L = 16…1024"


def slope(
    quantity: str, x: str = "depth", *, minimum: float = 16, reference: float | None = None, **columns: object
) -> Measure:
    """The measure of the exponent in x of a quantity, over the rows with these values of other columns."""

    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(only(rows, quantity=quantity, **columns), x, minimum=minimum, reference=reference)

    return measure


def largest(**columns: object) -> Measure:
    """The measure of the largest value of the rows with these values of columns, with their range."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, **columns)
        values = own["value"].to_list()
        return Measured(max(values), min(values), max(values), own["seed"].n_unique(), "the largest; range of all")

    return measure


def panel(
    rows: pl.DataFrame,
    curves: Mapping[str, Mapping[str, object]],
    *,
    x: str = "depth",
    labels: tuple[str, str] = ("depth L", "distance to the limit"),
    slopes: Sequence[float] = (),
    title: str = "",
) -> Panel:
    """Quantities against x, mean and range over seeds, with a dotted guide through the start of each of the first curves.

    Args:
        rows: of the study.
        curves: legend -> the columns that select a curve's rows.
        x: the column of the abscissa.
        labels: of both axes.
        slopes: of the guides, in the order of the curves.
        title: of the panel.
    """
    drawn = [seed_band(only(rows, **columns), x, label=label) for label, columns in curves.items()]
    guides = [guide(curve, power, factor=0.7) for curve, power in zip(drawn, slopes, strict=False)]
    return Panel([*drawn, *guides], *labels, title=title, xscale="log", yscale="log")


def claim(
    name: str, statement: str, *, quantity: str, measure: Measure, band: tuple[float, float], **others: Any
) -> Claim:
    """A claim with the 5 seeds that an exponent needs; `band` is the expected value and its tolerance."""
    fields = {"where": "limit theorems", "source": "derived", "minimum_sample": 5, **others}
    expected, tolerance = band
    return Claim(
        f"cohen2021.{name}",
        statement,
        quantity=quantity,
        measure=measure,
        expected=expected,
        tolerance=tolerance,
        **fields,
    )
