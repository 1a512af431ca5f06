"""Operator norms of the convolutions in every block, and what they become with depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.measures.measure import Last, Measure, Memory, Observation, Schedule, View
from deeplimit.networks import Kernels, StagedResidual
from deeplimit.statistics import ConvolutionOperator

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BlockNorms(Measure):
    """Operator norms a_k of the 3 × 3 convolutions A_k and Δ_k of a `StagedResidual`, each on the maps that it acts on, stride ignored.

    Quantities, for KIND `A` and `delta`:
        `block.KIND`: a_k, with the block k = 1…L as index.
        `statistic.maximum.KIND`, `statistic.root_sum_of_squares.KIND`: max_k a_k and (Σ_k a_k²)^{1/2}.
        `statistic.carriers.KIND`: (Σ_k a_k²)² / Σ_k a_k⁴, the number of blocks that carry the weights.
        `statistic.increment.KIND`: max_k ‖K_{k+1} − K_k‖ over neighbouring kernels of equal shape; absent where there are none.

    Reference: Cohen et al. 2021, the released code for convolutional networks.
    """

    at: Schedule = field(default_factory=Last)

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """All quantities, in float64.

        Raises:
            InputError: the network is another one.
        """
        import torch

        network = view.network
        if not isinstance(network, StagedResidual):
            raise checks.InputError(f"network: expected a StagedResidual, found {type(network).__name__}")
        for kind in ("A", "delta"):
            stacks = [stack for stack in network.kernels if stack.kind == kind]
            norms = torch.cat([operator_norms(view.params[s.role], s) for s in stacks], 1)
            squares = norms.square()
            yield Observation(f"block.{kind}", norms, range(1, norms.shape[1] + 1))
            yield Observation(f"statistic.maximum.{kind}", norms.amax(1))
            yield Observation(f"statistic.root_sum_of_squares.{kind}", squares.sum(1).sqrt())
            yield Observation(f"statistic.carriers.{kind}", squares.sum(1).square() / squares.square().sum(1))
            changes = [operator_norms(view.params[s.role].diff(dim=1), s) for s in stacks]
            if sum(change.shape[1] for change in changes):
                yield Observation(f"statistic.increment.{kind}", torch.cat(changes, 1).amax(1))


def operator_norms(weights: Tensor, kernels: Kernels) -> Tensor:
    """Norms `[E, n]` of stacked kernels `[E, n, out, in, 3, 3]`, one block after the other: each has a matrix per frequency in memory."""
    import torch

    norm = ConvolutionOperator(*kernels.side)
    found = [norm(block[:, None].double()) for block in weights.unbind(1)]
    return torch.cat(found, 1) if found else weights.new_zeros(len(weights), 0, dtype=torch.float64)
