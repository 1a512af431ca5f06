"""Copies of a network that are as good as it: whoever sees a fault in one raises a false alarm."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.faults.architectures import Architecture
from benchmarks.faults.training import State

Copy = Callable[[Architecture, State, torch.Generator], State]


def units(architecture: Architecture, state: State, generator: torch.Generator) -> State:
    """Hidden units, channels and heads of every block in another order."""
    changed = dict(state)
    for block in range(architecture.depth):
        for kind in architecture.units:
            order = torch.randperm(kind.count, generator=generator)
            rows = (order[:, None] * kind.size + torch.arange(kind.size)).flatten()
            for suffix, axis, offset in kind.places:
                name = architecture.block(block) + suffix
                changed[name] = reordered(changed[name], rows + offset, axis=axis)
    return changed


def reordered(value: Tensor, rows: Tensor, *, axis: int) -> Tensor:
    """The slices that `rows` names, in that order; the others stay where they are."""
    order = torch.arange(value.shape[axis])
    order[rows.sort().values] = rows
    return value.index_select(axis, order)


def rounded(dtype: torch.dtype) -> Copy:
    """Weights as a file of fewer bits holds them; without a generator's help."""

    def copy(architecture: Architecture, state: State, generator: torch.Generator) -> State:
        return {k: v.to(dtype).to(v.dtype) if v.is_floating_point() else v for k, v in state.items()}

    return copy


def rescaled(architecture: Architecture, state: State, generator: torch.Generator) -> State:
    """Everything that a following norm divides by its size, times one factor between 1/2 and 2."""
    factor = 4 ** (torch.rand((), generator=generator).item() - 0.5)
    if any(name.endswith("running_mean") for name in state):
        return convolutions_rescaled(architecture, state, factor)
    names = {*architecture.before}
    names |= {architecture.block(k) + suffix for k in range(architecture.depth) for suffix in architecture.output}
    return {name: value * factor if name in names else value for name, value in state.items()}


def convolutions_rescaled(architecture: Architecture, state: State, factor: float) -> State:
    """Batch norms in evaluation divide by a size that they remember, which changes with the weights."""
    powers = {"weight": 1, "running_mean": 1, "running_var": 2}
    changed = dict(state)
    for block in range(architecture.depth):
        for part in (
            "conv1.weight",
            "conv2.weight",
            *(f"bn{n}.{x}" for n in (1, 2) for x in ("running_mean", "running_var")),
        ):
            name = architecture.block(block) + part
            changed[name] = state[name] * factor ** powers[part.split(".")[1]]
    return changed


COPIES: dict[str, Copy] = {
    "units in another order": units,
    "bfloat16": rounded(torch.bfloat16),
    "float16": rounded(torch.float16),
    "rescaled": rescaled,
}


def harmless(kind: str, architecture: Architecture, state: State, *, generator: torch.Generator) -> State:
    """A copy of that kind."""
    return {name: value.clone() for name, value in COPIES[kind](architecture, state, generator).items()}
