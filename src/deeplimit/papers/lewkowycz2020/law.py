"""The time law of some runs: t_* against λ, its slope, and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deeplimit.claims import Measured
from deeplimit.figures import Curve, Panel
from deeplimit.fits import mean_over_seeds, power_law_over_seeds
from deeplimit.papers.lewkowycz2020.reading import TRAINED, VALIDATION, geometric_mean, peaks
from deeplimit.papers.marion2024.common import only

if TYPE_CHECKING:
    import polars as pl

WITHIN = {"argmax": 0.0, "0.1-point": 0.001, "0.25-point": 0.0025, "0.5-point": 0.005, "1-point": 0.01}
"""Definitions of t_*: how far below its maximum the smoothed accuracy may be."""
HALF_POINT = WITHIN["0.5-point"]


def times(
    rows: pl.DataFrame, *, within: float = HALF_POINT, quantity: str = VALIDATION, share: float = 1.0
) -> tuple[list[float], dict[int, list[float]]]:
    """The λ of all seeds, in rising order, and t_* by seed; see `reading.peaks`.

    Raises:
        LookupError: there are fewer than three λ or two seeds.
    """
    table: dict[int, dict[float, float]] = {}
    for peak in peaks(rows, within=within, quantity=quantity, share=share):
        table.setdefault(peak["seed"], {})[peak["weight_decay"]] = peak["time"]
    decays = sorted(set.intersection(*(set(own) for own in table.values()))) if table else []
    if len(decays) < 3 or len(table) < 2:
        raise LookupError(f"expected t* of three λ and two seeds, found {decays} of {len(table)}")
    return decays, {seed: [own[decay] for decay in decays] for seed, own in table.items()}


def slope(
    rows: pl.DataFrame, *, within: float = HALF_POINT, quantity: str = VALIDATION, share: float = 1.0
) -> Measured:
    """The slope of log t_* against log λ, over seeds."""
    decays, table = times(rows, within=within, quantity=quantity, share=share)
    fit = power_law_over_seeds(decays, table)
    note = f"λ from {decays[0]:g} to {decays[-1]:g}, a slope per seed"
    return Measured(fit.value, fit.low, fit.high, fit.sample, note)


def definitions_panel(rows: pl.DataFrame) -> Panel:
    """t_* against λ for each definition, with a line of slope −1."""
    found = {name: times(rows, within=within) for name, within in WITHIN.items()}
    lines = [banded(by_decay(*pair), name.replace("-", " ")) for name, pair in found.items()]
    top, bottom = lines[0], lines[-1]
    middle = geometric_mean([top.y[-1], bottom.y[-1]])
    guide = [middle * top.x[-1] / x for x in top.x]
    lines.append(Curve(top.x, guide, "1/λ", style="dotted"))
    return Panel(lines, "λ", "t* (steps)", xscale="log", yscale="log")


def clock_panel(groups: Mapping[str, pl.DataFrame]) -> Panel:
    """t_* in decay times, ηλt_*/(1 − m), against λ, one curve per group of rows."""
    lines = []
    for label, rows in groups.items():
        clocks: dict[float, list[float]] = {}
        for peak in peaks(rows, within=HALF_POINT):
            rate = peak["learning_rate"] / (1 - peak["momentum"])
            clocks.setdefault(peak["weight_decay"], []).append(rate * peak["weight_decay"] * peak["time"])
        lines.append(banded(clocks, label))
    return Panel(lines, "λ", "t* in decay times (0.5 points)", xscale="log", yscale="log")


def by_decay(decays: list[float], table: Mapping[int, list[float]]) -> dict[float, list[float]]:
    """λ -> the values of all seeds."""
    return {decay: [own[place] for own in table.values()] for place, decay in enumerate(decays)}


def banded(values: Mapping[float, list[float]], label: str) -> Curve:
    """The geometric mean against λ, with the range over seeds.

    >>> banded({0.1: [1.0, 100.0]}, "t*").y
    [10.000000000000002]
    """
    decays = sorted(values)
    columns = [values[decay] for decay in decays]
    return Curve(
        decays,
        [geometric_mean(c) for c in columns],
        label,
        low=[min(c) for c in columns],
        high=[max(c) for c in columns],
    )


def accuracy_curve(table: Mapping[int, Mapping[float, float]], label: str) -> Curve:
    """Mean and range over seeds against λ > 0, of seed -> λ -> accuracy.

    >>> accuracy_curve({0: {0.1: 0.5, 0.0: 1.0}, 1: {0.1: 0.75, 0.0: 1.0}}, "").y
    [0.625]
    """
    decays = sorted(decay for decay in next(iter(table.values())) if decay > 0)
    columns = [[own[decay] for own in table.values()] for decay in decays]
    means = [sum(column) / len(column) for column in columns]
    return Curve(decays, means, label, low=[min(c) for c in columns], high=[max(c) for c in columns])


def best_fit(rows: pl.DataFrame) -> Measured:
    """The best training accuracy at the end over λ, by seed."""
    own = only(rows, quantity=TRAINED)
    best = [max(own.filter(seed=seed)["value"].to_list()) for seed in sorted(set(own["seed"]))]
    return mean_over_seeds(best, "best final training accuracy over λ")
