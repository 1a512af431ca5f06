"""What the gradients say: their size at a depth, and the Polyak–Łojasiewicz ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.measures.measure import Every, Measure, Memory, Observation, Schedule, View, per_layer_norm

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class LayerGradients(Measure):
    """L ‖∂ℓ/∂Z_k‖_F at fixed relative depths, which tends to a limit as L grows: why the flow has a factor L.

    Reference: Marion et al. 2024, equation (4).

    Quantity: `gradient.ROLE` with index 100 · s, for layer k = ⌈s L⌉.
    """

    at: Schedule = field(default_factory=lambda: Every(1))
    positions: tuple[float, ...] = (0.25, 0.5, 1.0)

    def __post_init__(self) -> None:
        """Refuse positions outside of the network."""
        checks.each(checks.fraction)("positions", self.positions)

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """One norm per role and position."""
        depth = view.network.depth
        # Less a hair, since s L may fall on an integer and be rounded up past it: 0.07 · 100.
        layers = [max(1, math.ceil(s * depth - 1e-9)) - 1 for s in self.positions]
        for role in view.network.layer_roles:
            norms = depth * per_layer_norm(view.grads[role][:, layers])
            yield Observation(f"gradient.{role}", norms, [round(100 * s) for s in self.positions])


@dataclass(frozen=True)
class PLRatio(Measure):
    """The ratio (‖∂ℓ/∂A‖² + L Σ_k ‖∂ℓ/∂Z_k‖² + ‖∂ℓ/∂B‖²) / ℓ, and its minimum so far.

    Reference: Marion et al. 2024, Definition 1. Norms are Frobenius norms of all entries together, so that the numerator is exactly −dℓ/dt
    along the flow (4) and the minimum μ of the ratio gives ℓ(t) ≤ e^{−μt} ℓ(0).

    Quantities: `pl` and `pl.min`.
    """

    at: Schedule = field(default_factory=lambda: Every(1))

    def watch(self, view: View, memory: Memory) -> None:
        """Update the minimum."""
        ratio = view.pl_ratio
        memory["min"] = ratio.minimum(memory["min"]) if "min" in memory else ratio

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The ratio and its minimum."""
        ratio = view.pl_ratio
        yield Observation("pl", ratio)
        yield Observation("pl.min", ratio.minimum(memory["min"]) if "min" in memory else ratio)
