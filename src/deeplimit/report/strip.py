"""The measured interval against the expected band, as positions on a small strip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit.claims import band

if TYPE_CHECKING:
    from deeplimit.claims import Claim, Measured, Verdict

WIDTH = 100.0
FARTHEST = 4.0  # half-widths of the band that the strip shows to each side; what lies beyond is an arrow


@dataclass(frozen=True)
class Strip:
    """Positions in [0, WIDTH]. `off` is -1 or 1 when the value lies beyond that end of the strip, else 0."""

    band_low: float
    band_high: float
    low: float
    high: float
    value: float
    off: int

    @property
    def words(self) -> str:
        """What the strip shows, for those who cannot see it."""
        side = {-1: "far below", 1: "far above"}.get(self.off)
        if side:
            return f"measured value {side} the expected band"
        inside = self.band_low <= self.value <= self.band_high
        return f"measured value {'inside' if inside else 'outside'} the expected band"


def strip(verdict: Verdict) -> Strip | None:
    """Positions of band, interval and value; None where any of them is missing or not finite."""
    claim, found = verdict.claim, verdict.measured
    if found is None:
        return None
    numbers = (claim.expected, claim.tolerance, found.value, found.low, found.high)
    if not all(math.isfinite(number) and abs(number) < 1e300 for number in numbers):
        return None
    low, high = band(claim)
    centre, half = _window(claim, found)

    def place(x: float) -> float:
        return round(min(max((x - centre) / half, -1.0), 1.0) * WIDTH / 2 + WIDTH / 2, 2)

    reach = (found.value - centre) / half
    off = 0 if abs(reach) <= 1 else (1 if reach > 0 else -1)
    return Strip(place(low), place(high), place(found.low), place(found.high), place(found.value), off)


def _window(claim: Claim, found: Measured) -> tuple[float, float]:
    """Centre and half-width of what the strip shows."""
    edges = [edge for edge in band(claim) if math.isfinite(edge)]
    centre = sum(edges) / len(edges)
    reach = 1.3 * max(abs(x - centre) for x in (found.value, found.low, found.high))
    if claim.relation == "within" and claim.tolerance > 0:
        return centre, min(max(reach, 2 * claim.tolerance), FARTHEST * claim.tolerance)
    return centre, reach or 1.0
