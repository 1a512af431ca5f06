"""Selections of rows, the exponents that are read off them, and their curves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from deeplimit.claims import Measured
from deeplimit.figures import Curve, Panel
from deeplimit.fits import exponent
from deeplimit.papers.marion2024.common import only

if TYPE_CHECKING:
    import polars as pl

DELTA = "statistic.maximum.delta"
SHOWN = {
    "maximum": "max norm",
    "increment": "increments",
    "root_sum_of_squares": "root sum of squares",
    "cumulative_sum": "norm of the sum",
    "quadratic_variation": "quadratic variation",
    "detrended": "detrended sum",
}
"""Statistic -> its name in legends."""


def product(rows: pl.DataFrame, powers: Mapping[str, float]) -> pl.DataFrame:
    """The product of powers of some quantities, one row per depth and seed that have them all.

    Raises:
        LookupError: a quantity has no rows.
    """
    import polars as pl

    found = None
    for quantity, power in powers.items():
        own = only(rows, quantity=quantity).select("depth", "seed", (power * pl.col("value").log()).alias("value"))
        if found is None:
            found = own
        else:
            found = found.join(own, on=("depth", "seed"), suffix=".next").select(
                "depth", "seed", value=pl.col("value") + pl.col("value.next")
            )
    if found is None:
        raise LookupError("no quantity is named")
    return found.with_columns(pl.col("value").exp()).sort("depth", "seed")


def slope(
    setting: str,
    powers: str | Mapping[str, float],
    *,
    first: int = 3,
    last: int | None = None,
    sign: float = 1.0,
    at_0: float = 0.0,
) -> Callable[[pl.DataFrame], Measured]:
    """The measure of at_0 + sign × the exponent in depth of a quantity, or of a product of powers of quantities."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        own = product(only(rows, setting=setting), {powers: 1.0} if isinstance(powers, str) else powers)
        own = own.filter(pl.col("depth") <= (last or math.inf))
        found = exponent(own, minimum=first)
        ends = sorted((at_0 + sign * found.low, at_0 + sign * found.high))
        return dataclasses.replace(found, value=at_0 + sign * found.value, low=ends[0], high=ends[1])

    return measure


def curve(rows: pl.DataFrame, label: str, *, factor: float = 0.0) -> Curve:
    """Geometric mean over seeds against depth, times depth to the power `factor`, with the range over seeds as band.

    The slope of the mean is put behind the label.
    """
    import polars as pl

    scaled = rows.with_columns(value=pl.col("value") * pl.col("depth").cast(pl.Float64) ** factor)
    logs = scaled.filter(pl.col("value") > 0).with_columns(pl.col("value").log())
    table = logs.group_by("depth").agg(
        mean=pl.col("value").mean(), low=pl.col("value").min(), high=pl.col("value").max()
    )
    table = table.sort("depth").with_columns(pl.col("mean", "low", "high").exp())
    columns = {name: table[name].to_list() for name in ("depth", "mean", "low", "high")}
    return Curve(
        columns["depth"],
        columns["mean"],
        f"{label}: {_fitted(columns['depth'], columns['mean'])}",
        columns["low"],
        columns["high"],
    )


def _fitted(x: Sequence[float], y: Sequence[float]) -> str:
    """The exponent of a curve as text."""
    from deeplimit.fits import power_law

    return f"{power_law(x, y).value:+.2f}" if len(set(x)) > 2 else "?"


def against_depth(curves: Sequence[Curve], ylabel: str, *, title: str = "") -> Panel:
    """Curves in log–log axes."""
    return Panel(curves, "depth L", ylabel, title, xscale="log", yscale="log")


def statistics_panels(rows: pl.DataFrame, role: str, *, factor: float) -> list[Panel]:
    """What the paper plots of a role, its increments times L^factor, and the statistics that it speaks of besides.

    Args:
        rows: of one setting.
        role: `A` or `b`.
        factor: that of the paper's figure, which is its β.
    """

    def drawn(name: str, power: float = 0.0) -> Curve:
        label = SHOWN[name] + (f" · L^{power:g}" if power else "")
        return curve(only(rows, quantity=f"statistic.{name}.{role}"), label, factor=power)

    plotted = [drawn("maximum"), drawn("increment", factor), drawn("root_sum_of_squares")]
    others = [drawn(name) for name in ("cumulative_sum", "quadratic_variation", "detrended")]
    return [
        against_depth(plotted, f"norms of {role}", title="as in the paper"),
        against_depth(others, f"sums of {role}"),
    ]


def layers_panel(rows: pl.DataFrame, quantity: str, *, ylabel: str, sums: bool = False) -> Panel:
    """One number per layer of the deepest network of the first seed, or its sums over the layers so far.

    Raises:
        LookupError: the rows hold none.
    """
    own = only(rows, quantity=quantity)
    own = only(own, depth=max(own["depth"]))
    own = only(own, seed=min(own["seed"])).sort("index")
    values = own["value"].cum_sum() if sums else own["value"]
    depth = own["depth"][0]
    return Panel([Curve(own["index"].to_list(), values.to_list())], "layer k", ylabel, f"L = {depth}")
