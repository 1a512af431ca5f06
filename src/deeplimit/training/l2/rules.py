"""When AutoL2 divides the L2 coefficient: a pure function of what it remembers and of one measurement.

Every coefficient is λ of (λ/2) ‖θ‖² beside the caller's loss, PyTorch's `weight_decay`, unless a rule says otherwise. Nothing here imports
PyTorch.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deeplimit import checks

_ROUNDING = 1e-9
"""What sums of decay times may lack: ten tenths are less than 1."""


@dataclass(frozen=True)
class Signal:
    """One measurement, before the update of its step.

    Args:
        step: updates done before; 0 at the first one.
        loss: without the penalty. Of the mini-batch of the coming update, or of held-out data: a rule compares it with itself only.
        accuracy: on the same data, more is better; None where there is none.
        learning_rate: η of the coming update.
        momentum: m of heavy-ball momentum, by which a step grows to η/(1 − m); 0 where averages of gradients are normalised, as in Adam.
    """

    step: int
    loss: float
    accuracy: float | None
    learning_rate: float
    momentum: float = 0.0

    @property
    def error(self) -> float | None:
        """Minus the accuracy: of loss and error alike less is better."""
        return None if self.accuracy is None else -self.accuracy

    @property
    def finite(self) -> bool:
        """Whether it can be judged."""
        return math.isfinite(self.loss) and (self.accuracy is None or math.isfinite(self.accuracy))


@dataclass(frozen=True)
class Track:
    """What is remembered of the loss, or of the error.

    Args:
        latest: the last measurement, or the smoothed one; None before the first.
        best: the least so far.
        variance: of a single measurement about the smoothed one.
        share: Σ w² / (Σ w)² of the weights in the smoothed one: 1 over the number of measurements that it is worth.
    """

    latest: float | None = None
    best: float = math.inf
    variance: float = 0.0
    share: float = 1.0


@dataclass(frozen=True)
class RuleState:
    """What a rule remembers, in plain numbers.

    Args:
        weight_decay: λ now.
        last_decay: step at which it was last divided; the first step before that.
        step: of the latest measurement.
        count: measurements so far.
        clock: decay times since the last division.
        improved: the clock at the last improvement.
        diverged: whether a measurement was not finite. Such a one is left out; λ stays.
        loss, error: what is remembered of the two; the error is minus the accuracy.
    """

    weight_decay: float
    last_decay: int = 0
    step: int = 0
    count: int = 0
    clock: float = 0.0
    improved: float = 0.0
    diverged: bool = False
    loss: Track = field(default_factory=Track)
    error: Track = field(default_factory=Track)

    def as_dict(self) -> dict[str, Any]:
        """Numbers in dictionaries: Python's `json` gives them back bit for bit."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RuleState:
        """The inverse of `as_dict`.

        Raises:
            InputError: other names than those of the fields.

        >>> state = PublishedRule(classes=10).start(2.0)
        >>> RuleState.from_dict(state.as_dict()) == state
        True
        """
        _same_fields(cls, values)
        tracks = {name: values[name] for name in ("loss", "error")}
        for track in tracks.values():
            _same_fields(Track, track)
        return cls(**{**values, **{name: Track(**track) for name, track in tracks.items()}})


class Rule(ABC):
    """Whether λ is divided, asked every `every` steps."""

    every: int

    def start(self, weight_decay: float, *, step: int = 0) -> RuleState:
        """The state before the first measurement, with λ above 0."""
        return RuleState(checks.positive("weight_decay", weight_decay), last_decay=step, step=step)

    def due(self, step: int) -> bool:
        """Whether the step is measured: step 0 is, and every `every`-th after it."""
        return step % self.every == 0

    @abstractmethod
    def __call__(self, state: RuleState, signal: Signal) -> RuleState:
        """The state after a measurement; its `weight_decay` is that of the coming update."""


