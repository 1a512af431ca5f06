"""Weights whose size depends on the depth of the network they are drawn for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.processes.process import Path, Process

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class DepthScaled(Process):
    """L^(−exponent) times another process at depth L: no limit as a function of depth unless the exponent is 0.

    Reference: Cohen et al. 2021, released code: δ = 1/L, and matrices of standard deviation s/(L d) (`xavier-depth`).

    Args:
        process: the other process.
        exponent: any finite number.

    >>> import torch
    >>> from deeplimit.processes import Constant
    >>> DepthScaled(Constant(1.0)).sample((), torch.Generator())(4).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    process: Process
    exponent: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an exponent that is not finite."""
        checks.fields(self, process=checks.instance(Process, "a process such as IID()"), exponent=checks.finite)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Draw the other process."""
        return _DepthScaledPath(self.process.sample(shape, generator), self.exponent)


class _DepthScaledPath(Path):
    def __init__(self, path: Path, exponent: float) -> None:
        self._path, self._exponent = path, exponent

    def __call__(self, depth: int) -> Tensor:
        return self._path(depth) * math.pow(depth, -self._exponent)

    def at(self, s: Tensor) -> Tensor:
        raise checks.InputError(
            "weights at a position s: expected a process that is a function of s, found one scaled with depth"
        )
