"""Short runs at a large coefficient, whose peak says what to take for a long run: the user's own training, followed and adapted."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from deeplimit import checks
from deeplimit.fits import half_width
from deeplimit.statistics.peaks import Peak, peak_time
from deeplimit.training.l2.conventions import Setting

ALLOWANCE = 0.05
"""Share of a budget that its probes may take."""

MOST_SEEDS = 1000
"""Seeds of a probe at most: no allowance holds more."""

FACTOR = 3.0
"""By what a coefficient is multiplied or divided when its probe shows no peak."""

_ATTEMPTS = 8  # coefficients at most
NEAR = math.sqrt(10)
"""Coefficients within half a decade agree."""

_PROBES = 4  # as many fit into the allowance unless their length is given: room to adapt, or for seeds
_OUTCOMES = ("peaked", "censored", "early", "never above chance", "diverged")  # from the most useful on
_NOTHING = Peak(math.nan, math.nan, math.nan, math.nan, learned=False, censored=False, early=False)


class Train(Protocol):
    """A training of the user's: called with keyword arguments, it yields (step, validation accuracy[, training accuracy]).

    Steps increase, accuracies are between 0 and 1 (NaN once training has diverged). All else (network, data, momentum, batch size) is its
    own. It may be a generator: it is then followed as it trains, and closed when enough was seen.
    """

    def __call__(
        self, *, weight_decay: float, learning_rate: float, steps: int, seed: int
    ) -> Iterable[Sequence[float]]:
        """Train for `steps` steps."""


@dataclass(frozen=True)
class Curve:
    """What a run has shown: accuracies at increasing steps.

    Args:
        steps, accuracies: n each, on data that were not trained on.
        training: n accuracies on the training data, or none.
        diverged: an accuracy after these was not a number.
    """

    steps: tuple[int, ...]
    accuracies: tuple[float, ...]
    training: tuple[float, ...] = ()
    diverged: bool = False

    def __post_init__(self) -> None:
        """Refuse columns of different lengths."""
        for name in ("steps", "accuracies", "training"):
            checks.sequence(name, getattr(self, name))
        lengths = {len(self.steps), len(self.accuracies)} | ({len(self.training)} if self.training else set())
        if len(lengths) != 1 or not self.steps:
            raise checks.InputError(f"curve: expected as many accuracies as steps, found lengths {sorted(lengths)}")


@dataclass(frozen=True)
class Reading:
    """How t_* is read off a curve: the arguments of `statistics.peak_time`, where `chance` is that of ten classes unless given."""

    within: float = 0.005
    smooth: float = 0.2
    chance: float = 0.1
    samples: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no curve can be read with, before one is waited for."""
        checks.fields(self, within=checks.below_one, smooth=checks.not_negative, chance=checks.below_one)
        checks.optional(checks.positive_int)("samples", self.samples)

    def peak(self, curve: Curve) -> Peak:
        """When it peaks; nothing was learned where it diverged."""
        if curve.diverged:
            return _NOTHING
        return peak_time(
            curve.steps,
            curve.accuracies,
            within=self.within,
            smooth=self.smooth,
            chance=self.chance,
            samples=self.samples,
        )


def outcome(curve: Curve, peak: Peak) -> str:
    """What a probe came to, in words: peaked, censored, early, never above chance, or diverged."""
    if curve.diverged:
        return "diverged"
    if not peak.learned:
        return "never above chance"
    return "censored" if peak.censored else "early" if peak.early else "peaked"


def together(peaks: Sequence[Peak]) -> tuple[float, float, float]:
    """t_* with its interval: of those that peaked, else of those that were censored, from which on it is; NaN where there is none.

    Over seeds (Student, of log t_*) from 3 on, but on each side no narrower than a single curve's own interval is on average: seeds that
    are measured at the same steps agree no better than these lie apart.
    """
    usable = [peak for peak in peaks if peak.usable and peak.time > 0]
    learned = usable or [peak for peak in peaks if peak.learned and peak.time > 0]
    if not learned:
        return math.nan, math.nan, math.nan
    logs = np.log([peak.time for peak in learned])
    time = math.exp(logs.mean())
    low, high = min(peak.low for peak in learned), max(peak.high for peak in learned)
    if len(learned) > 2:
        factor = math.exp(half_width(logs))
        low = time / max(factor, _mean_ratio([(peak.time, peak.low) for peak in learned]))
        high = time * max(factor, _mean_ratio([(peak.high, peak.time) for peak in learned]))
    return time, 0.0 if any(peak.early for peak in learned) else low, high if usable else math.inf


