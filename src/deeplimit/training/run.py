"""A training run as a task: networks that advance together, measured as they go, resumable at any iteration."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from deeplimit import checks
from deeplimit.data import Augmentation, Pairs
from deeplimit.data.pairs import PAIRS
from deeplimit.draws import Draw, NamedDraw
from deeplimit.measures import Comparison, Measure, Memory, Observation, Schedule, View, accuracy_of
from deeplimit.measures.measure import SCHEDULE
from deeplimit.networks import Network
from deeplimit.records import Context, Cost, Label, Row
from deeplimit.records.identity import LATER
from deeplimit.training.batches import Batches, Feed
from deeplimit.training.decay import Decay
from deeplimit.training.graphs import Recorder, evaluation
from deeplimit.training.l2.members import MemberRules
from deeplimit.training.l2.rules import Rule
from deeplimit.training.losses import LossFunction, SquaredError
from deeplimit.training.members import checksum, draw_members
from deeplimit.training.optimizers import Optimizer
from deeplimit.training.step import Batch, Info, State, Step
from deeplimit.training.stopping import EpochStop

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


Entry = tuple[int, int, str, "list[int] | None", list[Any]]
"""Iteration, depth, quantity, index, values by member (None for members that had diverged)."""


SAMPLED = 16
"""Members of a probe: more take longer in proportion."""

PARTS: dict[str, checks.Check] = {
    "networks": checks.each(checks.instance(Network, "a network such as ResidualStack(…)")),
    "data": PAIRS,
    "optimizer": checks.instance(Optimizer, "an optimiser such as SGD(0.1)"),
    "iterations": checks.count,
    "measures": checks.each(checks.instance(Measure | Comparison, "a measure such as Loss()")),
    "seeds": checks.each(checks.seed),
    "loss": checks.function,
    "draw": checks.instance(Draw, "a draw such as NamedDraw()"),
    "batches": checks.optional(checks.instance(Batches, "mini-batches such as Batches(32)")),
    "stop": checks.optional(checks.instance(EpochStop, "a rule such as EpochStop(1e-3)")),
    "decay": checks.optional(checks.instance(Decay, "a decay such as CosineDecay(10)")),
    "rule": checks.optional(checks.instance(Rule, "a rule such as RobustRule()")),
    "augmentation": checks.optional(checks.instance(Augmentation, "an augmentation such as Flip()")),
}
"""The checks of a training run's parts."""