@dataclass(frozen=True)
class PublishedRule(Rule):
    """The authors' rule: λ ← λ / factor when the latest two of the measurements are no better than the best before them.

    With the m-th measurement at a step i,

        i > delay/λ_flag + i_last,  m > 2,  and  [ best loss ≤ both latest losses  or  best accuracy ≥ both latest accuracies ]

    divide λ and set i_last = i, and leave the best values as they are. Otherwise the second most recent measurement enters the best
    values. Ties count, so that a mini-batch accuracy that stays at 1 divides λ as soon as the delay allows.

    λ_flag is the coefficient of the released code, whose loss is CE/K + λ_flag ‖θ‖²: cross-entropy divided by the number of classes, no ½.
    Times K this is the mean cross-entropy with (λ/2) ‖θ‖² for λ = 2K λ_flag, trained at 1/K of their learning rate; hence
    delay/λ_flag = 2K delay/λ steps. The delay contains no learning rate.

    Reference: Lewkowycz and Gur-Ari 2020, AutoL2, the released code (factor 10, delay 0.1, every 10 steps).

    Args:
        classes: K, or None where coefficients are λ_flag themselves.
        factor: above 1.
        delay: of the refractory time, in steps times λ_flag.
        every: steps between measurements.

    >>> rule = PublishedRule(classes=10)
    >>> state = rule.start(2.0)
    >>> for step in (0, 10, 20):  # a loss that never improves
    ...     state = rule(state, Signal(step, loss=1.0, accuracy=None, learning_rate=0.02))
    >>> state.weight_decay, state.last_decay
    (0.2, 20)
    """

    classes: int | None
    factor: float = 10.0
    delay: float = 0.1
    every: int = 10

    def __post_init__(self) -> None:
        """Refuse a factor that does not lower λ, a delay that is not positive, and numbers of classes or steps below 1."""
        checks.above_one("factor", self.factor)
        checks.positive("delay", self.delay)
        checks.positive_int("every", self.every)
        if self.classes is not None:
            checks.positive_int("classes", self.classes)

    def flag(self, weight_decay: float) -> float:
        """λ_flag = λ / (2K)."""
        return weight_decay if self.classes is None else weight_decay / (2 * self.classes)

    def __call__(self, state: RuleState, signal: Signal) -> RuleState:
        if not signal.finite:
            return dataclasses.replace(state, step=signal.step, diverged=True)
        loss, error, count = signal.loss, signal.error, state.count + 1
        waited = signal.step > self.delay / self.flag(state.weight_decay) + state.last_decay
        if waited and count > 2 and (_no_better(state.loss, loss) or _no_better(state.error, error)):
            return dataclasses.replace(
                state,
                # Divided: 0.1 * 0.1 is above 0.01, which would move a later decay by a measurement.
                weight_decay=state.weight_decay / self.factor,
                last_decay=signal.step,
                step=signal.step,
                count=count,
                loss=Track(loss, state.loss.best),
                error=Track(error, state.error.best),
            )
        loss_track, error_track = _appended(state.loss, loss), _appended(state.error, error)
        return dataclasses.replace(state, step=signal.step, count=count, loss=loss_track, error=error_track)


def _no_better(track: Track, value: float | None) -> bool:
    """Whether the latest two values are no better than the best before; no where one is missing."""
    return track.latest is not None and value is not None and track.best <= track.latest and track.best <= value


def _appended(track: Track, value: float | None) -> Track:
    best = track.best if track.latest is None else min(track.best, track.latest)
    return Track(value, best)


