"""What a unit of computation is: a frozen description that can be run, and what it is run with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from deeplimit import checks

if TYPE_CHECKING:
    import numpy as np

    from deeplimit.records.checkpoint import Checkpoint

Row = dict[str, object]
Label = str | int | float


@dataclass(frozen=True)
class Cost:
    """What a task is expected to need.

    Args:
        layer_steps: evaluations of one layer, over depth, iterations and members: the unit of progress and of balancing workers.
        memory_bytes: working memory.
        disk_bytes: size of what stays on disk.
    """

    layer_steps: float
    memory_bytes: float = 0.0
    disk_bytes: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be summed up."""
        checks.fields(
            self, layer_steps=checks.not_negative, memory_bytes=checks.not_negative, disk_bytes=checks.not_negative
        )


def _unheard(fraction: float) -> None:
    """Progress that nobody listens to."""


@dataclass
class Context:
    """Where and how a task runs: nothing here changes what is computed, so nothing here is part of a run's id.

    Args:
        engine: name of the engine, or `auto`.
        device: `cpu`, `cuda`, `cuda:1`.
        threads: PyTorch threads.
        checkpoint: where a long task keeps its state; None where nothing is stored.
        progress: called with the fraction done in [0, 1].
        provenance: facts that the task adds to its record (`engine`: the one that ran; `data`: checksum of its data).
        weights: final weights that the task wants kept beside its rows, by name.
    """

    engine: str = "auto"
    device: str = "cpu"
    threads: int = 1
    checkpoint: Checkpoint | None = None
    progress: Callable[[float], None] = _unheard
    provenance: dict[str, object] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)


class Task(Protocol):
    """A frozen dataclass that describes one computation and runs it.

    `revision` is the number of the meaning of its code and part of the run's id; `labels` are the columns added to its rows when they are
    read and not part of the id. A row holds some of `depth`, `seed`, `iteration`, `index` and always `quantity` and `value`.
    """

    revision: ClassVar[int]

    @property
    def labels(self) -> Mapping[str, Label]:
        """Columns to add to the rows when they are read."""

    def run(self, context: Context) -> Iterator[Row]:
        """Compute, yielding rows in an order that is always the same."""

    def cost(self) -> Cost:
        """What the whole task needs."""

    def probe(self, context: Context) -> float:
        """Seconds to expect for the whole task, from a short timed sample of its work."""
