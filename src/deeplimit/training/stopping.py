"""When the training of a member ends before its last iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.measures import Memory


@dataclass(frozen=True)
class EpochStop:
    """Stop a member after an epoch whose mean loss is below a threshold, or when the loss has not improved for a while.

    The mean is over the epoch's batches, weighted by their size; each batch is seen before its update. An epoch improves on the best one
    if its mean is below (1 − `improvement`) times the best; only then it becomes the best.

    Reference: the released code of Cohen et al. 2021 (threshold 1e-3 there, 5 epochs without 1 %).

    Args:
        below: the threshold; 0 for none.
        patience: consecutive epochs without improvement.
        improvement: the fraction by which an epoch must improve on the best.
    """

    below: float
    patience: int = 5
    improvement: float = 0.01

    def __post_init__(self) -> None:
        """Refuse a negative threshold, a patience below 1 and an improvement that is no fraction."""
        checks.positive_int("patience", self.patience)
        checks.fields(self, below=checks.not_negative, improvement=checks.below_one)

    def start(self, like: Tensor) -> Memory:
        """What is remembered of members `[E]`: the sum of losses, the best mean, epochs since, the iteration of the stop (or −1)."""
        import torch

        nothing = torch.zeros(like.shape, dtype=torch.float64, device=like.device)
        count = torch.zeros(like.shape, dtype=torch.int64, device=like.device)
        return {"sum": nothing, "best": nothing + torch.inf, "since": count, "stopped": count - 1}

    def add(self, memory: Memory, loss: Tensor, *, samples: int) -> None:
        """Take note of a batch: its losses `[E]` and its size."""
        memory["sum"] = memory["sum"].add(loss, alpha=samples)

    def judge(self, memory: Memory, *, samples: int) -> tuple[Tensor, Tensor]:
        """The mean loss of the epoch that ends here and the verdict on each member, both `[E]`; the next epoch begins.

        The verdict is 0 to go on, 1 below the threshold, 2 out of patience.
        """
        mean = memory["sum"] / samples
        better = mean < (1 - self.improvement) * memory["best"]
        memory["best"] = mean.where(better, memory["best"])
        memory["since"] = (memory["since"] + 1).masked_fill(better, 0)
        memory["sum"] = memory["sum"].new_zeros(mean.shape)
        verdict = 2 * (memory["since"] >= self.patience)
        return mean, verdict.masked_fill(mean < self.below, 1)
