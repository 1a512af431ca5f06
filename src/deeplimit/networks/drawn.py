"""Networks whose parameters start as independent entries, normal or uniform."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from deeplimit.draws import Draw, NamedDraw, Stream
from deeplimit.networks.network import Network, Parameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Law = Literal["normal", "uniform"]


class DrawnNetwork(Network):
    """A network that is known by the shapes of its parameters, and by mean, deviation and law of their entries at the start."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Role -> shape of one member, in the order of drawing."""

    @abstractmethod
    def start(self, role: str) -> tuple[float, float]:
        """Mean and standard deviation of the entries at the start."""

    def law(self, role: str) -> Law:
        """The law of the entries at the start: `normal`, or `uniform` on mean ± √3 · deviation."""
        return "normal"

    @property
    def trainable(self) -> tuple[str, ...]:
        """All roles."""
        return tuple(self.shapes)

    @property
    def size(self) -> int:
        """Number of parameters of one member that training moves."""
        return sum(math.prod(self.shapes[role]) for role in self.trainable)

    def initialise(
        self, seed: int | Stream = 0, *, draw: Draw | None = None, dtype: torch.dtype | None = None
    ) -> Parameters:
        """Independent entries; roles of deviation 0 take no random number."""
        import torch

        stream = seed if isinstance(seed, Stream) else (draw or NamedDraw()).stream(seed)

        def drawn(role: str, shape: tuple[int, ...]) -> Tensor:
            mean, std = self.start(role)
            if std == 0:
                return torch.full(shape, mean)
            generator = stream.generator(role)
            if self.law(role) == "uniform":
                return mean + math.sqrt(3) * std * (2 * torch.rand(shape, generator=generator) - 1)
            return mean + std * torch.randn(shape, generator=generator)

        return {role: drawn(role, shape).to(dtype or torch.float32) for role, shape in self.shapes.items()}
