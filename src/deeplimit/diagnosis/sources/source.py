"""Where a trained network is read from: names, shapes, and one tensor at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


class Source(ABC):
    """The tensors of one trained network, read one at a time.

    A source holds names and shapes; numbers stay where they are (a file mapped into memory, a module) until `read` is asked for one tensor.
    """

    title: str
    """What the user named: a path, a model's name, a function."""

    notes: tuple[str, ...] = ()
    """What a reader should know of how it was read, such as what was left out."""

    @property
    @abstractmethod
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name -> shape of every tensor of floating-point numbers, in the order of the file or module."""

    @abstractmethod
    def read(self, name: str) -> Tensor:
        """One tensor, in its own dtype, on the CPU.

        Raises:
            InputError: its numbers cannot be read.
        """

    def read_at(self, name: str, *index: int) -> Tensor:
        """One entry of a tensor along its first axes; a file need not read the others."""
        return self.read(name)[index]

    @property
    def classes(self) -> Mapping[str, str]:
        """Path of a submodule -> name of its class; empty where there is no module."""
        return {}

    @property
    def config(self) -> Mapping[str, Any]:
        """What stands beside the weights, such as the number of heads in a model folder's config.json; empty where nothing does."""
        return {}

    @property
    def module(self) -> nn.Module | None:
        """The network itself, where there is one."""
        return None
