"""What a number for weight decay means: conversion between the conventions of papers and libraries.

Two updates are behind all of them, with g the gradient of the mean loss, θ the weights and u(·) what the optimiser makes of a gradient
(itself for SGD, a running sum with momentum, a running sum over a running scale for Adam):

    coupled:    θ ← θ − η u(g + λ θ)        L2: the gradient of (λ/2)‖θ‖²
    decoupled:  θ ← (1 − ρ) θ − η u(g)      weight decay

A convention says how η and λ, or ρ, are made of the two numbers that a user types.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from deeplimit import checks


@dataclass(frozen=True)
class Setting:
    """How a network is trained; what is None is not known, and only needed by some conversions.

    Args:
        learning_rate: of the optimiser, as typed; the first one of a schedule.
        momentum: m of the heavy ball v ← m v + gradient; not β₁ of Adam.
        steps: T, updates of the whole run.
        batch_size: B.
        classes: K.
        train_samples: N, so that an epoch has N/B steps.
        tokens_per_parameter: of the whole run of a language model.
    """

    learning_rate: float
    momentum: float = 0.0
    steps: int | None = None
    batch_size: int | None = None
    classes: int | None = None
    train_samples: int | None = None
    tokens_per_parameter: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that no training has."""
        checks.moderate("learning_rate", self.learning_rate)
        checks.below_one("momentum", self.momentum)
        for name in ("steps", "batch_size", "classes", "train_samples"):
            if getattr(self, name) is not None:
                checks.positive_int(name, getattr(self, name))
        if self.tokens_per_parameter is not None:
            checks.moderate("tokens_per_parameter", self.tokens_per_parameter)

    def need(self, name: str, why: str) -> int:
        """One of the whole numbers that may be None, where it is needed."""
        value: int | None = getattr(self, name)
        if value is None:
            raise checks.InputError(f"{name}: expected a number, because {why}; found none")
        return value


Loss = Literal["mean", "sum"]
Place = Literal["gradient", "rate", "alone", "normalised"]
Kind = Literal["sgd", "adam", "any"]


@dataclass(frozen=True)
class Convention:
    """How a weight decay w and a learning rate make an update.

    Args:
        half: the penalty is (w/2)‖θ‖², not w‖θ‖².
        loss: the loss is the mean or the sum over the batch.
        per_class: the loss is divided by the number of classes K, too.
        place: where w acts. "gradient": on the gradient, coupled. Decoupled: "rate", ρ = η w; "alone", ρ = w (times the shape of a
            schedule); "normalised", ρ = w/√T, T the steps of the run.
        optimizer: what turns gradients into updates; "any" takes that of the other convention, else SGD.
    """

    half: bool = True
    loss: Loss = "mean"
    per_class: bool = False
    place: Place = "gradient"
    optimizer: Kind = "any"

    def __post_init__(self) -> None:
        """Refuse other words."""
        words = {"loss": get_args(Loss), "place": get_args(Place), "optimizer": get_args(Kind)}
        checks.fields(self, **{name: checks.among(known) for name, known in words.items()})

    @property
    def coupled(self) -> bool:
        """Whether the optimiser sees the penalty."""
        return self.place == "gradient"

    def loss_factor(self, setting: Setting) -> float:
        """The loss over the mean loss."""
        factor = setting.need("batch_size", "the loss is a sum over the batch") if self.loss == "sum" else 1
        return factor / (setting.need("classes", "the loss is divided by it") if self.per_class else 1)

    def penalty_factor(self, setting: Setting) -> float:
        """What the weight decay is multiplied with: λ/w where it is coupled, ρ/w where it is not.

        Args:
            setting: with the learning rate of this convention.
        """
        if self.coupled:
            return (1 if self.half else 2) / self.loss_factor(setting)
        if self.place == "normalised":
            return 1 / math.sqrt(setting.need("steps", "the weight decay is normalised by their square root"))
        return setting.learning_rate if self.place == "rate" else 1.0


CONVENTIONS: dict[str, Convention] = {
    # mean loss + (λ/2)‖θ‖²
    "house": Convention(),
    "torch-sgd": Convention(optimizer="sgd"),
    "torch-adam": Convention(optimizer="adam"),
    "torch-adamw": Convention(place="rate", optimizer="adam"),
    # chain(add_decayed_weights(w), sgd(lr, momentum))
    "optax-sgd": Convention(optimizer="sgd"),
    # chain(trace(m), add_decayed_weights(w), scale(−lr))
    "optax-sgdw": Convention(place="rate", optimizer="sgd"),
    # chain(scale_by_adam(), add_decayed_weights(w), scale(−lr))
    "optax-adamw": Convention(place="rate", optimizer="adam"),
    # regularizers.L2(w) is w‖θ‖²
    "keras-l2": Convention(half=False),
    # cross entropy / K + w‖θ‖², the released code
    "lewkowycz2020": Convention(half=False, per_class=True, optimizer="sgd"),
    # θ ← (1 − w · rate / first rate) θ − …
    "composer-decoupled": Convention(place="alone"),
    # w √(B/(N epochs)), B/(N epochs) = 1/T
    "loshchilov-normalised": Convention(place="normalised"),
}
"""Conventions by name."""