@dataclass(frozen=True)
class RobustRule(Rule):
    """A rule of our own: λ ← λ / factor when neither loss nor accuracy has improved for a while.

    Times are counted in decay times, (1 − m)/(ηλ) steps, in which the penalty alone takes a weight to 1/e. They add up over the steps, so
    that a learning-rate schedule slows the rule with the training. A measurement counts at most 1/`fewest` of one: where λ is so large
    that decay times are a few steps, the rule still sees some measurements in each.

    Loss and accuracy are smoothed: a plain mean at first, an exponential one over `memory` decay times from then on. The smoothed value is
    an improvement where it is below the best since the last division by more than `tolerance` standard errors, which come from the
    scatter of the measurements. λ is divided when `wait` decay times have passed since the last division and `patience` since the last
    improvement of either. A saturated accuracy does not improve, and thereby leaves the decision to the loss.

    By the paper's law performance peaks after a time that is proportional to the decay time. A coefficient whose decay time is long beside
    the rest of the run cannot do its work: with a `horizon`, λ is not divided below reach · (1 − m)/(η · remaining steps).

    The defaults of `wait`, `patience`, `memory` and `reach` are those of a trial on the validation split of MNIST (three seeds, runs of
    5,000 and 6,000 steps on 5,000 and 50,000 images): with 1, ½, ¼ and 1, the first choice, λ stayed too large.

    Args:
        factor: above 1; 10 as in the published rule.
        wait: decay times between two divisions, at least; long stages at a large λ cost a short run more than they bring.
        patience: decay times without improvement: long enough to see one through the noise, short beside `wait`.
        memory: decay times of the smoothing: less than `patience`, or the smoothed value lags behind the decision.
        tolerance: standard errors of an improvement.
        fewest: measurements in a decay time, at least.
        reach: decay times that the rest of the run must hold at the next λ, where there is a `horizon`.
        smallest: λ is not divided below it.
        horizon: steps of the whole run; None where they are not known.
        every: steps between measurements.

    >>> rule, states = RobustRule(horizon=100), []
    >>> states.append(rule.start(1.0))
    >>> for step in range(0, 100, 10):  # a loss that never improves; a decay time is 100 steps at λ = 0.1
    ...     states.append(rule(states[-1], Signal(step, loss=1.0, accuracy=None, learning_rate=0.1)))
    >>> sorted({state.weight_decay for state in states})
    [0.0625, 0.1, 1.0]
    """

    factor: float = 10.0
    wait: float = 0.25
    patience: float = 0.1
    memory: float = 0.05
    tolerance: float = 1.0
    fewest: int = 10
    reach: float = 0.25
    smallest: float = 0.0
    horizon: int | None = None
    every: int = 10

    def __post_init__(self) -> None:
        """Refuse a factor that does not lower λ, times that are not positive, and counts below 1."""
        checks.above_one("factor", self.factor)
        for name in ("wait", "patience", "memory", "reach"):
            checks.positive(name, getattr(self, name))
        for name in ("tolerance", "smallest"):
            checks.not_negative(name, getattr(self, name))
        for name in ("fewest", "every"):
            checks.positive_int(name, getattr(self, name))
        if self.horizon is not None:
            checks.positive_int("horizon", self.horizon)

    def __call__(self, state: RuleState, signal: Signal) -> RuleState:
        if not signal.finite:
            return dataclasses.replace(state, step=signal.step, diverged=True)
        rate = signal.learning_rate / (1 - signal.momentum)
        passed = min((signal.step - state.step) * rate * state.weight_decay, 1 / self.fewest)
        loss, less = self._follow(state.loss, signal.loss, passed=passed)
        error, fewer = self._follow(state.error, signal.error, passed=passed)
        clock = state.clock + passed
        improved = clock if less or fewer else state.improved
        if clock + _ROUNDING >= self.wait and clock - improved + _ROUNDING >= self.patience:
            lower = max(state.weight_decay / self.factor, self._floor(signal.step, rate))
            if lower < state.weight_decay:
                # The new stage is judged by its own measurements.
                started = self.start(lower, step=signal.step)
                return dataclasses.replace(started, count=state.count + 1, diverged=state.diverged)
        count = state.count + 1
        return RuleState(
            state.weight_decay, state.last_decay, signal.step, count, clock, improved, state.diverged, loss, error
        )

    def _follow(self, track: Track, value: float | None, *, passed: float) -> tuple[Track, bool]:
        """The track after a value, and whether it has improved."""
        if value is None:
            return track, False
        if track.latest is None:
            return Track(value, best=value), True
        # 1/n for the n-th measurement until the exponential weight is larger: no memory of an arbitrary start.
        # At most ½: one measurement alone has no scatter.
        gain = max(min(-math.expm1(-passed / self.memory), 0.5), track.share / (1 + track.share))
        off = value - track.latest
        mean, variance = track.latest + gain * off, (1 - gain) * (track.variance + gain * off * off)
        share = (1 - gain) ** 2 * track.share + gain**2
        better = mean < track.best - self.tolerance * math.sqrt(variance * share / (1 - share))
        return Track(mean, best=mean if better else track.best, variance=variance, share=share), better

    def _floor(self, step: int, rate: float) -> float:
        if self.horizon is None:
            return self.smallest
        remaining = (self.horizon - step) * rate
        return max(self.smallest, self.reach / remaining) if remaining > 0 else math.inf


def _same_fields(cls: type, values: Mapping[str, Any]) -> None:
    names = {part.name for part in dataclasses.fields(cls)}
    if set(values) != names:
        raise checks.InputError(f"{cls.__name__}: expected the fields {sorted(names)}, found {sorted(values)}")
