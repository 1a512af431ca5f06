"""Points that can be drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.report.points import BINS, drawable, paired, spread_out, thinned


def test_thinned_curves_keep_their_ends_and_extremes() -> None:
    x = np.arange(80_001.0)
    y = np.exp(-x / 1e4)
    y[12_400] = 7.0
    kept = thinned(x, y)
    assert len(kept) <= 4 * BINS
    assert {0, 12_400, 80_000} <= set(kept.tolist())
    assert len(thinned(x[:100], y[:100])) == 100
    assert len(thinned(np.sin(x), y)) == len(x)  # runs back and forth


def test_thinning_on_a_log_axis_keeps_the_early_points() -> None:
    x = np.arange(1.0, 100_001.0)
    early = [int(np.sum(x[thinned(x, np.sin(x), log=log)] < 100)) for log in (True, False)]
    assert early[0] > 90 > early[1]


def test_what_has_no_place_on_an_axis_is_not_a_number() -> None:
    values = [1.0, -1.0, 0.0, float("inf"), float("nan"), 1e308, None]
    assert np.isnan(drawable(values, log=False)).tolist() == [False, False, False, True, True, True, True]  # type: ignore[arg-type]
    assert np.isnan(drawable(values, log=True)).tolist() == [False, True, True, True, True, True, True]  # type: ignore[arg-type]


def test_columns_of_one_length_pass_and_others_do_not() -> None:
    paired([np.zeros(2), np.ones(2)], "V")
    with pytest.raises(InputError, match=r"curve 'V': .* found \[2, 3\]"):
        paired([np.zeros(2), np.ones(3)], "V")


def test_labels_at_the_ends_of_curves_do_not_touch() -> None:
    placed = spread_out([0.5, 0.51, 0.52, 1.0, 0.99], 0.1)
    order = sorted(placed)
    assert all(b - a > 0.1 - 1e-9 for a, b in pairwise(order))
    assert sorted(range(5), key=placed.__getitem__) == [0, 1, 2, 4, 3]
    assert order[0] >= 0
    assert order[-1] <= 1