@dataclass(frozen=True)
class TrainingRun:
    """Training of an ensemble of seeds, at one depth or at several depths in lock-step, on all data at once or in mini-batches.

    Rows: `depth`, `seed`, `iteration`, `quantity`, `index`, `value` of every observation, `learning_rate` and `weight_decay` (those of the
    first epoch) where members differ in them, and a row `diverged` (value 1) at the iteration at which a member's loss stopped being
    finite (with mini-batches the loss after the last update is looked at only where something is measured then).

    With `rule`, `weight_decay` of each member at iteration 0 and wherever it changes, as it is for the update of that iteration.

    With `stop`, `loss.epoch` at the end of each epoch, and `stopped` where a member stops: 1 below the threshold, 2 out of patience. A
    stopped member keeps its parameters, and leaves no more rows but those of measures of the end (`Last`), at the iteration at which it
    stopped. The run ends when all members have stopped or diverged.

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
        batches: mini-batches; None for all data in each update. An epoch is a pass over the data.
        stop: when a member stops before the last iteration.
        decay: how the learning rate changes from epoch to epoch.
        rule: how the L2 coefficient of each member changes from update to update (AutoL2); the optimiser's is the first one. It sees the
            loss, and where there are several outputs the accuracy as in `HeldOut`.
        augmentation: what is done to every mini-batch before it is trained on.
        keep_weights: whether the final weights are kept beside the rows.
        labels: further columns of the rows; no part of the run's identity.
    """

    revision: ClassVar[int] = 1
    networks: tuple[Network, ...]
    data: Pairs
    optimizer: Optimizer
    iterations: int
    measures: tuple[Measure | Comparison, ...]
    seeds: tuple[int, ...] = (0,)
    loss: LossFunction = field(default_factory=SquaredError)
    draw: Draw = field(default_factory=NamedDraw)
    dtype: str = "float64"
    batches: Batches | None = field(default=None, metadata=LATER)
    stop: EpochStop | None = field(default=None, metadata=LATER)
    decay: Decay | None = field(default=None, metadata=LATER)
    keep_weights: bool = field(default=True, metadata=LATER)
    rule: Rule | None = field(default=None, metadata=LATER)
    augmentation: Augmentation | None = field(default=None, metadata=LATER)
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuse networks of equal depth, an empty ensemble and an unknown precision."""
        checks.fields(self, **PARTS)
        for measure in self.measures:
            SCHEDULE(f"at of {type(measure).__name__}", measure.at)
        if not self.seeds or not self.networks:
            raise checks.InputError(
                f"run: expected at least one network and one seed, found {len(self.networks)} and {len(self.seeds)}"
            )
        if len({network.depth for network in self.networks}) < len(self.networks):
            raise checks.InputError(f"networks: expected different depths, found {[n.depth for n in self.networks]}")
        checks.one_of("dtype", self.dtype, ("float32", "float64"))

    def run(self, context: Context) -> Iterator[Row]:
        """Train, and yield the rows at the end."""
        loop = _Loop(self, context)
        loop.resume()
        loop.advance()
        if self.keep_weights:
            context.weights.update(loop.weights())
        loop.release()
        yield from self._rows(loop.entries)

    @property
    def lacking(self) -> str:
        """The image set whose files the run needs and that are not there; empty where nothing is missing."""
        return self.data.lacking()

    def cost(self) -> Cost:
        """Layers times iterations times members; memory of states, activations and some copies of the weights."""
        members, size = len(self.seeds), 8 if self.dtype == "float64" else 4
        samples = getattr(self.data, "samples", 1)
        samples = min(samples, self.batches.size) if self.batches else samples
        floats = [network.floats(samples) for network in self.networks]
        memory = members * size * sum(6 * weights + activations for weights, activations in floats)
        disk = 1e5 + (members * size * sum(weights for weights, _ in floats) if self.keep_weights else 0)
        layers = sum(network.depth for network in self.networks)
        return Cost(layers * members * (self.iterations + 1), memory, disk)

    def probe(self, context: Context) -> float:
        """Seconds to expect: a few iterations, of a small network for a large one, in proportion; what a run costs besides is taken off.

        Of many members a few are sampled, in proportion too: a sample takes little memory, however many are asked for.
        """
        if len(self.seeds) > SAMPLED:
            return self._few_members().probe(context) * len(self.seeds) / SAMPLED
        stands = [network.probed() for network in self.networks]
        shallow = tuple({network.depth: network for network, _ in stands}.values())
        few, more = (dataclasses.replace(self, networks=shallow, iterations=n) for n in (2, 6))
        seconds = [_seconds(sample, context) for sample in (few, few, more)]  # the first warms up
        per_iteration = max(seconds[2] - seconds[1], 0.0) / 4
        times = sum(times * network.depth for network, times in stands) / sum(network.depth for network in shallow)
        return seconds[1] + per_iteration * times * self.iterations

    def _few_members(self) -> TrainingRun:
        """The run with its first members alone, each with its own numbers."""
        own = {name: getattr(self.optimizer, name, None) for name in ("learning_rate", "weight_decay")}
        few = {name: values[:SAMPLED] for name, values in own.items() if isinstance(values, tuple)}
        # Every optimiser is a dataclass, which the interface cannot say.
        optimizer: Optimizer = dataclasses.replace(self.optimizer, **few)  # type: ignore[type-var]
        return dataclasses.replace(self, seeds=self.seeds[:SAMPLED], optimizer=optimizer)

    def _rows(self, entries: list[Entry]) -> Iterator[Row]:
        own = {name: getattr(self.optimizer, name, None) for name in ("learning_rate", "weight_decay")}
        apart = {name: values for name, values in own.items() if isinstance(values, tuple)}
        for iteration, depth, quantity, index, values in entries:
            for e, value in enumerate(values):
                if value is None:
                    continue
                row: Row = {"depth": depth, "seed": self.seeds[e], "iteration": iteration, "quantity": quantity}
                row |= {name: numbers[e] for name, numbers in apart.items()}
                if index is None:
                    yield {**row, "value": value}
                else:
                    yield from ({**row, "index": i, "value": v} for i, v in zip(index, value, strict=True))


class _Loop:
    """The networks of a run between two iterations."""

    def __init__(self, run: TrainingRun, context: Context) -> None:
        """Draw weights and data; nothing is computed yet."""
        self.task, self.context = run, context
        self.iteration, self.epoch, self.optimizer = 0, -1, run.optimizer
        self.entries: list[Entry] = []
        self.steps = {n.depth: Step(n, run.optimizer, run.loss, context.engine) for n in run.networks}
        # Of the network and the loss alone: it lasts when the optimiser changes.
        self.evaluations = {depth: evaluation(step, context.device) for depth, step in self.steps.items()}
        self.feeds: dict[int, Feed] = {}
        self.batch: dict[int, Batch] = {}
        self.states: dict[int, State] = {}
        for depth, step in self.steps.items():
            params, data = draw_members(
                step.network, run.data, seeds=run.seeds, draw=run.draw, dtype=run.dtype, device=context.device
            )
            self.feeds[depth] = self.feed = Feed(data, run.seeds, batches=run.batches, augmentation=run.augmentation)
            self.states[depth] = step.start(params)
        self.initial = {depth: state.params for depth, state in self.states.items()}
        self.memories: dict[str, Memory] = {f"{d}/{i}": {} for d in self.steps for i in range(len(run.measures))}
        stop = run.stop
        members = len(run.seeds)
        self.rules = {d: MemberRules(run.rule, run.optimizer, members=members) for d in self.steps} if run.rule else {}
        self.stops: dict[int, Memory] = {d: stop.start(s.alive) for d, s in self.states.items()} if stop else {}
        self._note_facts()

    def advance(self) -> None:
        """Measure and update until the last iteration, or until no member moves any more; then measure the end."""
        run, checkpoint = self.task, self.context.checkpoint
        while self.iteration < run.iterations:
            self._iterate()
            if not any(bool(s.alive.any()) for s in self.states.values()):
                break
            self.context.progress(self.iteration / (run.iterations + 1))
            if checkpoint is not None and checkpoint.due():
                checkpoint.save(*self._pack())
        due = self._due(final=True)
        # Without mini-batches the last loss is looked at in any case: it may not be finite.
        if due or run.batches is None:
            self._measure(due, self._evaluated(everywhere=True), final=True)

    def _iterate(self) -> None:
        run, epoch = self.task, self.iteration // self.feed.per_epoch
        if run.decay is not None and epoch != self.epoch:
            self.epoch, self.optimizer = epoch, run.decay(run.optimizer, epoch)
            for depth in self.steps:
                self._set_optimizer(depth)
        due = self._due(final=False)
        infos = self._evaluated(everywhere=bool(due))
        if run.rule is not None and run.rule.due(self.iteration):
            self._regulate(infos)
        self._measure(due, infos, final=False)
        for depth, info in infos.items():
            self.states[depth] = self.steps[depth].update(self.states[depth], info)
        self.iteration += 1
        if run.stop is not None:
            self._stop(run.stop, infos)

    def _set_optimizer(self, depth: int) -> None:
        """The optimiser of this epoch, with the λ that the rule has come to."""
        own = self.rules[depth].applied(self.optimizer) if self.rules else self.optimizer
        self.steps[depth] = dataclasses.replace(self.steps[depth], optimizer=own)

    def _regulate(self, infos: dict[int, Info]) -> None:
        """Let each member's rule see the batch of the coming update."""
        import torch

        for depth, info in infos.items():
            rules = self.rules[depth]
            # Of one output the largest always is the first: that is no accuracy.
            accuracy = accuracy_of(info.output, self.batch[depth][1]) if info.output.shape[-1] > 1 else None
            changed = rules.measure(self.optimizer, step=self.iteration, loss=info.loss, accuracy=accuracy)
            self._set_optimizer(depth)
            decays = Observation("weight_decay", torch.tensor(rules.weight_decay, dtype=torch.float64))
            news = info.loss.isfinite() if self.iteration == 0 else torch.tensor(changed, device=info.loss.device)
            self._enter(self.iteration, depth, decays, seen=self.states[depth].alive & news)

    def _evaluated(self, *, everywhere: bool) -> dict[int, Info]:
        """Losses and gradients of each depth; of one where nothing moves any more only if asked for."""
        infos = {}
        for depth, state in self.states.items():
            if everywhere or len(self.steps) == 1 or bool(state.alive.any()):
                self.batch[depth] = self.feeds[depth](self.iteration)
                infos[depth] = info = self.evaluations[depth](state.params, self.batch[depth])
                if not math.isfinite(float(info.loss.sum())):
                    diverged = state.alive & ~info.loss.isfinite()
                    self._enter(self.iteration, depth, Observation("diverged", diverged.double()), seen=diverged)
        return infos

    def _stop(self, stop: EpochStop, infos: dict[int, Info]) -> None:
        """Take note of the losses before the last update; at the end of an epoch, stop members."""
        t, ends = self.iteration, self.iteration % self.feed.per_epoch == 0
        for depth, info in infos.items():
            memory, state = self.stops[depth], self.states[depth]
            stop.add(memory, info.loss, samples=self.batch[depth][0].shape[1])
            if ends:
                mean, verdict = stop.judge(memory, samples=self.feed.samples)
                stopped = state.alive & (verdict > 0)
                memory["stopped"] = memory["stopped"].masked_fill(stopped, t)
                self._enter(t, depth, Observation("loss.epoch", mean), seen=state.alive)
                self._enter(t, depth, Observation("stopped", verdict.double()), seen=stopped)
                self.states[depth] = dataclasses.replace(state, alive=state.alive & ~stopped)

    def _due(self, *, final: bool) -> list[tuple[int, Measure | Comparison]]:
        """The measures, with their numbers, that look at this iteration: to observe, or to take note of it."""
        return [
            (i, measure)
            for i, measure in enumerate(self.task.measures)
            if measure.at.due(self.iteration, final=final) or (_watches(measure) and not final)
        ]

    def _measure(self, due: list[tuple[int, Measure | Comparison]], infos: dict[int, Info], *, final: bool) -> None:
        views = {depth: self._view(depth, info, final=final) for depth, info in infos.items()} if due else {}
        for i, measure in due:
            if isinstance(measure, Measure):
                self._watch(measure, i, views=views)
                continue
            for view, reference in measure.pairs(views):
                finite = (view.loss + reference.loss).isfinite()
                self._note(view, measure.compare(view, reference), at=measure.at, finite=finite)

    def _view(self, depth: int, info: Info, *, final: bool) -> View:
        step, state, feed, loss = self.steps[depth], self.states[depth], self.feeds[depth], info.loss
        if self.task.batches is not None:
            # What has diverged stays so for all measures, though its loss on this batch may be finite.
            frozen = ~state.alive & (self.stops[depth]["stopped"] < 0) if self.stops else ~state.alive
            loss = loss.masked_fill(frozen, math.nan)
        return View(
            step.network,
            state.params,
            info.grads,
            loss,
            self.iteration,
            *self.batch[depth],
            self.initial[depth],
            step.engine,
            batch_output=info.output,
            data=feed.data,
            criterion=step.loss,
            seeds=self.task.seeds,
            final=final,
        )

    def _watch(self, measure: Measure, number: int, *, views: dict[int, View]) -> None:
        for depth, view in views.items():
            memory = self.memories[f"{depth}/{number}"]
            if measure.at.due(view.iteration, final=view.final):
                self._note(view, measure.observe(view, memory), at=measure.at, finite=view.loss.isfinite())
            measure.watch(view, memory)

    def _note(self, view: View, observations: Iterator[Observation], *, at: Schedule, finite: Tensor) -> None:
        """Keep observations of the members whose loss is finite; stopped ones are seen where they stopped, and at the end."""
        seen = {view.iteration: finite}
        if self.stops:
            stopped = self.stops[view.network.depth]["stopped"]
            own = stopped.where(stopped >= 0, view.iteration)
            # The end of a stopped member is where it stopped.
            times = [view.iteration] if at.due(view.iteration) else sorted(set(own.tolist()))
            seen = {t: finite & (own == t) for t in times}
        for o in observations:
            for t, members in seen.items():
                self._enter(t, view.network.depth, o, seen=members)

    def _enter(self, iteration: int, depth: int, o: Observation, *, seen: Tensor) -> None:
        values = [v if ok else None for v, ok in zip(o.values.tolist(), seen.tolist(), strict=True)]
        index = None if o.index is None else list(o.index)
        if values.count(None) < len(values):
            self.entries.append((iteration, depth, o.quantity, index, values))

    def resume(self) -> None:
        """Go on from the last checkpoint, where there is one."""
        saved = self.context.checkpoint.load() if self.context.checkpoint is not None else None
        if saved is None:
            return
        arrays, facts = saved
        self.entries = [(t, d, q, i, v) for t, d, q, i, v in facts["entries"]]
        self.iteration = facts["iteration"]
        for depth in self.states:
            self.states[depth] = self._unpacked(depth, arrays, facts["iteration"])
        for name, memory in self.memories.items():
            memory.update(self._tensors(arrays, f"memory/{name}/"))
        for depth, memory in self.stops.items():
            memory.update(self._tensors(arrays, f"stop/{depth}/"))
        for depth, rules in self.rules.items():
            rules.unpack(facts["rules"][str(depth)])
            self._set_optimizer(depth)

    def _pack(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The whole loop as arrays and facts."""
        arrays: dict[str, Tensor] = {}
        for depth, state in self.states.items():
            arrays |= {f"params/{depth}/{role}": p for role, p in state.params.items()}
            arrays |= {f"slots/{depth}/{name}": p for name, p in state.slots.items()}
            arrays[f"alive/{depth}"] = state.alive
        for name, memory in self.memories.items():
            arrays |= {f"memory/{name}/{key}": tensor for key, tensor in memory.items()}
        for depth, memory in self.stops.items():
            arrays |= {f"stop/{depth}/{key}": tensor for key, tensor in memory.items()}
        packed = {name: _array(tensor) for name, tensor in arrays.items()}
        rules = {str(depth): own.pack() for depth, own in self.rules.items()}
        return packed, {"entries": self.entries, "iteration": self.iteration, "rules": rules}

    def _unpacked(self, depth: int, arrays: Mapping[str, np.ndarray], iteration: int) -> State:
        params, slots = self._tensors(arrays, f"params/{depth}/"), self._tensors(arrays, f"slots/{depth}/")
        return State(params, slots, self._tensors(arrays, "alive/")[str(depth)], iteration)

    def _tensors(self, arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
        import torch

        found = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        return {name: torch.from_numpy(array).to(self.context.device) for name, array in found.items()}

    def release(self) -> None:
        """Give back memory that nothing but the next iteration would need."""
        for evaluate in self.evaluations.values():
            if isinstance(evaluate, Recorder):
                evaluate.release()
        self.task.networks[0].release(self.context.engine)

    def weights(self) -> dict[str, np.ndarray]:
        """The final parameters, `[E, …]`, named `depth/role`."""
        return {f"{d}/{role}": _array(p) for d, s in self.states.items() for role, p in s.params.items()}

    def _splits(self) -> dict[str, Any]:
        """Which files and indices the data are, by seed; one entry where all seeds have the same, none where all is drawn.

        A stream with one generator for everything has drawn the weights before: it cannot be asked again.
        """
        run = self.task
        if not isinstance(run.draw, NamedDraw):
            return {}
        found = {str(seed): run.data.facts(run.draw.stream(seed)) for seed in run.seeds}
        facts = list(found.values())
        return facts[0] if all(fact == facts[0] for fact in facts) else found

    def _note_facts(self) -> None:
        data = next(iter(self.feeds.values())).data
        self.context.provenance["data"] = checksum(data)
        splits = self._splits()
        if splits:
            self.context.provenance["splits"] = splits
        self.context.provenance["engine"] = self.task.networks[0].engine_title(self.context.engine, like=data[0])
        if any(isinstance(evaluate, Recorder) for evaluate in self.evaluations.values()):
            self.context.provenance["recorded"] = "CUDA graph"


def _watches(measure: Measure | Comparison) -> bool:
    """Whether a measure takes note of every iteration."""
    return isinstance(measure, Measure) and type(measure).watch is not Measure.watch


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().contiguous().numpy()
    return array


def _seconds(run: TrainingRun, context: Context) -> float:
    """How long a run takes, without checkpoint and progress."""
    start = time.perf_counter()
    for _ in run.run(Context(engine=context.engine, device=context.device, threads=context.threads)):
        pass
    return time.perf_counter() - start
