"""Weights of blocks with and without an order, for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplimit.diagnosis import Group
from deeplimit.diagnosis.structure import find_groups
from tests.diagnosis.sources import Memory

DEPTH, WIDTH, HIDDEN = 12, 16, 32
State = dict[str, Tensor]


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def perceptrons(kind: str, *, depth: int = DEPTH, seed: int = 0, width: int = WIDTH) -> State:
    """`blocks.K.up.weight [m, d]`, `blocks.K.down.weight [d, m]`, of one kind.

    `smooth` and `tied` in depth; `trend`, a smooth part under as much noise; `independent`.
    """
    state = {}
    for number, (name, shape) in enumerate({"up": (HIDDEN, width), "down": (width, HIDDEN)}.items()):
        start, end, *own = noise(depth + 2, *shape, seed=10 * seed + number)
        for block in range(depth):
            s = torch.tensor(block / (depth - 1) * torch.pi / 2, dtype=torch.float64)
            path = s.cos() * start + s.sin() * end
            value = {"smooth": path, "tied": start, "trend": path + own[block], "independent": own[block]}[kind]
            state[f"blocks.{block}.{name}.weight"] = value / width**0.5
    return state


def found(state: State) -> tuple[Memory, Group]:
    """The source and its one group."""
    source = Memory(state)
    (group,) = find_groups(source)
    return source, group


def permuted(state: State, *, seed: int = 0) -> State:
    """Hidden units of each block in another order."""
    generator, changed = torch.Generator().manual_seed(seed), dict(state)
    for name, up in state.items():
        if name.endswith("up.weight"):
            order = torch.randperm(len(up), generator=generator)
            down = name.replace("up", "down")
            changed[name], changed[down] = up[order], state[down][:, order]
    return changed
