"""The strip of a verdict: interval against band."""

from __future__ import annotations

import math
from typing import Any

import pytest

from deeplimit.claims import Claim, Measured, Verdict
from deeplimit.report.strip import WIDTH, strip


def verdict(measured: Measured | None, **band: Any) -> Verdict:
    claim = Claim("a.1", "s", "w", "q", lambda _: Measured(0, 0, 0), source="text", **band)
    return Verdict(claim, measured, "undecided", "", "quick")


def test_a_value_in_the_middle_of_its_band() -> None:
    found = strip(verdict(Measured(-1.0, -1.01, -0.99), expected=-1.0, tolerance=0.02))
    assert found is not None
    assert (found.band_low, found.value, found.band_high) == (25.0, 50.0, 75.0)
    assert (found.low, found.high, found.off) == (37.5, 62.5, 0)
    assert "inside" in found.words


@pytest.mark.parametrize(("value", "off", "words"), [(-0.5, 1, "far above"), (-1.5, -1, "far below")])
def test_a_value_far_outside_is_an_arrow(value: float, off: int, words: str) -> None:
    found = strip(verdict(Measured(value, value, value), expected=-1.0, tolerance=0.02))
    assert found is not None
    assert found.off == off
    assert words in found.words


@pytest.mark.parametrize(("relation", "low", "high"), [("at most", 0.0, 50.0), ("at least", 50.0, WIDTH)])
def test_a_one_sided_band_runs_to_its_end(relation: str, low: float, high: float) -> None:
    found = strip(verdict(Measured(3.0, 2.0, 4.0), expected=1.0, tolerance=0.0, relation=relation))
    assert found is not None
    assert (found.band_low, found.band_high) == (low, high)
    assert found.value > 50.0


def test_what_cannot_be_placed_has_no_strip() -> None:
    assert strip(verdict(None, expected=1.0, tolerance=0.1)) is None
    assert strip(verdict(Measured(math.nan, 0, 1), expected=1.0, tolerance=0.1)) is None
    exact = strip(verdict(Measured(0, 0, 0), expected=0.0, tolerance=0.0))
    assert exact is not None
    assert exact.value == exact.band_low == exact.band_high
