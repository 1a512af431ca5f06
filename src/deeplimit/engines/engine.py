"""The interface of an engine: how a stack of residual layers is evaluated and differentiated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from deeplimit.branches import Branch

Theta = Mapping[str, Tensor]
"""Parameters of a whole stack by role: `[L, …]` per layer, or without L for shared roles; all with a leading `[E]` in an ensemble."""


class Engine(ABC):
    """Runs h_{k+1} = h_k + scale · f(h_k, θ_{k+1}) over the whole depth.

    All engines take the same arguments and give the same numbers up to rounding; `reference` is the oracle that the others are tested
    against. States are `[n, *state]`, or `[E, n, *state]` in an ensemble, in which case every parameter has the leading axis E too.
    """

    name: ClassVar[str]

    @property
    def missing(self) -> str:
        """Why this engine cannot run here; empty where it can."""
        return ""

    @property
    def title(self) -> str:
        """The name with what of the machine it uses, as records keep it."""
        return self.name

    @abstractmethod
    def supports(self, branch: Branch, like: Tensor | None = None) -> bool:
        """Whether this engine can run the branch.

        Args:
            branch: f.
            like: states of the device and precision in question; None for float32 or float64 on the CPU.
        """

    @abstractmethod
    def final(self, branch: Branch, h: Tensor, theta: Theta, scale: float) -> Tensor:
        """The last state h_L, differentiable with respect to h_0 and every parameter.

        Args:
            branch: f.
            h: the first state h_0.
            theta: stacked parameters.
            scale: the factor in front of f, L^(−β).
        """

    def release(self) -> None:
        """Free whatever is kept between calls; nothing, unless an engine keeps something."""

    @abstractmethod
    def states(self, branch: Branch, h: Tensor, theta: Theta, scale: float) -> Tensor:
        """All states h_0 … h_L, `[L + 1, *h.shape]`, not differentiable."""


def is_ensemble(branch: Branch, h: Tensor) -> bool:
    """Whether the states carry a leading ensemble axis."""
    return h.dim() == len(branch.state_shape) + 2


def layered(branch: Branch, theta: Theta, *, ensemble: bool) -> dict[str, Tensor]:
    """The parameters that differ from layer to layer, with depth as the first axis: `[L, …]` or `[L, E, …]`."""
    return {role: theta[role].transpose(0, 1) if ensemble else theta[role] for role in branch.shapes}
