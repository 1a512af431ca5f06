"""How training goes: the loss, the worst sample, the way travelled, single weights, the spread over seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.measures.held_out import accuracy_of
from deeplimit.measures.measure import Every, Measure, Memory, Observation, Schedule, View, per_layer_norm
from deeplimit.networks import effective
from deeplimit.records.identity import LATER

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Loss(Measure):
    """Quantities: `loss`, and `residual`, max over samples of ‖F(x_i) − y_i‖ where `residuals` is set."""

    at: Schedule = field(default_factory=lambda: Every(1))
    residuals: bool = False

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The loss, in the convention of the run."""
        yield Observation("loss", view.loss)
        if self.residuals:
            yield Observation("residual", (view.output - view.y).flatten(2).norm(dim=2).amax(1))


@dataclass(frozen=True)
class BatchMeans(Measure):
    """Loss and accuracy as training sees them: `batch.loss`, `batch.accuracy`, means over the samples of all batches since the last time.

    With an augmentation these are of the images that it makes, with a batch normalisation of its statistics in training, and each batch is
    seen by the weights before its update. The training accuracy of many papers is this one, at the end of an epoch.
    """

    at: Schedule = field(default_factory=lambda: Every(100))

    def watch(self, view: View, memory: Memory) -> None:
        """Add the batch to the sums."""
        samples = view.loss.new_full((), view.x.shape[1])
        correct = samples * accuracy_of(view.batch_output, view.y)
        for name, more in (("samples", samples), ("loss", samples * view.loss), ("correct", correct)):
            memory[name] = memory.get(name, 0.0) + more

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The means, and new sums; nothing before the first update."""
        if memory:
            yield Observation("batch.loss", memory["loss"] / memory["samples"])
            yield Observation("batch.accuracy", memory["correct"] / memory["samples"])
            memory.clear()


@dataclass(frozen=True)
class Drift(Measure):
    """How far the parameters are from where they started, and how large they are.

    Quantities: `drift.ROLE`, ‖θ(t) − θ(0)‖_F, and `norm.ROLE`, ‖θ(t)‖_F; the largest over k for layered roles.
    """

    at: Schedule = field(default_factory=lambda: Every(50))

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """Both norms for each trainable role."""
        for role in view.network.trainable:
            layered = role in view.network.layer_roles
            yield Observation(f"drift.{role}", _largest(view.params[role] - view.initial[role], layered=layered))
            yield Observation(f"norm.{role}", _largest(view.params[role], layered=layered))


def _largest(tensor: Tensor, *, layered: bool) -> Tensor:
    if layered:
        return per_layer_norm(tensor).amax(1)
    norms: Tensor = tensor.reshape(len(tensor), -1).norm(dim=1)
    return norms


@dataclass(frozen=True)
class Entry(Measure):
    """One entry of one role in every layer: `entry.ROLE` with the layer, counted from 1, as index.

    Args:
        role: the role.
        position: indices of the entry in one layer's weights.
        at: the iterations.
        identified: take the weights that the function identifies (`networks.effective`), |δ_k| A_k of a ReLU net for instance.
    """

    role: str
    position: tuple[int, ...]
    at: Schedule = field(default_factory=lambda: Every(100))
    identified: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse indices below 0."""
        checks.each(checks.count)("position", self.position)

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The entry in all layers.

        Raises:
            InputError: the role is not one of the network's, or has no such entry.
        """
        known = effective(view.stack, view.params) if self.identified else view.weights
        weights = known[checks.one_of("role", self.role, known)]
        shape = tuple(weights.shape[2:])
        if len(shape) != len(self.position) or any(not 0 <= i < n for i, n in zip(self.position, shape, strict=True)):
            raise checks.InputError(f"position: expected an entry of a weight of shape {shape}, found {self.position}")
        yield Observation(
            f"entry.{self.role}",
            weights.reshape(*weights.shape[:2], -1)[..., _flat(self.position, shape)],
            range(1, weights.shape[1] + 1),
        )


def _flat(position: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """The index of an entry in the flattened weight."""
    index = 0
    for i, n in zip(position, shape, strict=True):
        index = index * n + i
    return index


@dataclass(frozen=True)
class SeedSpread(Measure):
    """How much outputs and states differ between the members of an ensemble.

    Quantities: `spread.outputs` and `spread.states`: max over samples (and layers) of the distance to the mean over members
    (over those that have not diverged).
    """

    at: Schedule = field(default_factory=lambda: Every(50))

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """Distances to the mean over members."""
        output, states, alive = view.output, view.states, view.loss.isfinite()
        yield Observation("spread.outputs", (output - output[alive].mean(0)).flatten(2).norm(dim=2).amax(1))
        yield Observation(
            "spread.states", (states - states[:, alive].mean(1, keepdim=True)).flatten(3).norm(dim=3).amax((0, 2))
        )