def _mean_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """The geometric mean of some ratios; infinite where one is."""
    return math.inf if any(b == 0 for _, b in pairs) else math.exp(sum(math.log(a / b) for a, b in pairs) / len(pairs))


@dataclass(frozen=True)
class Attempt:
    """One run of a probe; `steps` is how many it took."""

    weight_decay: float
    seed: int
    steps: int
    outcome: str
    curve: Curve


@dataclass(frozen=True)
class Probe:
    """Runs at one coefficient, and what it took to find it.

    Args:
        weight_decay: of the runs that count.
        attempts: all runs, in their order.
        budget: T, of the run that is prepared.
        law: p and its interval in t_* ~ λ^(−p), between this coefficient and its triple; 1 if the law holds, None if not measured.
        notes: in words, what did not go as asked.
        warnings: in words, what speaks against the law, or that nothing speaks for it, and what that means for the coefficient.
    """

    weight_decay: float
    attempts: tuple[Attempt, ...]
    budget: int
    law: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def curves(self) -> tuple[Curve, ...]:
        """Those of the runs that count, one per seed."""
        return tuple(attempt.curve for attempt in self.attempts if attempt.weight_decay == self.weight_decay)

    @property
    def spent(self) -> int:
        """Steps of all runs."""
        return sum(attempt.steps for attempt in self.attempts)

    def as_json(self) -> dict[str, Any]:
        """Attempts without their curves, what they took, the law, notes and warnings."""
        names = ("weight_decay", "seed", "steps", "outcome")
        rows = [{name: getattr(attempt, name) for name in names} for attempt in self.attempts]
        share = self.spent / self.budget
        law = [p if math.isfinite(p) else None for p in self.law] if self.law else None
        said = {"notes": list(self.notes), "warnings": list(self.warnings)}
        return {"attempts": rows, "spent": self.spent, "share_of_budget": share, "law": law, **said}

    def __str__(self) -> str:
        lines = [
            f"probe: {attempt.weight_decay:.4g}, seed {attempt.seed}: {attempt.outcome} in {attempt.steps} steps"
            for attempt in self.attempts
        ]
        share = f"spent: {self.spent} steps, {self.spent / self.budget:.1%} of the budget of {self.budget}"
        if self.law:
            lines.append(f"law: t_* ~ λ^(−p), p = {_powers(self.law)} from it to its triple")
        said = [f"note: {note}" for note in self.notes] + [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, share, *said])


def probe(
    train: Train,
    setting: Setting,
    *,
    weight_decay: float,
    reading: Reading | None = None,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
) -> Probe:
    """Find a coefficient whose accuracy peaks within a short run, look whether its triple peaks earlier, and run it with every seed.

    Where the peak is not seen yet, the coefficient is multiplied by 3; where nothing is learned, the run diverges or the peak is there at
    once, it is divided by 3; until one peaks, the search would turn back, or the allowance of 5 % of the budget is used up. A peak that is
    there at three times the coefficient at the same step is not one of L2: it would come without.

    Args:
        train: the training to be probed.
        setting: with the learning rate, and in `steps` the budget T.
        weight_decay: the first coefficient, a large one.
        reading: how a peak is read.
        seeds: the first one finds the coefficient, the others follow if it peaks, as far as the allowance goes.
        steps: length of a run; a quarter of the allowance unless given.

    Raises:
        InputError: a training that cannot be called so or yields something else.
    """
    budget = setting.need("steps", "it is the budget")
    if not 0 < len(seeds) <= MOST_SEEDS:
        raise checks.InputError(f"seeds: expected at least one and at most {MOST_SEEDS}, found {len(seeds)}")
    length = max(10, int(ALLOWANCE * budget / _PROBES)) if steps is None else checks.positive_int("steps", steps)
    series = _Series(train, setting, reading=reading or Reading(), length=length)
    notes = series.search(checks.moderate("weight_decay", weight_decay), seeds[0])
    best = min(series.attempts, key=lambda attempt: _OUTCOMES.index(attempt.outcome))
    law = series.law(best) if best.outcome == "peaked" else None
    for place, seed in enumerate(seeds[1:] if best.outcome == "peaked" else (), start=1):
        if not series.fits():
            notes += (f"seeds {', '.join(map(str, seeds[place:]))} did not fit into {ALLOWANCE:.0%} of the budget",)
            break
        series.run(best.weight_decay, seed)
    found = Probe(best.weight_decay, tuple(series.attempts), budget, law, notes)
    return replace(found, warnings=_doubts(found, reading or Reading()))


