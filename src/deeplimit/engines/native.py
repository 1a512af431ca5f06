"""The `native` engine: the perceptron and both branches with one matrix in C++, by the operator of operator.py.

A few samples travel through a layer in vector registers and cache; its weights are read, and their gradients written, once. Only the states
are kept between the passes, or every S-th of them, and pre-activations are computed again on the way back: at large depth, memory is slower
than arithmetic. Sums over samples follow a binary tree that does not depend on the number of threads, so results are the same to the last
bit on any number of them (docs/algorithms.md, algorithm 6).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deeplimit import checks
from deeplimit.branches import Branch, OneMatrix, OuterMatrix, Perceptron
from deeplimit.engines.engine import Engine, Theta
from deeplimit.engines.extension import MISSING, PRECISIONS, release_blocks
from deeplimit.engines.operator import ACTIVATIONS, described, stack

if not MISSING:
    import deeplimit.engines._native as _native


KNOWN = (Perceptron, OneMatrix, OuterMatrix)


@dataclass(frozen=True)
class NativeEngine(Engine):
    """C++ kernels for the instruction set of the processor, on PyTorch's number of threads, in float32 and float64 on the CPU.

    Args:
        memory: what is kept between the passes: `store` all states, `recompute` from every S-th, or `auto`, which stores (the faster of the
            two by the cost of a forward pass) unless the states would take more than half of the machine's memory.
        interval: S; ⌈√L⌉ unless given.
    """

    name = "native"
    memory: str = "auto"
    interval: int | None = None

    def __post_init__(self) -> None:
        """Refuse another memory mode, and an interval that is not a positive integer or has nothing to act on."""
        checks.one_of("memory", self.memory, ("auto", "store", "recompute"))
        if self.interval is not None:
            checks.positive_int("interval", self.interval)
            if self.memory != "recompute":
                raise checks.InputError(f"interval: expected with memory 'recompute' only, found with {self.memory!r}")

    def variant(self, text: str) -> NativeEngine:
        """`store`, `recompute` or `recompute=S`."""
        mode, equals, interval = text.partition("=")
        if equals and not interval.isdecimal():
            raise checks.InputError(f"engine: expected native:recompute=S with a number S, found {interval!r}")
        return replace(self, memory=mode, interval=int(interval) if interval else None)

    @property
    def missing(self) -> str:
        """Why there is no extension."""
        return MISSING

    @property
    def title(self) -> str:
        """The name with the instruction set in use."""
        return self.name if MISSING else f"{self.name} ({_native.instruction_set()})"

    def supports(self, branch: Branch, like: Tensor | None = None) -> bool:
        """The perceptron and the branches with one matrix, with the activations of the package, in float32 and float64 on the CPU."""
        # A subclass may compute something else.
        if MISSING or type(branch) not in KNOWN or type(branch.activation) not in ACTIVATIONS:  # type: ignore[attr-defined]
            return False
        return like is None or (like.device.type == "cpu" and like.dtype in PRECISIONS and like.numel() > 0)

    def final(self, branch: Branch, h: Tensor, theta: Theta, scale: float) -> Tensor:
        """The last state; differentiable by a backward pass in C++."""
        call = _call(branch, h, theta, scale)
        needed = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in call[:6])
        return stack(*call, self._interval(h, call[1]) if needed else 0)[0]

    def states(self, branch: Branch, h: Tensor, theta: Theta, scale: float) -> Tensor:
        """All states: a view of rows that are padded to whole vectors."""
        with torch.no_grad():
            call = _call(branch, h, theta, scale)
            kept = stack(*call, 1)[1]
        depth = call[1].shape[-3]
        return kept.view(*h.shape[:-2], depth + 1, h.shape[-2], -1)[..., : h.shape[-1]].movedim(-3, 0)

    def release(self) -> None:
        """Free the blocks that no tensor holds."""
        release_blocks()

    def _interval(self, h: Tensor, W: Tensor) -> int:
        depth = W.shape[-3]
        if self.memory == "store" or (self.memory == "auto" and _kept_bytes(h, W) <= MACHINE_MEMORY / 2):
            return 1
        return self.interval or math.isqrt(depth - 1) + 1


# The widest vectors there are, for rows of states are padded to whole ones. A bound in Python, since torch.compile traces it.
_VECTOR_BYTES = 64


def _kept_bytes(h: Tensor, W: Tensor) -> int:
    """At most so many bytes take the states of all layers."""
    row = -(-h.shape[-1] * h.element_size() // _VECTOR_BYTES) * _VECTOR_BYTES
    return (W.shape[-3] + 1) * (h.numel() // h.shape[-1]) * row


MACHINE_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 33
"""Bytes; 8 GiB where the system does not say."""

Call = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, str, list[float]]
"""The arguments of the operator but the last."""


def _call(branch: Branch, h: Tensor, theta: Theta, scale: float) -> Call:
    """A known branch in the operator's form, h + scale · (outer · V σ(inner · W h + b) + c) or h + scale · δ σ(W h + b)."""
    if isinstance(branch, OuterMatrix):
        branch, theta = branch.as_perceptron(theta)
    assert isinstance(branch, Perceptron | OneMatrix)
    name, slope = described(branch.activation)
    if isinstance(branch, Perceptron):
        factors = [slope, branch.inner_factor, branch.outer_factor, scale]
        return h, theta["W"], theta["V"], theta.get("b"), theta.get("c"), None, name, factors
    return h, theta["A"], None, theta.get("b"), None, theta.get("delta"), name, [slope, 1.0, 1.0, scale]
