"""A source in memory, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from deeplimit.diagnosis import Source


@dataclass
class Memory(Source):
    """Tensors of a dictionary; `reads` counts how often each was read."""

    tensors: Mapping[str, Tensor]
    title: str = "memory"
    reads: dict[str, int] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    @property
    def classes(self) -> Mapping[str, str]:
        return self.kinds

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings

    def read(self, name: str) -> Tensor:
        self.reads[name] = self.reads.get(name, 0) + 1
        return self.tensors[name]
