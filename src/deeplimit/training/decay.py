"""Learning rates that change from epoch to epoch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from deeplimit import checks
from deeplimit.training.optimizers import Optimizer


@dataclass(frozen=True)
class StepDecay:
    """The learning rate times `factor` after every `every` epochs: η · factor^⌊epoch / every⌋.

    Reference: Marion et al. 2025, the released code (every 5 epochs, factor 0.1).

    Args:
        every: epochs of one rate; an update is an epoch where there are no mini-batches.
        factor: above 0.
    """

    every: int
    factor: float

    def __post_init__(self) -> None:
        """Refuse an interval below 1 and a factor that is not positive."""
        checks.positive_int("every", self.every)
        checks.positive("factor", self.factor)

    def __call__(self, optimizer: Optimizer, epoch: int) -> Optimizer:
        """The optimiser of an epoch, counted from 0.

        >>> from deeplimit.training import SGD
        >>> StepDecay(5, 0.5)(SGD((0.1, 1.0)), 12).learning_rate
        (0.025, 0.25)
        """
        factor, rate = self.factor ** (epoch // self.every), optimizer.learning_rate
        decayed = tuple(factor * r for r in rate) if isinstance(rate, tuple) else factor * rate
        # Every optimiser is a dataclass with this field, which the interface cannot say.
        changed: Optimizer = dataclasses.replace(optimizer, learning_rate=decayed)  # type: ignore[type-var]
        return changed
