"""Numbers as text: digits follow the interval, powers of ten are factored out once."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplimit.claims import Claim, Measured
from deeplimit.report import formats


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (Measured(-0.99871, -1.00123, -0.99619), ("-0.9987", "[-1.0012, -0.9962]")),
        (Measured(80.0, 79.0, 81.0), ("80.0", "[79.0, 81.0]")),
        (Measured(7.05e-8, 6.95e-8, 7.15e-8), ("7.05e-8", "[6.95, 7.15]e-8")),
        (Measured(3e-17, 0.0, 4e-17), ("3.0e-17", "[0, 4.0]e-17")),
        (Measured(0.0, 0.0, 0.0), ("0", "no spread")),
        (Measured(1.0, 1.0, 1.0), ("1", "no spread")),
        (Measured(1.43547, 1.43547, 1.43547), ("1.4355", "no spread")),
        (Measured(3.4, 3.4, 3.4 + 4e-15), ("3.4000", "spread 4.0e-15")),
        (Measured(math.nan, math.nan, math.nan), ("not a number", "")),
        (Measured(1.0, -math.inf, math.inf), ("1.000", "[-∞, ∞]")),
        (Measured(5e-324, 0.0, 5e-324), ("5e-324", "[0, 5]e-324")),
    ],
)
def test_a_measured_value_shows_the_digits_its_interval_supports(measured: Measured, expected: tuple[str, str]) -> None:
    assert formats.measured(measured) == expected


@pytest.mark.parametrize(
    ("band", "text"),
    [
        ({"expected": -1.0, "tolerance": 0.02}, "-1.00 ± 0.02"),
        ({"expected": 3.41, "tolerance": 0.0682}, "3.410 ± 0.068"),
        ({"expected": 56.5, "tolerance": 1.0}, "56.5 ± 1.0"),
        ({"expected": 4 / 0.35, "tolerance": 4.0}, "11.4 ± 4.0"),
        ({"expected": 0.0, "tolerance": 0.05}, "0 ± 0.05"),
        ({"expected": 0.0, "tolerance": 0.0}, "= 0"),
        ({"expected": 7e-8, "tolerance": 3.5e-9}, "(7.00 ± 0.35)e-8"),
        ({"expected": 0.0, "tolerance": 1e-7, "relation": "at most"}, "≤ 1e-7"),
        ({"expected": 0.3, "tolerance": 0.02, "relation": "at most"}, "≤ 0.30 + 0.02"),
        ({"expected": -1.5, "tolerance": 0.0, "relation": "at least"}, "≥ -1.5"),
        ({"expected": 0.0, "tolerance": 0.1, "relation": "at least"}, "≥ -0.1"),
        ({"expected": 16384.0, "tolerance": 0.0}, "= 16384"),
    ],
)
def test_a_band_shows_value_tolerance_and_relation(band: dict[str, Any], text: str) -> None:
    claim = Claim("a.1", "s", "w", "q", lambda _: Measured(0, 0, 0), source="text", **band)
    assert formats.expected(claim) == text


@given(st.floats(), st.floats(), st.floats())
def test_no_number_is_refused(value: float, low: float, high: float) -> None:
    text, interval = formats.measured(Measured(value, low, high))
    assert text
    assert len(text) < 24
    assert len(interval) < 48


@given(st.floats(min_value=-1e12, max_value=1e12), st.integers(1, 6))
def test_a_number_is_what_it_says_to_its_digits(value: float, digits: int) -> None:
    assert float(formats.number(value, digits)) == pytest.approx(value, rel=0.6 * 10.0 ** (1 - digits), abs=1e-300)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.042, "0.042 s"),
        (9.96, "10 s"),
        (59.6, "60 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (math.nan, "—"),
    ],
)
def test_time_spans(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text
