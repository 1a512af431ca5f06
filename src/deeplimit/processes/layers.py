"""Independent layers, and layers that are all equal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.processes.distributions import DISTRIBUTION, Distribution, Normal
from deeplimit.processes.process import ContinuousPath, Path, Process

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class IID(Process):
    """Independent layers: no limit as a function of depth. A deeper network continues the draws of a shallower one."""

    distribution: Distribution = field(default_factory=Normal)

    def __post_init__(self) -> None:
        """Refuse what draws nothing."""
        DISTRIBUTION("distribution", self.distribution)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Draw a seed: the path draws its layers from a generator of its own, as many as it is asked for."""
        import torch

        seed = int(torch.randint(2**62, (), generator=generator))
        return _IIDPath(self.distribution, shape, torch.Generator().manual_seed(seed))


class _IIDPath(Path):
    def __init__(self, distribution: Distribution, shape: tuple[int, ...], generator: torch.Generator) -> None:
        self._distribution, self._shape, self._generator = distribution, shape, generator
        self._layers: list[Tensor] = []

    def __call__(self, depth: int) -> Tensor:
        import torch

        checks.positive_int("depth", depth)
        while len(self._layers) < depth:
            self._layers.append(self._distribution.draw(self._shape, self._generator))
        return torch.stack(self._layers[:depth])

    def at(self, s: Tensor) -> Tensor:
        raise checks.InputError(
            "weights at a position s: expected a process that is a function of s, found independent layers"
        )


@dataclass(frozen=True)
class Tied(Process):
    """One draw for all layers (equal at initialisation only: the layers are separate parameters)."""

    distribution: Distribution = field(default_factory=Normal)

    def __post_init__(self) -> None:
        """Refuse what draws nothing."""
        DISTRIBUTION("distribution", self.distribution)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Draw the one layer."""
        return _ConstantPath(self.distribution.draw(shape, generator))


@dataclass(frozen=True)
class Constant(Process):
    """Every weight equal to `value`; with 0 the residual branch starts at zero and the network at the identity."""

    value: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no finite number."""
        checks.finite("value", self.value)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Nothing is drawn."""
        import torch

        return _ConstantPath(torch.full(shape, self.value))


Zero = Constant


class _ConstantPath(ContinuousPath):
    def __init__(self, layer: Tensor) -> None:
        self._layer = layer

    def at(self, s: Tensor) -> Tensor:
        return self._layer.expand(len(s), *self._layer.shape).clone()
