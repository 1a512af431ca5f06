"""When an accuracy curve peaks: t_*, with what the curve itself says of its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeplimit import checks

WITHIN = (0.001, 0.0025, 0.005, 0.01)
"""Definitions of t_* to compare: distances from the maximum; 0 is the argmax."""

Floats = NDArray[np.float64]

_LAST = 0.9  # a maximum after this share of the run is censored
_ABOVE = 0.05  # of the way from chance to 1: more than a constant answer gains where classes are not equally frequent
_RESAMPLES = 200
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Peak:
    """When a curve peaks.

    Args:
        time: t_*; NaN where the curve is never above chance.
        low, high: a 95 % interval of t_*, no narrower than the two measurements around it; NaN as `time`.
        value: maximum of the smoothed curve.
        learned: whether the curve is ever above chance. Where it is not, there is no peak to speak of.
        censored: the maximum lies in the last 10 % of the run and t_* in its second half, so that a longer run may well move it. On a
            plateau that was reached before half-time, the place of the maximum is noise.
        early: t_* is not after the first measurement, or before the first one after time 0: it is an upper bound.
    """

    time: float
    low: float
    high: float
    value: float
    learned: bool
    censored: bool
    early: bool

    @property
    def usable(self) -> bool:
        """Whether `time` is a peak that was seen: above chance and not censored."""
        return self.learned and not self.censored


def peak_time(
    times: ArrayLike,
    values: ArrayLike,
    *,
    within: float = 0.005,
    smooth: float = 0.2,
    chance: float = 0.0,
    samples: int | None = None,
) -> Peak:
    """The first time at which a smoothed curve is within some distance of its maximum.

    t_* = min {t : ā(t) ≥ max ā − within},  ā(t) = mean of a(s) over |log s − log t| ≤ smooth

    Between measurements ā is a straight line in log t (from time 0 on: in t). The window is one of log time, so that the law of t_* is
    not bent by smoothing: stretching a curve in time stretches t_* alike. Measurements further apart than the window stay as they are,
    and so does that of time 0. The interval is that of t_* of 200 curves ā + noise (seeded).

    Reference: Lewkowycz and Gur-Ari 2020, t_* is when the accuracy that early stopping would reach is reached.

    Args:
        times: n ≥ 3 increasing times, none below 0; steps or epochs, evenly spaced or not.
        values: n accuracies (or any numbers of which more is better).
        within: distance from the maximum, 0 for the argmax; see also `WITHIN`.
        smooth: half the width of the window in log time, 0 for none: 0.2 is about ± 20 %.
        chance: accuracy of guessing, that of the most frequent class. A curve is above it if it is so by 4 standard errors and by 5 % of
            the way to 1.
        samples: on how many samples each accuracy was measured. The noise is then binomial, too wide where all share the samples;
            unless given, it is that of the residuals about ā where ā is high.

    Raises:
        InputError: fewer than 3 measurements, times that do not increase or are negative, a number that is not finite.

    >>> steps = [0, 10, 20, 40, 80, 160, 320]
    >>> peak = peak_time(steps, [0.1, 0.3, 0.5, 0.7, 0.9, 0.8, 0.7], within=0.1)
    >>> round(peak.time, 2), peak.censored  # half-way from 40 to 80 in log time
    (56.57, False)
    >>> peak_time(steps, [0.1] * 7, chance=0.1).learned
    False
    """
    t, a = _curve(times, values)
    checks.finite("chance", chance)
    checks.not_negative("within", within)
    mean = _Window(t, smooth)
    curve = mean(a)
    noise = _noise(a, curve, counts=mean.counts, samples=samples)
    top = int(curve.argmax())
    bar = chance + max(4 * float(noise[top]), _ABOVE * (1 - chance))
    if not curve[top] > bar:
        return Peak(math.nan, math.nan, math.nan, float(curve[top]), learned=False, censored=False, early=False)
    time = float(_first_within(t, curve[:, None], within)[0])
    drawn = np.random.default_rng(0).standard_normal((len(t), _RESAMPLES))
    low, high = np.percentile(_first_within(t, mean(curve[:, None] + noise[:, None] * drawn), within), _INTERVAL)
    after = int(np.searchsorted(t, time))  # t[after − 1] < time ≤ t[after]
    low, high = min(float(low), t[max(after - 1, 0)]), max(float(high), t[after])
    censored = bool(t[top] > _LAST * t[-1] and time > t[-1] / 2)
    early = time <= t[0] or (t[0] == 0 and time < t[1])
    return Peak(time, float(low), float(high), float(curve[top]), learned=True, censored=censored, early=bool(early))


def smooth(times: ArrayLike, values: ArrayLike, *, half: float = 0.2) -> Floats:
    """ā of `peak_time`: the mean over |log s − log t| ≤ `half`, at each time t.

    >>> smooth([0, 10, 11, 40], [1.0, 2.0, 4.0, 8.0]).tolist()
    [1.0, 3.0, 3.0, 8.0]
    """
    t, a = _curve(times, values)
    return _Window(t, half)(a)


def _curve(times: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    """Both as arrays, checked."""
    t, a = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    checks.shape("values", a.shape, (t.size,))
    if t.ndim != 1 or len(t) < 3:
        raise checks.InputError(f"times: expected at least 3 in one row, found shape {t.shape}")
    if not (np.isfinite(t).all() and t[0] >= 0 and np.all(np.diff(t) > 0)):
        raise checks.InputError(f"times: expected finite increasing numbers from 0 on, found {t.tolist()}")
    if not np.isfinite(a).all():
        first = int(np.argmin(np.isfinite(a)))
        raise checks.InputError(f"values: expected finite numbers, found {a[first]} at time {t[first]:g}")
    return t, a


class _Window:
    """The running mean over a window of log time; `counts` measurements are in each."""

    def __init__(self, t: Floats, half: float) -> None:
        # Rounding of the bounds must not decide whether an equidistant neighbour is in. Beyond e^100 all are in.
        widest = math.exp(min(checks.not_negative("smooth", half), 100.0)) * (1 + 1e-12)
        self._first = np.searchsorted(t, t / widest, side="left")
        self._end = np.searchsorted(t, t * widest, side="right")
        self.counts = self._end - self._first

    def __call__(self, values: NDArray[Any]) -> Floats:
        """Along the first axis."""
        # Sums of differences from the last value: those of a constant are exactly 0.
        sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values - values[-1], axis=0)])
        total = sums[self._end] - sums[self._first]
        mean: Floats = values[-1] + total / self.counts.reshape(-1, *[1] * (values.ndim - 1))
        return mean


def _noise(a: Floats, curve: Floats, *, counts: NDArray[np.intp], samples: int | None) -> Floats:
    """Standard deviation of each measurement."""
    if samples is not None:
        p = curve.clip(0, 1)
        return np.asarray(np.sqrt(p * (1 - p) / checks.positive_int("samples", samples)))
    # A residual about the mean of c has the variance σ² (1 − 1/c); below half of the rise, residuals are trend.
    seen = (counts > 1) & (2 * curve >= curve.max() + curve.min())
    if not seen.any():
        return np.zeros_like(curve)
    variance = np.mean((a - curve)[seen] ** 2 / (1 - 1 / counts[seen]))
    return np.full_like(curve, np.sqrt(variance))


def _first_within(t: Floats, curves: Floats, within: float) -> Floats:
    """t_* of each column."""
    level = curves.max(axis=0) - within
    at = (curves >= level).argmax(axis=0)
    before = np.maximum(at - 1, 0)
    columns = np.arange(curves.shape[1])
    below, above = curves[before, columns], curves[at, columns]
    share = np.where(at > 0, (level - below) / np.where(at > 0, above - below, 1.0), 1.0)
    start, end = t[before], t[at]
    positive = np.where(start > 0, start, end)  # no logarithm of 0
    straight = np.where(start > 0, positive ** (1 - share) * end**share, start + share * (end - start))
    found: Floats = np.where(share == 1, end, straight)
    return found
