"""Points as they can be drawn: finite, inside the axes' domain, and no more of them than can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from deeplimit.checks import InputError

Array = npt.NDArray[np.float64]

HUGE = 1e200  # beyond it the arithmetic of axis limits overflows
BINS = 500  # columns of a panel in which a long curve is resolved


def drawable(values: Iterable[float], *, log: bool) -> Array:
    """Values as an array in which NaN stands for whatever has no place on the axis."""
    array = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(array) < HUGE) | ((array < 1 / HUGE) if log else False)
    array[bad] = np.nan
    return array


def paired(columns: Sequence[Array], label: str) -> None:
    """Check that the columns of a curve have one length."""
    sizes = [len(column) for column in columns]
    if len(set(sizes)) > 1:
        raise InputError(f"curve {label!r}: expected x, y and band of one length, found {sizes}")


def thinned(x: Array, y: Array, *, log: bool = False) -> npt.NDArray[np.intp]:
    """Indices of the points that draw the same curve: first, last, lowest and highest of each column of the panel.

    Curves that are short, or that run back and forth in x, are kept whole.
    """
    everything = np.arange(len(x))
    good = everything[np.isfinite(x) & np.isfinite(y)]
    if len(x) <= 4 * BINS or np.any(np.diff(x[good]) < 0) or x[good[0]] == x[good[-1]]:
        return everything
    place = np.log(x[good]) if log else x[good]
    column = np.floor((place - place[0]) / (place[-1] - place[0]) * (BINS - 1)).astype(np.intp)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    kept = [part[[0, int(np.argmin(y[part])), int(np.argmax(y[part])), -1]] for part in np.split(good, starts[1:])]
    return np.unique(np.concatenate(kept))


def spread_out(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions in [0, 1] as near to the wanted ones as keeps them `gap` apart, in the same order.

    >>> [round(p, 2) for p in spread_out([0.5, 0.5, 0.9], 0.1)]
    [0.45, 0.55, 0.9]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[list[int]] = []
    for i in order:
        groups.append([i])
        while len(groups) > 1 and _foot(groups[-1], wanted, gap=gap) < _foot(groups[-2], wanted, gap=gap) + gap * len(
            groups[-2]
        ):
            last = groups.pop()
            groups[-1].extend(last)
    placed = [0.0] * len(wanted)
    for group in groups:
        for step, i in enumerate(group):
            placed[i] = _foot(group, wanted, gap=gap) + gap * step
    return placed


def _foot(group: Sequence[int], wanted: Sequence[float], *, gap: float) -> float:
    """Lowest position of a group centred on the mean of what its members want, held inside [0, 1]."""
    room = gap * (len(group) - 1)
    centre = sum(wanted[i] for i in group) / len(group)
    return max(0.0, min(centre - room / 2, 1.0 - room))
