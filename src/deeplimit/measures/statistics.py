"""Statistics of the weights over depth, whose exponents tell regimes apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from deeplimit.measures.measure import Last, Measure, Memory, Observation, Schedule, View
from deeplimit.networks import effective
from deeplimit.statistics import Norm, depth_statistics


@dataclass(frozen=True)
class DepthStatistics(Measure):
    """Every statistic of every layered role, of the weights that the function identifies (`networks.effective`).

    Quantities: `statistic.NAME.ROLE`, names as in `statistics.STATISTICS`; of a δ that all layers share `statistic.maximum.delta`, |δ|.

    Reference: Cohen et al. 2021, section 4 and the released code: for ReLU with a δ per layer A and b stand for |δ_k| A_k and |δ_k| b_k.

    Args:
        at: the iterations.
        norm: of one layer; Frobenius unless given.
    """

    at: Schedule = field(default_factory=Last)
    norm: Norm | None = None

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """All statistics, in float64: sums over thousands of layers."""
        for role, weights in effective(view.stack, view.params).items():
            for name, values in depth_statistics(weights.double(), self.norm).items():
                yield Observation(f"statistic.{name}.{role}", values)
        if "delta" in view.stack.branch.shared_shapes:
            yield Observation("statistic.maximum.delta", view.params["delta"].double().abs())
