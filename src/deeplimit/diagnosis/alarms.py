"""What of a training run deserves a warning: it leaves its regime, blocks turn to the identity, gains explode."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from deeplimit.diagnosis.gauge import Reading

ORDERED, RANDOM, APART = 1.0, 1.6, 0.1
"""Order ratio up to which blocks have an order, from which they have none (2 in the mean); spread beside the weights from which on that
is said at all: blocks that are nearly equal have no order to lose."""

LITTLE, FALLEN, RECOVERED = 0.05, 0.1, 0.2
"""A block is the identity at a gain of LITTLE × the median; it has turned so at FALLEN × its own start, and is none any more at RECOVERED ×
the median."""

GROWTH, WITHIN, LARGE = 10.0, 0.8, 10.0
"""Gains explode when one grows by GROWTH while the step number grows from WITHIN of the present one, beyond GROWTH × its start and LARGE.
Weights that grow as a power of the number of steps do not: that would be the tenth."""

SUSTAINED = 3
"""Readings in a row that a change of regime, or a block that is the identity, takes to be believed."""


@dataclass
class Alarms:
    """Looks at one reading after the other, and says in words what has happened, once per event.

    All its fields are plain numbers, so that a run that is resumed goes on from `asdict`.

    Args:
        first: step and gains at the start.
        regime: `ordered`, `random`, or empty where neither was seen yet, with the step and the order ratio when it was last seen.
        against: readings in a row that speak for the other regime.
        idle: block -> readings in a row in which it was the identity; those that were warned of stay until they recover.
        told: blocks warned of: as identity, as exploding, as not finite.
        recent: step and gains of readings that growth is judged against.

    >>> alarms = Alarms()
    >>> alarms.look(0, Reading((1.0, 1.0, 1.0), 2.0, 0.0, 1.0, 1.4, 0.0))
    []
    >>> alarms.look(1, Reading((1.0, math.nan, 1.0), 2.0, 0.0, 1.0, 1.4, 0.0))
    ['weights of block 1 are not finite at step 1; they were at step 0']
    """

    first: list[Any] = field(default_factory=list)
    regime: list[Any] = field(default_factory=lambda: ["", 0, 0.0])
    against: int = 0
    idle: dict[str, int] = field(default_factory=dict)
    told: dict[str, list[int]] = field(default_factory=lambda: {"identity": [], "growth": [], "finite": []})
    recent: list[list[Any]] = field(default_factory=list)

    def look(self, step: int, reading: Reading) -> list[str]:
        """The warnings of a reading, in words."""
        if not self.first:
            self.first = [step, list(reading.gains)]
        broken = [block for block, gain in enumerate(reading.gains) if not math.isfinite(gain)]
        found = self._not_finite(step, broken)
        if not broken:  # what is not finite makes the other numbers mean nothing
            found += (
                self._regime(step, reading) + self._identity(step, reading.gains) + self._growth(step, reading.gains)
            )
            self._remember(step, reading.gains)
        return found

    def state(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return asdict(self)

    def _not_finite(self, step: int, broken: Sequence[int]) -> list[str]:
        new = [block for block in broken if block not in self.told["finite"]]
        self.told["finite"] = list(broken)
        if not new:
            return []
        since = f"; they were at step {self.recent[-1][0]}" if self.recent else ""
        return [f"weights of {_named(new)} are not finite at step {step}{since}"]

    def _regime(self, step: int, reading: Reading) -> list[str]:
        ratio, now = reading.order_ratio, _order(reading)
        before, since, then = self.regime
        self.against = self.against + 1 if now not in ("", before) and before else 0
        if now and self.against in (0, SUSTAINED):
            self.regime = [now, step, ratio]
        if self.against < SUSTAINED:
            return []
        self.against = 0
        change = (
            "blocks have lost their order over depth: neighbours are now no closer than blocks far apart"
            if now == "random"
            else "blocks have come into an order over depth: neighbours are now closer than blocks far apart"
        )
        return [f"{change} (order ratio {ratio:.3g} at step {step}, {then:.3g} at step {since}; 2 is random)"]

    def _identity(self, step: int, gains: Sequence[float]) -> list[str]:
        median, (begun, start) = statistics.median(gains), self.first
        told, new = self.told["identity"], []
        for block, gain in enumerate(gains):
            fallen = gain < LITTLE * median and gain < FALLEN * start[block]
            count = self.idle[str(block)] = self.idle.get(str(block), 0) + 1 if fallen else 0
            if count >= SUSTAINED and block not in told:
                new.append(block)
        self.told["identity"] = [block for block in told if gains[block] < RECOVERED * median] + new
        if not new:
            return []
        numbers = ", ".join(f"{gains[block]:.3g} (was {start[block]:.3g})" for block in new)
        medians = f"median of all blocks {median:.3g} (was {statistics.median(start):.3g})"
        return [f"{_named(new)} turned to the identity: gain {numbers} at step {step} (at step {begun}); {medians}"]

    def _growth(self, step: int, gains: Sequence[float]) -> list[str]:
        window = [(then, old) for then, old in self.recent if WITHIN * step <= then < step]
        if not window:
            return []
        (then, old), (begun, start) = window[0], self.first
        grown = [
            block
            for block, gain in enumerate(gains)
            if gain > max(GROWTH * old[block], GROWTH * start[block], LARGE) and block not in self.told["growth"]
        ]
        if not grown:
            return []
        self.told["growth"] += grown
        worst = max(grown, key=lambda block: gains[block])
        before = f"{old[worst]:.3g} at step {then}, {start[worst]:.3g} at step {begun}"
        return [f"gains explode in {_named(grown)}: block {worst} has {gains[worst]:.3g} at step {step}, {before}"]

    def _remember(self, step: int, gains: Sequence[float]) -> None:
        """Keep readings since WITHIN of the step, at most one for each hundredth of it."""
        self.recent = [entry for entry in self.recent if entry[0] >= WITHIN * step]
        if not self.recent or step - self.recent[-1][0] >= step / 100:
            self.recent.append([step, list(gains)])


def restored(saved: Mapping[str, Any]) -> Alarms:
    """Alarms that go on from `Alarms.state`."""
    return Alarms(**saved)


def _order(reading: Reading) -> str:
    """`ordered`, `random`, or empty between the two."""
    if reading.spread < APART or ORDERED < reading.order_ratio < RANDOM:
        return ""
    return "ordered" if reading.order_ratio <= ORDERED else "random"


def _named(blocks: Sequence[int]) -> str:
    """`block 3`, `blocks 3 and 5`, `blocks 1, 2 and 9 more`."""
    if len(blocks) == 1:
        return f"block {blocks[0]}"
    shown = list(blocks) if len(blocks) <= 8 else list(blocks[:7])
    last = str(shown.pop()) if len(blocks) <= 8 else f"{len(blocks) - 7} more"
    return f"blocks {', '.join(map(str, shown))} and {last}"
