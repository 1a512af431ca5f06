"""Seeded streams of random numbers: every draw comes from one of these, never from PyTorch's global generator."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Stream(ABC):
    """Where the random numbers of one run come from."""

    @abstractmethod
    def generator(self, name: str) -> torch.Generator:
        """The generator for the quantity `name` (a role of the network, `x`, `y`)."""


class Draw(ABC):
    """How the seed of a run becomes a stream."""

    @abstractmethod
    def stream(self, seed: int) -> Stream:
        """A fresh stream of `seed`."""


@dataclass(frozen=True)
class NamedDraw(Draw):
    """A generator of its own for each name: what one quantity draws never moves another.

    >>> import torch
    >>> stream = NamedDraw().stream(3)
    >>> bool((torch.randn(2, generator=stream.generator("W")) == torch.randn(2, generator=stream.generator("W"))).all())
    True
    """

    def stream(self, seed: int) -> Stream:
        """A stream whose generators are seeded by SHA-256 of the seed and the name."""
        return _NamedStream(seed)


@dataclass(frozen=True)
class SequentialDraw(Draw):
    """One generator for everything, in the order of asking: weights first, then inputs, then targets.

    The draw order of the released scripts of Marion et al. 2024, whose numbers after `torch.manual_seed(seed)` it repeats exactly.
    """

    def stream(self, seed: int) -> Stream:
        """A stream with one generator seeded by `seed`."""
        return _SequentialStream(seed)


class _NamedStream(Stream):
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def generator(self, name: str) -> torch.Generator:
        import torch

        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


class _SequentialStream(Stream):
    def __init__(self, seed: int) -> None:
        import torch

        self._generator = torch.Generator().manual_seed(seed)

    def generator(self, name: str) -> torch.Generator:
        return self._generator
