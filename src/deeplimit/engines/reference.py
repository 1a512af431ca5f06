"""The reference engine: plain PyTorch autograd over the stack, for any branch. The oracle."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from deeplimit import checks
from deeplimit.branches import Branch
from deeplimit.engines.engine import Engine, Theta, is_ensemble, layered


class ReferenceEngine(Engine):
    """Evaluates the branch layer by layer and leaves the gradient to autograd.

    Works under torch.func, in forward mode and with `create_graph`. An ensemble runs through `torch.vmap` over its members, so a branch
    need not know of ensembles.
    """

    name = "reference"

    def supports(self, branch: Branch, like: Tensor | None = None) -> bool:
        """Any branch."""
        return True

    def final(self, branch: Branch, h: Tensor, theta: Theta, scale: float) -> Tensor:
        """The last state, by autograd differentiable to any order."""
        for state in _trajectory(branch, h, theta, scale):
            h = state
        return h

    def states(self, branch: Branch, h: Tensor, theta: Theta, scale: float) -> Tensor:
        """All states, stacked."""
        with torch.no_grad():
            return torch.stack([h, *_trajectory(branch, h, theta, scale)])


def _trajectory(branch: Branch, h: Tensor, theta: Theta, scale: float) -> Iterator[Tensor]:
    """The states h_1 … h_L, one after the other."""
    ensemble = is_ensemble(branch, h)
    evaluate = torch.vmap(branch.__call__) if ensemble else branch.__call__
    stacked = layered(branch, theta, ensemble=ensemble)
    shared = {role: theta[role] for role in branch.shared_shapes}
    for layer in zip(*(stacked[role].unbind(0) for role in stacked), strict=True):
        f = evaluate(h, dict(zip(stacked, layer, strict=True)) | shared)
        checks.shape("branch", tuple(f.shape), tuple(h.shape))  # the sum would broadcast
        h = h + scale * f
        yield h