@dataclass(frozen=True)
class Converted:
    """A weight decay in another convention.

    Args:
        weight_decay: NaN where there is no equivalent.
        learning_rate: to be used with it; another one where the loss is normalised otherwise.
        exact: whether the weights of both trainings agree step for step.
        note: in words, what else is to know.
    """

    weight_decay: float
    learning_rate: float
    exact: bool
    note: str = ""

    def as_json(self) -> dict[str, object]:
        """All of it for JSON, where null stands for NaN."""
        value = None if math.isnan(self.weight_decay) else self.weight_decay
        return {"weight_decay": value, "learning_rate": self.learning_rate, "exact": self.exact, "note": self.note}

    def __str__(self) -> str:
        value = "none" if math.isnan(self.weight_decay) else f"{self.weight_decay:.10g}"
        lines = [
            f"weight decay: {value}",
            f"learning rate: {self.learning_rate:.10g}",
            f"exact: {'yes' if self.exact else 'no'}",
        ]
        return "\n".join(lines + ([f"note: {self.note}"] if self.note else []))


_ADAM = (
    "Adam divides the gradient of a penalty by the running scale of the gradient, weight by weight: no decoupled number and no number "
    "for another optimiser does the same. Choose it anew"
)
_CLOCK = "equal clock only: weights decay at the same mean rate, and momentum delays the decay that is in the gradient"
_OTHER = "equal clock only: weights decay at the same mean rate under both, and the optimisers take different steps"


def convention(name: str | Convention) -> Convention:
    """A convention by its name in `CONVENTIONS`, or itself."""
    if isinstance(name, Convention):
        return name
    return CONVENTIONS[checks.one_of("convention", name, CONVENTIONS)]


def shrinkage(weight_decay: float, setting: Setting, *, source: str | Convention = "house") -> float:
    """The share of a weight that decays per step: the clock of L2, of which 1/shrinkage is the time scale in steps.

    ηλ/(1 − m) coupled with SGD, ρ decoupled

    Reference: Lewkowycz and Gur-Ari 2020 (t_* is proportional to 1/(ηλ)).

    Args:
        weight_decay: in the convention `source`.
        setting: with the learning rate of that convention.
        source: a name of `CONVENTIONS`, or a convention.

    Returns:
        NaN for L2 in the gradient of Adam, which has no such rate.

    >>> round(shrinkage(1e-2, Setting(0.1, momentum=0.9)), 12)
    0.01
    """
    kind, value = convention(source), _coefficient(weight_decay)
    if not kind.coupled:
        return value * kind.penalty_factor(setting)
    if kind.optimizer == "adam":
        return math.nan
    rate = setting.learning_rate * kind.loss_factor(setting)
    return rate * value * kind.penalty_factor(setting) / (1 - setting.momentum)


def convert(
    weight_decay: float,
    setting: Setting,
    *,
    source: str | Convention,
    target: str | Convention,
    learning_rate: float | None = None,
) -> Converted:
    """The weight decay and the learning rate that mean in another convention what these mean in this one.

    A loss of s times the mean loss makes η = s · rate (SGD), and λ = w/s, or 2w/s without the ½. Coupled and decoupled agree for SGD
    without momentum, ρ = ηλ; with momentum ρ = ηλ/(1 − m) is an equal clock; with Adam nothing is equivalent.

    Args:
        weight_decay: w, in the convention `source`.
        setting: with the learning rate of `source`, and what the two conventions need besides.
        source, target: names of `CONVENTIONS`, or conventions.
        learning_rate: that of `target`, where it is of another optimiser: then it does not follow from the first.

    Raises:
        InputError: a convention that is not known, or a number of the setting that is missing.

    >>> found = convert(5e-4, Setting(0.2, momentum=0.9, classes=10), source="lewkowycz2020", target="torch-sgd")
    >>> round(found.weight_decay, 12), round(found.learning_rate, 12), found.exact
    (0.01, 0.02, True)
    """
    old, new = convention(source), convention(target)
    known: Literal["sgd", "adam", "any"] = next(
        (kind.optimizer for kind in (old, new) if kind.optimizer != "any"), "sgd"
    )
    old, new = (replace(kind, optimizer=known) if kind.optimizer == "any" else kind for kind in (old, new))
    _coefficient(weight_decay)
    rate, note = _rate(old, new, setting=setting, given=learning_rate)
    there = replace(setting, learning_rate=rate)
    if old.optimizer == new.optimizer and (old.coupled == new.coupled or weight_decay == 0):
        value = weight_decay * old.penalty_factor(setting) / new.penalty_factor(there)
        return Converted(value, rate, exact=True, note=note)
    clock = shrinkage(weight_decay, setting, source=old) / shrinkage(1.0, there, source=new)
    if math.isnan(clock):
        return Converted(clock, rate, exact=False, note=_ADAM)
    if old.optimizer != new.optimizer:
        return Converted(clock, rate, exact=False, note=_OTHER)
    return Converted(clock, rate, exact=setting.momentum == 0, note=_CLOCK if setting.momentum else note)


def _rate(old: Convention, new: Convention, *, setting: Setting, given: float | None) -> tuple[float, str]:
    """The learning rate of the target, and what else changes with it."""
    if old.optimizer != new.optimizer:
        if given is None:
            raise checks.InputError(
                f"learning_rate: expected that of the target, because one of {new.optimizer} does not follow from one of "
                f"{old.optimizer}; found none"
            )
        return checks.moderate("learning_rate", given), ""
    if given is not None:
        raise checks.InputError(f"learning_rate: expected none for the target, because it follows; found {given}")
    factor = old.loss_factor(setting) / new.loss_factor(setting)
    if old.optimizer == "sgd" or factor == 1:
        return setting.learning_rate * factor, ""
    # Adam does not see the size of the gradient, but for its ε.
    return setting.learning_rate, f"multiply eps of Adam by {1 / factor:.15g}"


def _coefficient(weight_decay: float) -> float:
    """A weight decay, which may be 0."""
    return (
        weight_decay
        if checks.not_negative("weight_decay", weight_decay) == 0
        else checks.moderate("weight_decay", weight_decay)
    )
