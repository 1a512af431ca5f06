"""Distances between successive layers: are the weights a smooth function of depth?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit.measures.measure import Every, Measure, Memory, Observation, Schedule, View

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class LayerGaps(Measure):
    """Distances ‖Z_{k+1} − Z_k‖_F between successive layers, now and over the training so far.

    The norm of one layer is the sum of the Frobenius norms of its matrices, ‖Z_k‖_F := ‖V_k‖_F + ‖W_k‖_F (Marion et al. 2024, section 2).

    Quantities:
        `gap`: max over k now; `gap.ROLE`: the same for one role.
        `gap.max`: max over k and over all iterations before this one (Proposition 3; the label of Figure 1, left).
        `gap.aggregate`: max over roles of (Σ over iterations before this one, Σ over k, ‖·‖²_F)^{1/2}: what the released script of Figure 1
            left plots under that label. It decays as L^{−1/2} where the gap decays as 1/L.
    """

    at: Schedule = field(default_factory=lambda: Every(1))

    def watch(self, view: View, memory: Memory) -> None:
        """Update the maximum and the sums of squares."""
        gaps = view.gaps
        largest = view.largest_gap
        memory["max"] = largest if "max" not in memory else memory["max"].maximum(largest)
        for role, gap in gaps.items():
            squares = gap.square().sum(1)
            memory[f"squares.{role}"] = memory.get(f"squares.{role}", 0.0) + squares

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The four quantities."""
        import torch

        gaps = view.gaps
        nothing = torch.zeros_like(view.loss)
        yield Observation("gap", view.largest_gap)
        for role, gap in gaps.items():
            yield Observation(f"gap.{role}", gap.amax(1))
        yield Observation("gap.max", memory.get("max", nothing))
        squares = torch.stack([memory.get(f"squares.{role}", nothing) for role in gaps])
        yield Observation("gap.aggregate", squares.amax(0).sqrt())
