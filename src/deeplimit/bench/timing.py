"""Timing of interleaved calls: what is called is not known here.

In every round each call has its turn, so that whatever else the machine does slows all of them alike; ratios are taken round by round.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

#: Seconds that a turn should last: a quick call is repeated, so that clock and cold caches do not show.
TURN = 0.02
MOST_REPEATS = 200
#: Seconds for the rounds of one race, within the two bounds on their number.
BUDGET = 10.0
FEWEST_ROUNDS, MOST_ROUNDS = 5, 21


def _nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Clock:
    """Two readings in seconds: the time that passes, and the processor time of the whole process."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time


@dataclass(frozen=True)
class Call:
    """What is timed, and what is done before its turn, untimed."""

    run: Callable[[], object]
    before: Callable[[], object] = _nothing


@dataclass
class Track:
    """The times of one call.

    Args:
        first: seconds of the very first call, with compilation where there is one.
        repeats: calls in a turn.
        seconds: seconds a call, by round.
        cores: processor seconds over seconds, by round: about how many processors it kept busy.
        failed: the error that the first call ended with; no round follows then.
    """

    first: float = math.nan
    repeats: int = 1
    seconds: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    failed: str = ""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of n numbers."""

    median: float
    low: float
    high: float
    n: int

    def times(self, factor: float) -> Spread:
        """The spread of the numbers times a positive factor."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.n)


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one number.

    >>> spread([4.0, 1.0, 2.0, 3.0, 5.0])
    Spread(median=3.0, low=2.0, high=4.0, n=5)
    """
    low, median, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return Spread(median, low, high, len(values))


def ratio(own: Sequence[float], base: Sequence[float]) -> Spread:
    """The times of one call over those of another, round by round."""
    return spread([time / other for time, other in zip(own, base, strict=True)])


def race(calls: Mapping[str, Call], *, rounds: int | None = None, clock: Clock | None = None) -> dict[str, Track]:
    """Time the calls in rounds.

    Args:
        calls: name -> call.
        rounds: their number; as many as `BUDGET` allows unless given.
        clock: what is read; the machine's unless given.

    Returns:
        name -> track. A call whose first run ends with a RuntimeError (a compiler that is absent, memory that is not there) is out of
        the race, and its track says so.
    """
    clock = clock or Clock()
    tracks = {name: _warm(call, clock) for name, call in calls.items()}
    running = {name: call for name, call in calls.items() if not tracks[name].failed}
    expected = sum(tracks[name].seconds.pop() * (tracks[name].repeats + 1) for name in running)
    for _ in range(rounds or affordable(expected)):
        for name, call in running.items():
            _turn(call, tracks[name], clock)
    return tracks


def affordable(seconds: float) -> int:
    """The number of rounds of that length that the budget allows.

    >>> affordable(0.001), affordable(1.0), affordable(100.0)
    (21, 10, 5)
    """
    return max(FEWEST_ROUNDS, min(MOST_ROUNDS, int(BUDGET / max(seconds, 1e-9))))


def _warm(call: Call, clock: Clock) -> Track:
    """Run a call for the first times, which decide how often it is repeated in a turn; leaves the second time in `seconds`."""
    start = clock.wall()
    try:
        call.before()
        start = clock.wall()
        call.run()
    except RuntimeError as error:
        return Track(failed=f"{type(error).__name__}: {error}".strip().splitlines()[0])
    again = clock.wall()
    call.run()
    second = clock.wall() - again
    repeats = max(1, min(MOST_REPEATS, math.ceil(TURN / max(second, 1e-9))))
    return Track(first=again - start, repeats=repeats, seconds=[second])


def _turn(call: Call, track: Track, clock: Clock) -> None:
    """One turn: the mean over the repeats. A quick call runs once more before, to have its data in the caches again."""
    call.before()
    if track.repeats > 1:
        call.run()
    wall, cpu = clock.wall(), clock.cpu()
    for _ in range(track.repeats):
        call.run()
    elapsed = clock.wall() - wall
    track.cores.append((clock.cpu() - cpu) / elapsed)
    track.seconds.append(elapsed / track.repeats)