def _doubts(found: Probe, reading: Reading) -> tuple[str, ...]:
    """What speaks against the law, or that nothing speaks for it.

    λ = λ_p t_*/T is for p = 1; where t_* ~ λ^(−p), the coefficient that peaks after T steps is λ_p (t_*/T)^{1/p}.
    """
    if found.law is None:
        why = "three times the coefficient does not peak, or does not fit into the allowance"
        if not any(attempt.outcome == "peaked" for attempt in found.attempts):
            why = "no probe peaked"
        return (
            f"the law t_* ~ 1/λ was not tested ({why}): the peak may come without L2, and the coefficient is a guess",
        )
    time, _, _ = together([reading.peak(curve) for curve in found.curves])
    plain, value, low, high = (_at(found, time, power) for power in (1.0, *found.law))
    fitted, least, most = (f"{one:.3g}" if one > plain / 1000 else "next to none" for one in (value, low, high))
    other = f"{plain:.3g}, by the law, may be off: the fitted power makes it {fitted}"
    other += f" ({least} to {most})" if most != least else ""
    what = f"t_* ~ λ^(−p) with p = {_powers(found.law)} from the coefficient to its triple"
    if not found.law[1] <= 1 <= found.law[2]:
        return (f"{what}, where L2 has p = 1: {other}",)
    if not (low > plain / NEAR and high < plain * NEAR):
        return (f"{what}, too wide to tell whether it is 1, as of L2: {other}",)
    return ()


def _at(found: Probe, time: float, power: float) -> float:
    """The coefficient whose peak is at the budget's end, if t_* ~ λ^(−power); 0 where t_* does not grow for smaller ones."""
    return found.weight_decay * (time / found.budget) ** (1 / power) if power > 0 else 0.0


def _powers(law: tuple[float, float, float]) -> str:
    value, low, high = ("∞" if p == math.inf else "−∞" if p == -math.inf else f"{p:.3f}".replace("-", "−") for p in law)
    return f"{value} ({low} to {high})"


class _Series:
    """Runs of one length, one after the other."""

    def __init__(self, train: Train, setting: Setting, *, reading: Reading, length: int) -> None:
        self._train, self._rate, self._reading, self._length = train, setting.learning_rate, reading, length
        self._allowance = ALLOWANCE * setting.need("steps", "it is the budget")
        self.attempts: list[Attempt] = []

    def fits(self) -> bool:
        """Whether the allowance holds another run."""
        return sum(attempt.steps for attempt in self.attempts) + self._length <= self._allowance

    def run(self, weight_decay: float, seed: int) -> str:
        """One run; returns its outcome."""
        curve = follow(self._train, self._rate, weight_decay=weight_decay, steps=self._length, seed=seed)
        found = outcome(curve, self._reading.peak(curve))
        self.attempts.append(Attempt(weight_decay, seed, curve.steps[-1], found, curve))
        return found

    def search(self, weight_decay: float, seed: int) -> tuple[str, ...]:
        """Run until a coefficient peaks; returns what is to be said when none does."""
        power, tried = 0, set()
        while (found := self.run(_scaled(weight_decay, power), seed)) != "peaked":
            tried.add(power)
            power += 1 if found == "censored" else -1
            if power in tried:
                return (
                    f"no coefficient peaks within {self._length} steps: a factor of {FACTOR:g} is between too small and too large",
                )
            # Runs that diverge are short: the allowance alone would not end the search.
            if not self.fits() or len(self.attempts) == _ATTEMPTS:
                tries = len(self.attempts)
                return (f"no coefficient that peaks was found in {tries} probes, within {ALLOWANCE:.0%} of the budget",)
        return ()

    def law(self, best: Attempt) -> tuple[float, float, float] | None:
        """p and its interval in t_* ~ λ^(−p), from `best` to its triple, if that fits and peaks."""
        known = any(attempt.weight_decay > best.weight_decay for attempt in self.attempts)  # and does not peak
        if known or not self.fits() or self.run(best.weight_decay * FACTOR, best.seed) not in ("peaked", "censored"):
            return None
        one, three = (self._reading.peak(attempt.curve) for attempt in (best, self.attempts[-1]))
        latest = math.inf if three.censored else three.high
        return _exponent(one.time, three.time), _exponent(one.low, latest), _exponent(one.high, three.low)


