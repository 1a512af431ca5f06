"""Ticks: at the values that were run, few, and never touching."""

from __future__ import annotations

from itertools import pairwise

import pytest
from matplotlib.figure import Figure as Canvas

from deeplimit.report import axes


def labels(limits: tuple[float, float], values: tuple[float, ...] = (), *, log: bool = True) -> list[str]:
    """The labels of the major ticks inside the limits of an axis that has been dressed."""
    ax = Canvas().add_subplot()
    ax.set(xlim=limits, xscale="log" if log else "linear")
    if log:
        axes.dress_log(ax.xaxis, limits, values=values)
    else:
        axes.dress_linear(ax.xaxis, limits)
    ticks = [float(tick) for tick in ax.xaxis.get_majorticklocs() if limits[0] <= tick <= limits[1]]
    return ax.xaxis.get_major_formatter().format_ticks(ticks)


def test_depths_are_ticked_themselves() -> None:
    assert axes.whole_values([64, 2, 16, 2]) == [2, 16, 64]
    assert axes.whole_values([0.5, 1, 2]) == []
    assert axes.whole_values(range(1, 40)) == []


def test_ticks_of_a_log_axis() -> None:
    assert labels((1.5, 1300), (2, 16, 64, 256, 1014)) == ["2", "16", "64", "256", "1014"]
    assert labels((0.005, 20)) == ["0.01", "0.1", "1", "10"]
    assert labels((1e-7, 10))[0] == r"$10^{-7}$"
    assert labels((1.5, 9)) == ["2", "5"]
    assert labels((2e-8, 3.5e-8)) == [r"$2\times10^{-8}$", r"$3\times10^{-8}$"]


def test_ticks_of_a_linear_axis() -> None:
    assert labels((0, 80_000), log=False) == ["0", "20\u2009000", "40\u2009000", "60\u2009000", "80\u2009000"]
    assert labels((-20_000, 0), log=False)[0] == "−20\u2009000"


@pytest.mark.parametrize("count", range(2, 15))
def test_labels_of_depths_do_not_touch(count: int) -> None:
    values = [2.0**i for i in range(1, count + 1)]
    kept = axes.apart(values, (values[0] / 1.2, values[-1] * 1.2))
    assert kept[-1] == values[-1]
    assert len({right / left for left, right in pairwise(kept)}) <= 1  # evenly chosen
    assert len(kept) >= min(count, 4)
    assert (len(kept) < count) == (count > 10)


def test_an_axis_of_whole_numbers_has_no_ticks_between_them() -> None:
    axis = Canvas().add_subplot()
    axis.set_xlim(0, 12)
    axes.dress_linear(axis.xaxis, (0, 12))
    assert 2.5 in axis.get_xticks()
    axes.dress_linear(axis.xaxis, (0, 12), whole=True)
    assert all(float(tick).is_integer() for tick in axis.get_xticks())
