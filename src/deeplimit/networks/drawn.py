"""Networks whose parameters start as independent normal entries."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

from deeplimit.draws import Draw, NamedDraw, Stream
from deeplimit.networks.network import Network, Parameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class DrawnNetwork(Network):
    """A network that is known by the shapes of its parameters, and by the mean and deviation of their entries at the start."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Role -> shape of one member, in the order of drawing."""

    @abstractmethod
    def start(self, role: str) -> tuple[float, float]:
        """Mean and standard deviation of the entries at the start."""

    @property
    def trainable(self) -> tuple[str, ...]:
        """All roles."""
        return tuple(self.shapes)

    @property
    def size(self) -> int:
        """Number of parameters of one member."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def initialise(
        self, seed: int | Stream = 0, *, draw: Draw | None = None, dtype: torch.dtype | None = None
    ) -> Parameters:
        """Independent normal entries; roles of deviation 0 take no random number."""
        import torch

        stream = seed if isinstance(seed, Stream) else (draw or NamedDraw()).stream(seed)

        def drawn(role: str, shape: tuple[int, ...]) -> Tensor:
            mean, std = self.start(role)
            if std == 0:
                return torch.full(shape, mean)
            return mean + std * torch.randn(shape, generator=stream.generator(role))

        return {role: drawn(role, shape).to(dtype or torch.float32) for role, shape in self.shapes.items()}
