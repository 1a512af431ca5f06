"""Ticks and labels of axes: few, round, and where possible at the values that were run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from matplotlib import ticker

if TYPE_CHECKING:
    from matplotlib.axis import Axis

PLAIN = (0.9e-3, 1.1e4)  # log axes inside this range are labelled with plain numbers
GROUPED = (1e4, 1e7)  # linear axes reaching this far have thousands set apart
MOST_VALUES = 14  # as many distinct whole values are ticked themselves
MARGIN, DIGIT = 0.02, 0.024  # shares of an axis: space between labels, width of a digit


def _power(value: float, _: int | None = None) -> str:
    """A value as a power of ten, with its digit when that is not 1."""
    order = math.floor(math.log10(value) + 1e-9)
    digit = value / 10.0**order
    lead = "" if abs(digit - 1) < 1e-6 else rf"{digit:g}\times"
    return rf"${lead}10^{{{order}}}$"


def _plain(value: float, _: int | None = None) -> str:
    return f"{value:g}"


def _grouped(value: float, _: int | None = None) -> str:
    """A whole number with a thin space between thousands, minus sign included."""
    text = f"{abs(value):,.0f}".replace(",", "\u2009")
    return f"−{text}" if value < 0 else text


def whole_values(values: Sequence[float]) -> list[float]:
    """The distinct values when they are few and whole (depths, widths), else none."""
    distinct = sorted(set(values))
    few = 1 < len(distinct) <= MOST_VALUES and all(v >= 1 and float(v).is_integer() for v in distinct)
    return distinct if few else []


def _touch(left: float, right: float, *, span: float) -> bool:
    """Whether the labels of two values of a log axis of that log-span would touch."""
    width = (len(_plain(left)) + len(_plain(right))) / 2 * DIGIT
    return math.log(right / left) < (MARGIN + width) * span


def apart(values: Sequence[float], limits: tuple[float, float]) -> list[float]:
    """The values of a log axis that can be labelled: every one, every second …, counted from the largest.

    >>> apart([2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], (1.5, 1400))
    [4, 16, 64, 256, 1024]
    """
    span = math.log(limits[1] / limits[0])
    for step in range(1, len(values) + 1):
        kept = list(values[::-1][::step][::-1])
        if not any(_touch(left, right, span=span) for left, right in pairwise(kept)):
            return kept
    return []


def dress_log(axis: Axis, limits: tuple[float, float], *, values: Sequence[float] = ()) -> None:
    """Ticks of a log axis: at the whole values that were run, or at decades, or at 1-2-5 when it spans few decades."""
    low, high = limits
    ticks = whole_values(values)
    if ticks:
        axis.set_major_locator(ticker.FixedLocator(apart(ticks, limits)))
        axis.set_minor_locator(ticker.NullLocator())
        axis.set_major_formatter(ticker.FuncFormatter(_plain))
        return
    decades = math.log10(high / low)
    subs = (1.0,) if decades >= 1.7 else ((1.0, 2.0, 5.0) if decades >= 0.7 else tuple(range(1, 10)))
    axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=8))
    minor = ticker.LogLocator(subs=tuple(range(2, 10)), numticks=60) if decades <= 7 else ticker.NullLocator()
    axis.set_minor_locator(minor)
    axis.set_minor_formatter(ticker.NullFormatter())
    axis.set_major_formatter(ticker.FuncFormatter(_plain if PLAIN[0] <= low and high <= PLAIN[1] else _power))


def dress_linear(axis: Axis, limits: tuple[float, float], *, whole: bool = False) -> None:
    """Ticks of a linear axis: about five, thousands set apart, between whole numbers none where all values are `whole`."""
    axis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole))
    if GROUPED[0] <= max(map(abs, limits)) < GROUPED[1]:
        axis.set_major_formatter(ticker.FuncFormatter(_grouped))
