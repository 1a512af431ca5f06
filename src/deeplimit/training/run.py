"""A training run as a task: networks that advance together, measured as they go, resumable at any iteration."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from deeplimit import checks
from deeplimit.data import Pairs
from deeplimit.draws import Draw, NamedDraw
from deeplimit.measures import Comparison, Measure, Memory, Observation, View
from deeplimit.networks import ResidualStack
from deeplimit.records import Context, Cost, Label, Row
from deeplimit.training.losses import LossFunction, SquaredError
from deeplimit.training.members import checksum, draw_members
from deeplimit.training.optimizers import Optimizer
from deeplimit.training.step import Batch, State, Step

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


Entry = tuple[int, int, str, "list[int] | None", list[Any]]
"""Iteration, depth, quantity, index, values by member (None for members that had diverged)."""


@dataclass(frozen=True)
class TrainingRun:
    """Full-batch training of an ensemble of seeds, at one depth or at several depths in lock-step.

    Rows: `depth`, `seed`, `iteration`, `quantity`, `index`, `value` of every observation, `learning_rate` where members differ in it, and
    a row `diverged` (value 1) at the iteration at which a member's loss stopped being finite.

    Args:
        networks: one specification, or the same one at several depths.
        data: the pairs, drawn per seed after the weights.
        optimizer: the update rule.
        iterations: number T of updates; measures see iterations 0 … T.
        measures: what is measured; `Comparison`s see each depth beside the deepest.
        seeds: one member of the ensemble each.
        loss: the loss.
        draw: how a seed becomes random numbers.
        dtype: precision, `float32` or `float64`.
        labels: further columns of the rows; no part of the run's identity.
    """

    revision: ClassVar[int] = 1
    networks: tuple[ResidualStack, ...]
    data: Pairs
    optimizer: Optimizer
    iterations: int
    measures: tuple[Measure | Comparison, ...]
    seeds: tuple[int, ...] = (0,)
    loss: LossFunction = field(default_factory=SquaredError)
    draw: Draw = field(default_factory=NamedDraw)
    dtype: str = "float64"
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuse networks of equal depth, an empty ensemble and an unknown precision."""
        if not self.seeds or not self.networks:
            raise checks.InputError(
                f"run: expected at least one network and one seed, found {len(self.networks)} and {len(self.seeds)}"
            )
        if len({network.depth for network in self.networks}) < len(self.networks):
            raise checks.InputError(f"networks: expected different depths, found {[n.depth for n in self.networks]}")
        if self.iterations < 0:
            raise checks.InputError(f"iterations: expected a number of at least 0, found {self.iterations}")
        checks.one_of("dtype", self.dtype, ("float32", "float64"))

    def run(self, context: Context) -> Iterator[Row]:
        """Train, and yield the rows at the end."""
        from deeplimit.engines import select

        loop = _Loop(self, context)
        loop.resume()
        loop.advance()
        context.weights.update(loop.weights())
        select(context.engine, self.networks[0].branch).release()
        yield from self._rows(loop.entries)

    def cost(self) -> Cost:
        """Layers times iterations times members; memory of states, activations and some copies of the weights."""
        members, size = len(self.seeds), 8 if self.dtype == "float64" else 4
        layers = sum(network.depth for network in self.networks)
        branch = self.networks[0].branch
        weights = sum(_size(shape) for shape in branch.shapes.values())
        samples = getattr(self.data, "samples", 1)
        activations = samples * (2 * _size(branch.state_shape) + 2 * weights // max(1, 2 * _size(branch.state_shape)))
        memory = layers * members * size * (6 * weights + activations)
        return Cost(layers * members * (self.iterations + 1), memory, layers * members * size * weights + 1e5)

    def probe(self, context: Context) -> float:
        """Seconds to expect: a few iterations at depth at most 256, in proportion; what a run costs besides is taken off."""
        shallow = tuple({min(n.depth, 256): n.at_depth(min(n.depth, 256)) for n in self.networks}.values())
        few, more = (dataclasses.replace(self, networks=shallow, iterations=n) for n in (2, 6))
        seconds = [_seconds(sample, context) for sample in (few, few, more)]  # the first warms up
        per_iteration = max(seconds[2] - seconds[1], 0.0) / 4
        layers = sum(n.depth for n in self.networks) / sum(n.depth for n in shallow)
        return seconds[1] + per_iteration * layers * self.iterations

    def _rows(self, entries: list[Entry]) -> Iterator[Row]:
        rates = self.optimizer.learning_rate
        for iteration, depth, quantity, index, values in entries:
            for e, value in enumerate(values):
                if value is None:
                    continue
                row: Row = {"depth": depth, "seed": self.seeds[e], "iteration": iteration, "quantity": quantity}
                if isinstance(rates, tuple):
                    row["learning_rate"] = rates[e]
                if index is None:
                    yield {**row, "value": value}
                else:
                    yield from ({**row, "index": i, "value": v} for i, v in zip(index, value, strict=True))


class _Loop:
    """The networks of a run between two iterations."""

    def __init__(self, run: TrainingRun, context: Context) -> None:
        """Draw weights and data; nothing is computed yet."""
        self.task, self.context = run, context
        self.entries: list[Entry] = []
        self.steps = {n.depth: Step(n, run.optimizer, run.loss, context.engine) for n in run.networks}
        self.batch: dict[int, Batch] = {}
        self.states: dict[int, State] = {}
        for depth, step in self.steps.items():
            params, self.batch[depth] = draw_members(
                step.network, run.data, seeds=run.seeds, draw=run.draw, dtype=run.dtype, device=context.device
            )
            self.states[depth] = step.start(params)
        self.initial = {depth: state.params for depth, state in self.states.items()}
        self.memories: dict[str, Memory] = {f"{d}/{i}": {} for d in self.steps for i in range(len(run.measures))}
        self._note_facts()

    def advance(self) -> None:
        """Measure and update until the last iteration, or until every member has diverged."""
        run, checkpoint = self.task, self.context.checkpoint
        while True:
            t = self._iteration()
            self._iterate(t)
            if t >= run.iterations or not any(bool(s.alive.any()) for s in self.states.values()):
                break
            self.context.progress((t + 1) / (run.iterations + 1))
            if checkpoint is not None and checkpoint.due():
                checkpoint.save(*self._pack())

    def _iterate(self, t: int) -> None:
        views = {}
        for depth, step in self.steps.items():
            state = self.states[depth]
            info = step.evaluate(state.params, self.batch[depth])
            self._record_divergence(depth, t, state.alive & ~info.loss.isfinite())
            views[depth] = View(
                step.network,
                state.params,
                info.grads,
                info.loss,
                t,
                *self.batch[depth],
                self.initial[depth],
                step.engine,
            )
            self.states[depth] = step.update(state, info) if t < self.task.iterations else state
        self._measure(views, t)

    def _measure(self, views: dict[int, View], t: int) -> None:
        for i, measure in enumerate(self.task.measures):
            if isinstance(measure, Measure):
                self._watch(measure, i, views=views)
            elif t in measure.at:
                for view, reference in measure.pairs(views):
                    self._note(view, measure.compare(view, reference), alive=(view.loss + reference.loss).isfinite())

    def _watch(self, measure: Measure, number: int, *, views: dict[int, View]) -> None:
        for depth, view in views.items():
            memory = self.memories[f"{depth}/{number}"]
            if view.iteration in measure.at:
                self._note(view, measure.observe(view, memory), alive=view.loss.isfinite())
            measure.watch(view, memory)

    def _note(self, view: View, observations: Iterator[Observation], *, alive: Tensor) -> None:
        for o in observations:
            values = [v if ok else None for v, ok in zip(o.values.tolist(), alive.tolist(), strict=True)]
            index = None if o.index is None else list(o.index)
            self.entries.append((view.iteration, view.network.depth, o.quantity, index, values))

    def _record_divergence(self, depth: int, t: int, diverged: Tensor) -> None:
        if bool(diverged.any()):
            self.entries.append((t, depth, "diverged", None, [1.0 if d else None for d in diverged.tolist()]))

    def _iteration(self) -> int:
        return next(iter(self.states.values())).iteration

    def resume(self) -> None:
        """Go on from the last checkpoint, where there is one."""
        saved = self.context.checkpoint.load() if self.context.checkpoint is not None else None
        if saved is None:
            return
        arrays, facts = saved
        self.entries = [(t, d, q, i, v) for t, d, q, i, v in facts["entries"]]
        for depth in self.states:
            self.states[depth] = self._unpacked(depth, arrays, facts["iteration"])
        for name, memory in self.memories.items():
            memory.update(self._tensors(arrays, f"memory/{name}/"))

    def _pack(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The whole loop as arrays and facts."""
        arrays: dict[str, Tensor] = {}
        for depth, state in self.states.items():
            arrays |= {f"params/{depth}/{role}": p for role, p in state.params.items()}
            arrays |= {f"slots/{depth}/{name}": p for name, p in state.slots.items()}
            arrays[f"alive/{depth}"] = state.alive
        for name, memory in self.memories.items():
            arrays |= {f"memory/{name}/{key}": tensor for key, tensor in memory.items()}
        return {name: _array(tensor) for name, tensor in arrays.items()}, {
            "entries": self.entries,
            "iteration": self._iteration(),
        }

    def _unpacked(self, depth: int, arrays: Mapping[str, np.ndarray], iteration: int) -> State:
        params, slots = self._tensors(arrays, f"params/{depth}/"), self._tensors(arrays, f"slots/{depth}/")
        return State(params, slots, self._tensors(arrays, "alive/")[str(depth)], iteration)

    def _tensors(self, arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
        import torch

        found = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        return {name: torch.from_numpy(array).to(self.context.device) for name, array in found.items()}

    def weights(self) -> dict[str, np.ndarray]:
        """The final parameters, `[E, …]`, named `depth/role`."""
        return {f"{d}/{role}": _array(p) for d, s in self.states.items() for role, p in s.params.items()}

    def _note_facts(self) -> None:
        from deeplimit.engines import select

        self.context.provenance["data"] = checksum(next(iter(self.batch.values())))
        x = next(iter(self.batch.values()))[0]
        self.context.provenance["engine"] = select(self.context.engine, self.task.networks[0].branch, like=x).title


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().contiguous().numpy()
    return array


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _seconds(run: TrainingRun, context: Context) -> float:
    """How long a run takes, without checkpoint and progress."""
    start = time.perf_counter()
    for _ in run.run(Context(engine=context.engine, device=context.device, threads=context.threads)):
        pass
    return time.perf_counter() - start
