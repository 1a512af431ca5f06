"""What training asks of a network, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deeplimit.draws import Draw, Stream

Parameters = dict[str, "Tensor"]
"""All parameters of a network by role; those of an ensemble have a leading axis E."""


class Network(ABC):
    """A network as a specification: a frozen dataclass that holds everything about it but the numbers.

    `initialise` draws parameters, `__call__` evaluates the network at parameters. With a leading ensemble axis `[E, …]` in every parameter
    E networks run at once, with the same results as E separate ones.
    """

    depth: int

    @property
    @abstractmethod
    def trainable(self) -> tuple[str, ...]:
        """The roles that training moves."""

    @property
    def layer_roles(self) -> tuple[str, ...]:
        """The roles that are stacked over depth, `[L, …]`; none unless the network is a stack."""
        return ()

    @abstractmethod
    def initialise(
        self, seed: int | Stream = 0, *, draw: Draw | None = None, dtype: torch.dtype | None = None
    ) -> Parameters:
        """Draw the parameters of one network on the CPU.

        Args:
            seed: the seed, or a stream that further draws of the same run will continue.
            draw: how the seed becomes a stream; `NamedDraw` unless given.
            dtype: precision of the result (float32 unless given); the numbers drawn do not depend on it.
        """

    @abstractmethod
    def __call__(self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto") -> Tensor:
        """The output F(x) `[n, d′]`, or `[E, n, d′]` for an ensemble; differentiable.

        Args:
            params: parameters by role, all with a leading axis E for an ensemble.
            x: inputs `[n, …]` (shared by the ensemble) or `[E, n, …]`.
            engine: how stacks are evaluated, `auto` or a name; networks without a stack have one way alone.
        """

    def in_training(
        self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto"
    ) -> tuple[Tensor, Parameters]:
        """The output as training sees it, and roles that are not trained but change with every batch, as they are after this one.

        Such are the running averages of a batch normalisation, which `__call__` uses in the place of the statistics of the batch. Without
        any, training and evaluation see the same.
        """
        return self(params, x, engine=engine), {}

    @abstractmethod
    def floats(self, samples: int) -> tuple[int, int]:
        """Numbers of one member, to estimate memory: its parameters, and the activations that a gradient keeps of so many samples."""

    def probed(self) -> tuple[Network, float]:
        """A network that is timed in the place of this one, and how many times as much this one costs."""
        return self, 1.0

    @property
    def launch_bound(self) -> bool:
        """Whether on a GPU an evaluation takes longer to launch, kernel by kernel, than to compute: training then records it once."""
        return False

    def engine_title(self, engine: str, *, like: Tensor) -> str:
        """What evaluates the network, for the record; `like` is a tensor on the device in use."""
        return "torch"

    def release(self, engine: str) -> None:
        """Give back memory that evaluation keeps for the next call; nothing unless an engine does."""
