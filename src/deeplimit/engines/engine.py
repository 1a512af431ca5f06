"""The interface of an engine: how a stack of residual layers is evaluated and differentiated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
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
    on_cpu: ClassVar[bool] = True
    """Whether `auto` may take it on the CPU."""

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


def differentiable_gradient(
    function: Callable[..., Tensor], inputs: Sequence[Tensor | None], *, p: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradient of ⟨p, function(*inputs)⟩ for each input that asks for one, itself differentiable: what `create_graph` wants.

    Args:
        function: differentiable by autograd to any order.
        inputs: its arguments; None for one that is not there.
        p: the direction, of the shape of its result.
    """
    # Nodes of their own: where one input is computed from another, what flows between them is not part of the partial derivatives.
    nodes = [t if t is None else t.view_as(t) for t in inputs]
    wanted = [t for t in nodes if t is not None and t.requires_grad]
    found = iter(torch.autograd.grad(function(*nodes), wanted, p, create_graph=True))
    return tuple(next(found) if t is not None and t.requires_grad else None for t in nodes)


def is_ensemble(branch: Branch, h: Tensor) -> bool:
    """Whether the states carry a leading ensemble axis."""
    return h.dim() == len(branch.state_shape) + 2


def layered(branch: Branch, theta: Theta, *, ensemble: bool) -> dict[str, Tensor]:
    """The parameters that differ from layer to layer, with depth as the first axis: `[L, …]` or `[L, E, …]`."""
    return {role: theta[role].transpose(0, 1) if ensemble else theta[role] for role in branch.shapes}
