"""Distances between the same network at two depths: do weights, states and outputs converge as L grows?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from deeplimit import checks
from deeplimit.measures.measure import Comparison, Every, Observation, Schedule, View, per_layer_norm

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WeightDistance(Comparison):
    """Distance between the weights of depth L and of the deepest network, as functions of s in [0, 1].

    Quantities: `distance.l2.ROLE`, (∫ ‖Z^L(s) − Z^ref(s)‖²_F ds)^{1/2}, and `distance.sup.ROLE`, sup over s; suffixed `.paper` where
    the alignment is `paper`.

    Args:
        at: the iterations.
        alignment: which layers stand at s.
            `left`: layer ⌊L s⌋ (counted from 0), compared at the left edges s = i/L, as the released script of Figure 1 right does.
            `paper`: layer ⌊(L − 1) s⌋ of both networks, at all s: Marion et al. 2024, equation (8).
    """

    at: Schedule = field(default_factory=lambda: Every(50))
    alignment: Literal["left", "paper"] = "left"

    def __post_init__(self) -> None:
        """Refuse an unknown alignment."""
        checks.one_of("alignment", self.alignment, ("left", "paper"))

    def compare(self, view: View, reference: View) -> Iterator[Observation]:
        """The two distances for each role."""
        suffix = "" if self.alignment == "left" else ".paper"
        own, deep, lengths = self._pieces(view.network.depth, reference.network.depth, like=view.loss)
        for role, weights in view.weights.items():
            norms = per_layer_norm(weights[:, own] - reference.weights[role][:, deep])
            yield Observation(f"distance.l2.{role}{suffix}", (norms.square() * lengths).sum(1).sqrt())
            yield Observation(f"distance.sup.{role}{suffix}", norms.amax(1))

    def _pieces(self, depth: int, deepest: int, *, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The layers of both networks to compare, and the length of s for which they stand.

        Integer arithmetic, since positions in units of a layer fall on integers.
        """
        import torch

        if self.alignment == "left":
            i = torch.arange(depth, device=like.device)
            return i, i * deepest // depth, like.new_full((depth,), 1 / depth)
        # Both functions are constant from one multiple of 1/(L − 1) or 1/(L_ref − 1) to the next, and have a value of their own at s = 1.
        p, q = max(1, depth - 1), deepest - 1
        edges = torch.cat([torch.arange(p + 1) * q, torch.arange(q) * p])  # s in units of 1/(p q)
        s = torch.unique(edges).to(like.device)
        lengths = s.diff(append=s[-1:]).to(like.dtype) / (p * q)
        return s * (depth - 1) // (p * q), s * (deepest - 1) // (p * q), lengths


@dataclass(frozen=True)
class StateDistance(Comparison):
    """Distance between hidden states and outputs of depth L and of the deepest network.

    Reference: Marion et al. 2024, Theorem 4 (iii) and (iv).

    Quantities: `distance.states`, max over s = j/L_ref and samples of ‖h_{⌊L s⌋} − h^ref_{⌊L_ref s⌋}‖, and `distance.outputs`, max over
    samples of ‖F^L(x) − F^ref(x)‖.
    """

    at: Schedule = field(default_factory=lambda: Every(100))

    def compare(self, view: View, reference: View) -> Iterator[Observation]:
        """The two distances."""
        import torch

        depth, deepest = view.network.depth, reference.network.depth
        positions = torch.arange(deepest + 1, device=view.loss.device) * depth // deepest
        # One coarse layer at a time: the deep states are large.
        worst = [_farthest(view.states[k], reference.states[positions == k]) for k in range(depth + 1)]
        yield Observation("distance.states", torch.stack(worst).amax(0))
        yield Observation("distance.outputs", _farthest(view.output, reference.output.unsqueeze(0)))


def _farthest(state: Tensor, others: Tensor) -> Tensor:
    """Max over others and samples of the distance: state `[E, n, …]`, others `[K, E, n, …]`, result `[E]`."""
    distances: Tensor = (others - state).flatten(3).norm(dim=3)
    return distances.amax((0, 2))
