"""Numbers as short text: as many digits as the interval supports, `7.0e-8` where zeros would pile up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeplimit.claims import Claim, Measured

MOST_DIGITS = 5  # more significant digits than this are never printed
PLAIN = (1e-3, 1e5)  # sizes outside are printed as mantissa and power of ten


def _order(value: float) -> int:
    """The power of ten of the first digit; 0 for zero."""
    return math.floor(math.log10(abs(value))) if value else 0


def _exponent(size: float) -> int:
    """The power of ten to factor out of numbers of this size; 0 for none."""
    return 0 if size == 0 or PLAIN[0] <= size < PLAIN[1] else _order(size)


def _fixed(value: float, *, exponent: int, places: int) -> str:
    """A number with the power of ten factored out and a given count of decimal places."""
    if value == 0:
        return "0"
    return f"{_mantissa(value, exponent):.{places}f}" + _ten(exponent)


def _mantissa(value: float, exponent: int) -> float:
    """A number divided by a power of ten, in two factors: 10 ** exponent alone underflows for the smallest floats."""
    return value / 10.0 ** (exponent // 2) / 10.0 ** (exponent - exponent // 2)


def _ten(exponent: int) -> str:
    """The power of ten that was factored out; nothing for the zeroth."""
    return f"e{exponent}" if exponent else ""


def _odd(value: float) -> str:
    """Text for a value that is not finite."""
    return "not a number" if math.isnan(value) else ("∞" if value > 0 else "-∞")


def number(value: float, digits: int = 4) -> str:
    """A number to `digits` significant digits.

    >>> number(7.0e-8, 2), number(0.135), number(-1.0, 3), number(16384), number(float("inf"))
    ('7.0e-8', '0.1350', '-1.00', '16384', '∞')
    """
    if not math.isfinite(value):
        return _odd(value)
    if abs(value) < 10**digits:  # 16384 keeps its whole part
        value = float(f"{value:.{digits - 1}e}")
    exponent = _exponent(abs(value))
    return _fixed(value, exponent=exponent, places=max(0, digits - 1 - _order(value) + exponent))


def _places(size: float, half_width: float, *, exponent: int) -> int:
    """Decimal places that show two digits of the half-width, within the digits that are ever printed."""
    most = MOST_DIGITS - 1 - _order(size) + exponent
    return max(0, min(most, exponent - _order(float(f"{half_width:.1e}")) + 1))


def measured(value: Measured) -> tuple[str, str]:
    """A measured value and its interval, with the same digits and the same power of ten.

    >>> from deeplimit.claims import Measured
    >>> measured(Measured(-0.99871, -1.00123, -0.99619))
    ('-0.9987', '[-1.0012, -0.9962]')
    >>> measured(Measured(7.05e-8, 7.0512e-8 - 1e-9, 7.0512e-8 + 1e-9))
    ('7.05e-8', '[6.95, 7.15]e-8')
    """
    parts = (value.value, value.low, value.high)
    if not all(map(math.isfinite, parts)):
        ends = "" if math.isnan(value.low) or math.isnan(value.high) else f"[{number(value.low)}, {number(value.high)}]"
        return number(value.value), ends
    if value.low == value.high:
        return _short(value.value), "no spread"
    size = max(map(abs, parts))
    exponent = _exponent(size)
    places = _places(size, (value.high - value.low) / 2, exponent=exponent)
    middle = _fixed(value.value, exponent=exponent, places=places)
    low, high = (_fixed(_mantissa(part, exponent), exponent=0, places=places) for part in parts[1:])
    if low == high:
        return middle, f"spread {number(value.high - value.low, 2)}"
    return middle, f"[{low}, {high}]{_ten(exponent)}"


def expected(claim: Claim) -> str:
    """The band that agrees with a claim: `-1.00 ± 0.02`, `≤ 1e-7`, `= 0`."""
    value, tolerance = claim.expected, claim.tolerance
    sign = {"within": "", "at most": "≤ ", "at least": "≥ "}[claim.relation]
    if not (math.isfinite(value) and math.isfinite(tolerance)):
        return f"{sign}{number(value)}"
    if tolerance == 0:
        return f"{sign or '= '}{_short(value)}"
    exponent = _exponent(max(abs(value), tolerance))
    tolerance = float(f"{tolerance:.1e}")
    digits = 0 if tolerance == float(f"{tolerance:.0e}") else 1
    places = max(0, exponent - _order(tolerance) + digits)
    # One digit more than the tolerance has, where the value has it: 56.5 ± 1.0 and not 56 ± 1.
    places += len(f"{_mantissa(value, exponent):.6g}".partition(".")[2]) > places
    if value == 0:
        return {"within": "0 ± ", "at most": "≤ ", "at least": "≥ -"}[claim.relation] + _short(tolerance)
    joint = {"within": "±", "at most": "+", "at least": "-"}[claim.relation].replace("-", "−")
    left, right = (_fixed(_mantissa(part, exponent), exponent=0, places=places) for part in (value, tolerance))
    both = f"{left} {joint} {right}"
    return f"{sign}({both}){_ten(exponent)}" if exponent else f"{sign}{both}"


def _short(value: float) -> str:
    """An exact number with no more digits than it has: 1e-7, 2, 0.03."""
    if value == 0:
        return "0"
    exponent = _exponent(abs(value))
    digits = next(d for d in range(1, 18) if float(f"{value:.{d - 1}e}") == value or d >= MOST_DIGITS)
    return _fixed(value, exponent=exponent, places=max(0, digits - 1 - _order(value) + exponent))


def duration(seconds: float) -> str:
    """A time span in words short enough for a table.

    >>> duration(0.04), duration(3.21), duration(200), duration(7500), duration(0)
    ('0.04 s', '3.2 s', '3 min 20 s', '2 h 5 min', '0 s')
    """
    if not math.isfinite(seconds):
        return "—"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"
