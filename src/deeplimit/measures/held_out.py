"""Losses and accuracy over whole data sets: those trained on and those held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.data import Pairs, sample_members
from deeplimit.draws import NamedDraw, Stream
from deeplimit.measures.measure import Last, Measure, Memory, Observation, Schedule, View
from deeplimit.records.identity import LATER

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Score = Callable[["Tensor", "Tensor"], "Tensor"]
"""Outputs and targets to a mean over samples, `[E]`."""


@dataclass(frozen=True)
class FullLoss(Measure):
    """Quantity `loss.full`: the loss over all data that are trained on, which mini-batches see only in parts.

    Args:
        at: the iterations.
        chunk: samples that are evaluated together, which bounds the memory.
        accuracy: also `accuracy.full`, the fraction of them whose largest output is that of their class.
    """

    at: Schedule = field(default_factory=Last)
    chunk: int = 1024
    accuracy: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse a chunk below 1."""
        checks.positive_int("chunk", self.chunk)

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The loss, in the convention of the run."""
        scores = {"loss.full": view.criterion} | ({"accuracy.full": accuracy_of} if self.accuracy else {})
        means = _means(view, view.data, scores=tuple(scores.values()), chunk=self.chunk)
        for name, values in zip(scores, means, strict=True):
            yield Observation(name, values)


@dataclass(frozen=True)
class HeldOut(Measure):
    """Loss and accuracy on data that are not trained on, drawn for each member from the named streams of its seed.

    Quantities: `test.loss`, in the convention of the run, and `test.accuracy`, the fraction of samples whose largest output is that of
    their class, where targets are classes (by number, or the place of the largest entry); with `name` in the place of `test`.

    Args:
        data: the pairs, e.g. the images of a test set.
        at: the iterations.
        chunk: samples that are evaluated together, which bounds the memory.
        fresh: draw with names of its own. Right for synthetic pairs, which are those trained on otherwise; wrong for pairs that share
            something drawn with them, such as a random embedding.
        name: what the data are.
    """

    data: Pairs
    at: Schedule = field(default_factory=Last)
    chunk: int = 1024
    fresh: bool = False
    name: str = field(default="test", metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse a chunk below 1."""
        checks.positive_int("chunk", self.chunk)

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """Both means over the data.

        Raises:
            InputError: the first sample is the first one trained on.
        """
        loss, accuracy = _means(view, self._drawn(view), scores=(view.criterion, accuracy_of), chunk=self.chunk)
        yield Observation(f"{self.name}.loss", loss)
        yield Observation(f"{self.name}.accuracy", accuracy)

    def _drawn(self, view: View) -> tuple[Tensor, Tensor]:
        x, y = _drawn(self.data, view.seeds, self.fresh, view.x.dtype, view.x.device)
        if bool((x[:, 0] == view.data[0][:, 0]).flatten(1).all(1).any()):
            raise checks.InputError(
                "held-out data: expected other samples than those trained on, found the same first one "
                "(synthetic pairs: fresh=True)"
            )
        return x, y


@lru_cache(maxsize=4)
def _drawn(
    data: Pairs, seeds: tuple[int, ...], fresh: bool, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The pairs of all members, `[E, n, …]`; kept, because a measure may be due a thousand times in a run."""
    streams = [NamedDraw().stream(seed) for seed in seeds]
    return sample_members(
        data, [_Fresh(stream) for stream in streams] if fresh else streams, dtype=dtype, device=device
    )


@dataclass(frozen=True)
class _Fresh(Stream):
    """A stream under other names."""

    stream: Stream

    def generator(self, name: str) -> torch.Generator:
        return self.stream.generator(f"held out {name}")


def accuracy_of(output: Tensor, y: Tensor) -> Tensor:
    """The fraction of samples whose largest output is that of their class, `[E]`.

    Args:
        output: `[E, n, d′]`.
        y: classes by number `[E, n]`, or `[E, n, d′]` with the largest entry at the class.
    """
    classes = y.argmax(-1) if y.dim() == output.dim() else y.long()
    return (output.argmax(-1) == classes).to(output.dtype).mean(1)


def _means(view: View, data: tuple[Tensor, Tensor], *, scores: tuple[Score, ...], chunk: int) -> list[Tensor]:
    """Means over all samples of data `[E, n, …]`, chunk by chunk and without gradients."""
    import torch

    sums, samples = [torch.zeros_like(view.loss) for _ in scores], data[0].shape[1]
    with torch.no_grad():
        for start in range(0, samples, chunk):
            x, y = (tensor[:, start : start + chunk] for tensor in data)
            output = view.network(view.params, x, engine=view.engine)
            sums = [total + score(output, y) * x.shape[1] for total, score in zip(sums, scores, strict=True)]
    return [total / samples for total in sums]
