"""Learning rates that change from epoch to epoch."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from deeplimit import checks
from deeplimit.training.optimizers import Optimizer


class Decay(ABC):
    """How the learning rate changes from epoch to epoch; an update is an epoch where there are no mini-batches."""

    @abstractmethod
    def factor_at(self, epoch: int) -> float:
        """What the first learning rate is multiplied by in an epoch, counted from 0."""

    def __call__(self, optimizer: Optimizer, epoch: int) -> Optimizer:
        """The optimiser of an epoch, counted from 0."""
        factor, rate = self.factor_at(epoch), optimizer.learning_rate
        decayed = tuple(factor * r for r in rate) if isinstance(rate, tuple) else factor * rate
        # Every optimiser is a dataclass with this field, which the interface cannot say.
        changed: Optimizer = dataclasses.replace(optimizer, learning_rate=decayed)  # type: ignore[type-var]
        return changed


@dataclass(frozen=True)
class StepDecay(Decay):
    """The learning rate times `factor` after every `every` epochs: η · factor^⌊epoch / every⌋.

    Reference: Marion et al. 2025, the released code (every 5 epochs, factor 0.1).

    Args:
        every: epochs of one rate.
        factor: above 0.
    """

    every: int
    factor: float

    def __post_init__(self) -> None:
        """Refuse an interval below 1 and a factor that is not positive."""
        checks.positive_int("every", self.every)
        checks.positive("factor", self.factor)

    def factor_at(self, epoch: int) -> float:
        """Constant for `every` epochs.

        >>> from deeplimit.training import SGD
        >>> StepDecay(5, 0.5)(SGD((0.1, 1.0)), 12).learning_rate
        (0.025, 0.25)
        """
        return self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class CosineDecay(Decay):
    """The learning rate times (1 + cos(π · epoch / epochs)) / 2, constant within an epoch.

    Reference: Loshchilov and Hutter 2017 without restarts; the released code of Marion et al. 2024 and of Cohen et al. 2021 (PyTorch's
    `CosineAnnealingLR`, a step per epoch).

    Args:
        epochs: when the rate would be 0: after the last epoch of a run of so many.
    """

    epochs: int

    def __post_init__(self) -> None:
        """Refuse a length that is not a positive integer."""
        checks.positive_int("epochs", self.epochs)

    def factor_at(self, epoch: int) -> float:
        """From 1 down; 0 from `epochs` on.

        >>> [round(CosineDecay(4).factor_at(epoch), 3) for epoch in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
        """
        return (1 + math.cos(math.pi * min(epoch / self.epochs, 1.0))) / 2
