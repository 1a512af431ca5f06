"""Hidden units matched from block to block, so that weights may be compared entry by entry.

Units of block k are put into the order in which they fit those of block k − 1 best: the assignment that maximises the sum of inner products
between a unit's incoming and outgoing weights and its partner's (linear assignment, solved exactly). Along the depth, so that each block is
matched with the block before it as that was matched.

Reference: Ainsworth, Hayase, Srinivasa 2023 (weight matching between two networks); here between neighbouring blocks of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplimit.diagnosis.weights.sketches import sketch
from deeplimit.statistics.rounding import in_range

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 1024
"""Hidden units up to which they are matched: the time of an exact assignment grows with their third power."""


class Aligner:
    """Takes the blocks one after the other, and keeps the last one."""

    def __init__(self) -> None:
        self._before: Tensor | None = None

    def add(self, incoming: Tensor, outgoing: Tensor) -> tuple[Tensor, float | None]:
        """One block.

        Args:
            incoming: `[m, d]`, each hidden unit's weights from the stream.
            outgoing: `[m, d′]`, each hidden unit's weights to the stream.

        Returns:
            The sketch of both with units in their new order, and the mean cosine between a unit and its partner, None for the first block.
        """
        import torch
        from scipy.optimize import linear_sum_assignment

        units = torch.cat([_of_norm_one(incoming), _of_norm_one(outgoing)], dim=1)
        whole = torch.cat([incoming, outgoing], dim=1)
        matched = None
        if self._before is not None:
            fits = self._before @ units.T
            _, order = linear_sum_assignment(fits.numpy(), maximize=True)
            units, whole = units[order], whole[order]
            sizes = (self._before.norm(dim=1) * units.norm(dim=1)).clamp_min(torch.finfo(units.dtype).tiny)
            matched = float(((self._before * units).sum(1) / sizes).mean())
        self._before = units
        return sketch(whole), matched


def _of_norm_one(matrix: Tensor) -> Tensor:
    """In float64, with Frobenius norm 1, or 0 as it was."""
    import torch

    wide = in_range(matrix)
    return wide.div(wide.norm().clamp_min(torch.finfo(torch.float64).tiny))
