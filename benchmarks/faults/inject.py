"""Seven faults, each put into one trained network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.faults.architectures import Architecture
from benchmarks.faults.training import State

Blocks = tuple[int, ...]


@dataclass(frozen=True)
class Patient:
    """A network to put a fault into; `other` is one of the same architecture from another seed."""

    architecture: Architecture
    state: State
    other: State

    def names(self, block: int, suffixes: tuple[str, ...]) -> list[str]:
        """Full names in a block."""
        return [self.architecture.block(block) + suffix for suffix in suffixes]

    def taken(self, source: State, moves: dict[int, int]) -> State:
        """The state with block `to` as block `moves[to]` of the source."""
        a, changed = self.architecture, dict(self.state)
        for to, start in moves.items():
            prefix = a.block(start)
            for name in (name for name in source if name.startswith(prefix)):
                changed[a.block(to) + name.removeprefix(prefix)] = source[name].clone()
        return changed

    def scaled(self, factor: float, blocks: Blocks) -> State:
        """The state with the branch outputs of these blocks multiplied."""
        names = {name for block in blocks for name in self.names(block, self.architecture.output)}
        return {name: value * factor if name in names else value for name, value in self.state.items()}


Fault = Callable[[Patient, torch.Generator], tuple[State, Blocks]]


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number between the two."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def some(count: int, depth: int, generator: torch.Generator) -> list[int]:
    """That many different blocks in random order."""
    return torch.randperm(depth, generator=generator)[:count].tolist()


def multiplier(patient: Patient, generator: torch.Generator) -> tuple[State, Blocks]:
    """A block's output times a factor, log-uniform between 2.5 and 10, or divided by it."""
    sign = 1 if torch.rand((), generator=generator) < 0.5 else -1
    factor = math.exp(sign * uniform(math.log(2.5), math.log(10), generator))
    blocks = tuple(some(1, patient.architecture.depth, generator))
    return patient.scaled(factor, blocks), blocks


def rough(patient: Patient, generator: torch.Generator) -> tuple[State, Blocks]:
    """Normal noise of the same norm added to every matrix of a block."""
    (block,) = some(1, patient.architecture.depth, generator)
    state = dict(patient.state)
    for name in patient.names(block, patient.architecture.matrices(state)):
        noise = torch.randn(state[name].shape, generator=generator)
        state[name] = state[name] + noise * (state[name].norm() / noise.norm())
    return state, (block,)


def dead(patient: Patient, generator: torch.Generator) -> tuple[State, Blocks]:
    """A block that adds nothing."""
    blocks = tuple(some(1, patient.architecture.depth, generator))
    return patient.scaled(0.0, blocks), blocks


def tied(patient: Patient, generator: torch.Generator) -> tuple[State, Blocks]:
    """Block k + 1 is a copy of block k."""
    (block,) = some(1, patient.architecture.depth - 1, generator)
    return patient.taken(patient.state, {block + 1: block}), (block, block + 1)


def double(patient: Patient, generator: torch.Generator) -> tuple[State, Blocks]:
    """The multiplier that depends on L is applied twice, in all blocks."""
    a = patient.architecture
    assert a.multiplier is not None
    blocks = tuple(range(a.depth))
    return patient.scaled(a.depth**a.multiplier, blocks), blocks


def permuted(patient: Patient, generator: torch.Generator) -> tuple[State, Blocks]:
    """Two blocks at least L/4 apart exchanged, or four blocks moved around."""
    depth = patient.architecture.depth
    if torch.rand((), generator=generator) < 0.5:
        first, second = some(2, depth, generator)
        while abs(first - second) < depth / 4:
            first, second = some(2, depth, generator)
        return patient.taken(patient.state, {first: second, second: first}), (first, second)
    blocks = some(4, depth, generator)
    return patient.taken(patient.state, dict(zip(blocks, blocks[1:] + blocks[:1], strict=True))), tuple(blocks)


def foreign(patient: Patient, generator: torch.Generator) -> tuple[State, Blocks]:
    """A block is that of another network, trained from another seed."""
    (block,) = some(1, patient.architecture.depth, generator)
    return patient.taken(patient.other, {block: block}), (block,)


FAULTS: dict[str, Fault] = {
    "wrong multiplier": multiplier,
    "rough block": rough,
    "dead block": dead,
    "tied by mistake": tied,
    "double scaling": double,
    "permuted layers": permuted,
    "block of another net": foreign,
}


def inject(kind: str, patient: Patient, *, generator: torch.Generator) -> tuple[State, Blocks]:
    """The weights with a fault, and the numbers of the blocks that have it."""
    state, blocks = FAULTS[kind](patient, generator)
    return {name: value.clone() for name, value in state.items()}, blocks
