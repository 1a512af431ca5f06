"""Synthetic regression tasks, drawn in float32 so that one seed is one data set in every precision."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.draws import NamedDraw

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deeplimit.draws import Stream


class Pairs(ABC):
    """A set of pairs (x, y)."""

    @abstractmethod
    def sample(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Draw the pairs: x `[n, …]`, y `[n, …]`."""

    def facts(self, stream: Stream) -> dict[str, Any]:
        """What a record keeps of where the pairs come from; nothing where all of it is drawn.

        Args:
            stream: as `sample` gets it. One with a single generator for everything (`SequentialDraw`) is moved on by what is drawn.
        """
        return {}

    def lacking(self) -> str:
        """The name of the image set whose files are needed and are not there; empty where nothing is missing."""
        return ""


PAIRS = checks.instance(Pairs, "pairs such as GaussianPairs(…)")
"""The check of a field that takes some."""


@dataclass(frozen=True)
class GaussianPairs(Pairs):
    """Independent standard normal x and y: no relation between input and target.

    Reference: Marion et al. 2024, section 5.1 (the synthetic runs).

    Args:
        samples: n.
        inputs: shape of one x, or d for a vector.
        outputs: shape of one y, or d′ for a vector.
        skip: shape of normal numbers that are drawn first and not used (the released script of Figure 2 draws a matrix it never uses).
        target_scale: standard deviation of y.
    """

    samples: int
    inputs: int | tuple[int, ...]
    outputs: int | tuple[int, ...]
    skip: tuple[int, ...] = ()
    target_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse sizes and scales that are not positive."""
        for name in ("inputs", "outputs"):
            checks.sizes()(name, _shape(getattr(self, name)))
        checks.fields(self, samples=checks.positive_int, skip=checks.sizes(), target_scale=checks.positive)

    def sample(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Draw x `[n, *inputs]`, then y `[n, *outputs]`."""
        import torch

        if self.skip:
            torch.randn(self.skip, generator=stream.generator("skip"))
        x = torch.randn(self.samples, *_shape(self.inputs), generator=stream.generator("x"))
        y = torch.randn(self.samples, *_shape(self.outputs), generator=stream.generator("y"))
        return x, self.target_scale * y


@dataclass(frozen=True)
class SpherePairs(Pairs):
    """x uniform on the sphere of radius `radius`, y independent normal of standard deviation `target_scale`.

    Reference: Marion et al. 2024, Proposition 5 and Theorem 6 (‖x‖ = √q, small y).

    Args:
        samples: n.
        inputs: d.
        outputs: d′.
        radius: ‖x‖; √q in the paper, with q the size of the state.
        target_scale: standard deviation of each entry of y.
    """

    samples: int
    inputs: int
    outputs: int
    radius: float
    target_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse sizes and scales that are not positive."""
        for name in ("samples", "inputs", "outputs"):
            checks.positive_int(name, getattr(self, name))
        checks.positive("radius", self.radius)
        checks.positive("target_scale", self.target_scale)

    def sample(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Draw x `[n, d]`, then y `[n, d′]`."""
        gaussian = GaussianPairs(self.samples, self.inputs, self.outputs, target_scale=self.target_scale)
        x, y = gaussian.sample(stream)
        return self.radius * x / x.norm(dim=1, keepdim=True), y


@dataclass(frozen=True)
class OscillatingFlow(Pairs):
    """The end of a discretised oscillating flow as a function of its start, both on the unit sphere.

    z_0 uniform on [−1, 1]^d;  z_{t+1} = z_t + K^{−1/2} tanh(sin(5πt/K) z_t + cos(5πt/K)),  t = 0 … K − 1;
    x = z_0 / ‖z_0‖,  y = z_K / ‖z_K‖.  y depends on ‖z_0‖ too, which x does not tell: it is no function of x.

    Reference: Cohen et al. 2021, the synthetic task, as in the released code (a step of K^{−1/2}, not of 1/K).

    Args:
        samples: n.
        state: d.
        steps: K.
    """

    samples: int
    state: int = 10
    steps: int = 100

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive."""
        for name in ("samples", "state", "steps"):
            checks.positive_int(name, getattr(self, name))

    def sample(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Draw x `[n, d]` and follow it to y `[n, d]`."""
        import torch

        start = 2 * torch.rand(self.samples, self.state, generator=stream.generator("x")) - 1
        z = start
        for t in range(self.steps):
            angle = 5 * math.pi * t / self.steps
            z = z + self.steps**-0.5 * torch.tanh(math.sin(angle) * z + math.cos(angle))
        return start / start.norm(dim=1, keepdim=True), z / z.norm(dim=1, keepdim=True)


@dataclass(frozen=True)
class FixedPairs(Pairs):
    """The same pairs for every seed, so that runs differ in their weights alone.

    Args:
        pairs: where they come from.
        seed: of their draw.
    """

    pairs: Pairs
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what gives no pairs, and what is no seed."""
        checks.fields(self, pairs=PAIRS, seed=checks.seed)

    @property
    def samples(self) -> int:
        """Number of pairs."""
        return int(getattr(self.pairs, "samples", 1))

    def sample(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Draw with the own seed; the stream is left alone."""
        return self.pairs.sample(NamedDraw().stream(self.seed))

    def facts(self, stream: Stream) -> dict[str, Any]:
        """Those of the pairs."""
        return self.pairs.facts(NamedDraw().stream(self.seed))

    def lacking(self) -> str:
        """Those of the pairs."""
        return self.pairs.lacking()


def sample_members(
    data: Pairs,
    streams: Sequence[Stream],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """The pairs of an ensemble, x and y `[E, n, …]`, one stream per member, in turn.

    Pairs that all members draw alike (images, say) are kept once: x and y are then views with stride 0 along E.

    Args:
        data: the pairs.
        streams: one per member.
        dtype, device: of the result; the numbers drawn do not depend on them.
    """
    import torch

    pairs: list[tuple[Tensor, Tensor]] = []
    for stream in streams:
        drawn = data.sample(stream)
        # Compared one after the other, because E copies of a large data set may not fit.
        pairs.append(pairs[0] if pairs and _equal(drawn, pairs[0]) else drawn)
    alike = all(pair is pairs[0] for pair in pairs)
    columns = zip(*(pairs[:1] if alike else pairs), strict=True)
    x, y = (torch.stack(column).to(device, dtype) for column in columns)
    return x.expand(len(pairs), *x.shape[1:]), y.expand(len(pairs), *y.shape[1:])


def _equal(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(a.shape == b.shape and bool((a == b).all()) for a, b in zip(one, other, strict=True))


def _shape(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return size if isinstance(size, tuple) else (size,)