def _exponent(time: float, time_of_triple: float) -> float:
    """p of t_* ~ λ^(−p); a bound of an interval may be time 0."""
    if time_of_triple <= 0:
        return math.inf
    return math.log(time / time_of_triple) / math.log(FACTOR) if time > 0 and time_of_triple < math.inf else -math.inf


def _scaled(weight_decay: float, power: int) -> float:
    """Times 3^power, by a division where that is below 1: 1/3 is not a number of a computer."""
    return weight_decay * FACTOR**power if power >= 0 else weight_decay / FACTOR**-power


def follow(train: Train, learning_rate: float, *, weight_decay: float, steps: int, seed: int = 0) -> Curve:
    """Call a training and collect what it yields, until `steps`, its end, or an accuracy that is not a number.

    Raises:
        InputError: it cannot be called so, or yields something else than increasing steps and accuracies between 0 and 1.

    >>> def train(weight_decay, learning_rate, steps, seed):
    ...     for step in range(0, steps + 1, 10):
    ...         yield step, 0.1 + 0.8 * step / steps
    >>> follow(train, 0.1, weight_decay=0.01, steps=30).steps
    (0, 10, 20, 30)
    """
    arguments: dict[str, Any] = {"weight_decay": weight_decay, "learning_rate": learning_rate}
    arguments |= {"steps": steps, "seed": seed}
    try:
        inspect.signature(train).bind(**arguments)
    except TypeError as error:
        raise checks.InputError(f"train: expected a function of {', '.join(arguments)}; {error}") from error
    found = train(**arguments)
    if not isinstance(found, Iterable):
        raise checks.InputError(f"train: expected it to yield (step, validation accuracy), found {found!r}")
    rows: list[tuple[float, ...]] = []
    for item in found:
        rows.append(_row(item, rows))
        if any(map(math.isnan, rows[-1])) or rows[-1][0] >= steps:
            break
    return _curve(rows)


def _row(item: object, before: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """(step, validation accuracy[, training accuracy]), as it should be after those before."""
    cells = tuple(item) if isinstance(item, Iterable) else ()
    # Tensors and arrays of one number are numbers, too.
    row = tuple(cell.item() if hasattr(cell, "item") else cell for cell in cells)
    width = {len(before[0])} if before else {2, 3}
    if len(row) not in width or not all(isinstance(cell, (int, float)) for cell in row):
        wanted = " or ".join(map(str, sorted(width)))
        said = "(step, validation accuracy[, training accuracy])"
        raise checks.InputError(f"train: expected {said}, {wanted} numbers, found {item!r}")
    first = int(before[-1][0]) + 1 if before else 0
    if not (isinstance(row[0], int) and row[0] >= first):
        raise checks.InputError(f"train: expected an integer of at least {first} as step, found {row[0]!r}")
    if any(not (math.isnan(accuracy) or 0 <= accuracy <= 1) for accuracy in row[1:]):
        raise checks.InputError(f"train: expected accuracies between 0 and 1 (not in per cent), found {item!r}")
    return row


def _curve(rows: Sequence[tuple[float, ...]]) -> Curve:
    """The rows as columns, but for one that is not a number."""
    diverged = bool(rows) and any(map(math.isnan, rows[-1]))
    if len(rows) < 3 and not diverged:
        raise checks.InputError(f"train: expected at least 3 measurements, found {len(rows)}")
    seen = rows[:-1] if diverged and len(rows) > 1 else rows
    steps, *accuracies = zip(*seen, strict=True)
    training = accuracies[1] if len(accuracies) > 1 else ()
    return Curve(tuple(int(step) for step in steps), accuracies[0], training, diverged)
