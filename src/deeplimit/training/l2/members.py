"""A rule for each member of an ensemble in training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.training.l2.rules import Rule, RuleState, Signal
from deeplimit.training.optimizers import SGD, Adam, Optimizer

if TYPE_CHECKING:
    from torch import Tensor


class MemberRules:
    """The states of a rule, one per member; each has a λ of its own.

    The signal is that of the published rule: loss and accuracy of the coming update's mini-batch, which training computes in any case.

    Args:
        rule: when λ is divided.
        optimizer: tells λ at the start; SGD or Adam, coupled or decoupled.
        members: E.

    Raises:
        InputError: an optimiser without λ, or a λ that is not positive.
    """

    def __init__(self, rule: Rule, optimizer: Optimizer, *, members: int) -> None:
        self.rule = rule
        decays = _per_member(_with_decay(optimizer).weight_decay, members)
        self.states = [rule.start(decay) for decay in decays]

    @property
    def weight_decay(self) -> tuple[float, ...]:
        """λ of each member."""
        return tuple(state.weight_decay for state in self.states)

    def measure(self, optimizer: Optimizer, *, step: int, loss: Tensor, accuracy: Tensor | None) -> list[bool]:
        """Take note of losses and accuracies `[E]` before the update of a step; for each member, whether its λ has changed."""
        own, before = _with_decay(optimizer), self.weight_decay
        rates = _per_member(own.learning_rate, len(self.states))
        momentum = own.momentum if isinstance(own, SGD) else 0.0
        accuracies = [None] * len(self.states) if accuracy is None else accuracy.tolist()
        measured = zip(self.states, loss.tolist(), accuracies, rates, strict=True)
        self.states = [self.rule(state, Signal(step, lo, acc, rate, momentum)) for state, lo, acc, rate in measured]
        return [old != new for old, new in zip(before, self.weight_decay, strict=True)]

    def applied(self, optimizer: Optimizer) -> Optimizer:
        """The optimiser with each member's λ."""
        return dataclasses.replace(_with_decay(optimizer), weight_decay=self.weight_decay)

    def pack(self) -> list[dict[str, Any]]:
        """The states in plain numbers."""
        return [state.as_dict() for state in self.states]

    def unpack(self, packed: list[dict[str, Any]]) -> None:
        """Go on from what `pack` gave."""
        self.states = [RuleState.from_dict(values) for values in packed]


def _with_decay(optimizer: Optimizer) -> SGD | Adam:
    if not isinstance(optimizer, SGD | Adam):
        raise checks.InputError(f"rule: expected the optimiser SGD or Adam, found {type(optimizer).__name__}")
    return optimizer


def _per_member(rate: float | tuple[float, ...], members: int) -> tuple[float, ...]:
    return rate if isinstance(rate, tuple) else (rate,) * members
