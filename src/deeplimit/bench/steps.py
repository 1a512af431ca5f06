"""What is timed of training: an evaluation, a step of each optimiser, and what each measure of one network does at an iteration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from deeplimit.bench.cases import Case
from deeplimit.bench.report import Part, TrainingReport
from deeplimit.bench.timing import Track, ratio, spread
from deeplimit.data import GaussianPairs
from deeplimit.measures import (
    BatchMeans,
    Drift,
    Entry,
    Every,
    LayerGaps,
    LayerGradients,
    Loss,
    Measure,
    Memory,
    PLRatio,
    SeedSpread,
    View,
)
from deeplimit.networks import ResidualStack
from deeplimit.training import SGD, Adam, GradientFlow, Optimizer, Step, draw_members

if TYPE_CHECKING:
    from deeplimit.networks import Parameters
    from deeplimit.training.step import Batch

#: Small enough for thousands of steps.
RATE = 1e-3
EVALUATION = "evaluation"
FLOW = "GradientFlow"

OPTIMIZERS: Mapping[str, Optimizer] = {
    FLOW: GradientFlow(RATE),
    "SGD, momentum 0.9": SGD(RATE, momentum=0.9),
    "Adam": Adam(RATE),
}
MEASURES: Mapping[str, Measure] = {
    type(measure).__name__: measure
    for measure in (
        Loss(),
        BatchMeans(),
        LayerGaps(),
        LayerGradients(),
        PLRatio(),
        Drift(),
        Entry("W", (0, 0)),
        SeedSpread(),
    )
}
"""Each observes one network, at its default schedule."""


def calls(case: Case, engine: str) -> dict[str, Callable[[], object]]:
    """What is called in a race on a case: the evaluation, then optimisers, then measures, by name."""
    network = ResidualStack(case.branch, case.depth)
    data = GaussianPairs(case.samples, case.branch.state_shape, case.branch.state_shape)
    seeds = tuple(range(case.members))
    params, batch = draw_members(network, data, seeds=seeds, dtype=case.dtype)
    steps = {name: Step(network, optimizer, engine=engine) for name, optimizer in OPTIMIZERS.items()}
    flow = steps[FLOW]
    after = flow(flow.start(params), batch)[0].params
    info = flow.evaluate(after, batch)
    view = View(
        network,
        after,
        info.grads,
        info.loss,
        1,
        *batch,
        params,
        engine,
        batch_output=info.output,
        data=batch,
        criterion=flow.loss,
        seeds=seeds,
    )
    return {
        EVALUATION: lambda: flow.evaluate(after, batch),
        **{name: _training(step, params, batch=batch) for name, step in steps.items()},
        **{name: _measuring(measure, view) for name, measure in MEASURES.items()},
    }


def _training(step: Step, params: Parameters, *, batch: Batch) -> Callable[[], object]:
    """One step from where the last one ended."""
    state = step.start(params)

    def run() -> int:
        nonlocal state
        state = step(state, batch)[0]
        return state.iteration

    return run


def _measuring(measure: Measure, view: View) -> Callable[[], object]:
    """What a run does with a measure at an iteration of its schedule, on a view that nobody has looked at."""
    memory: Memory = {}

    def run() -> list[object]:
        fresh = dataclasses.replace(view)
        found: list[object] = [observation.values.tolist() for observation in measure.observe(fresh, memory)]
        measure.watch(fresh, memory)
        return found

    return run


def reported(case: Case, engine: str, *, tracks: Mapping[str, Track]) -> TrainingReport:
    """What the tracks of a race on a case say."""
    evaluation, flow = tracks[EVALUATION].seconds, tracks[FLOW].seconds

    def step(name: str) -> Part:
        own = tracks[name].seconds
        besides = spread([1 - alone / whole for alone, whole in zip(evaluation, own, strict=True)])
        return Part(name, spread(own).times(1e3), besides)

    def observation(name: str) -> Part:
        own, at = tracks[name].seconds, MEASURES[name].at
        assert isinstance(at, Every)
        return Part(name, spread(own).times(1e3), ratio(own, flow).times(1 / at.interval), at.interval)

    steps, measures = tuple(map(step, OPTIMIZERS)), tuple(map(observation, MEASURES))
    return TrainingReport(case.name, case.title, engine, spread(evaluation).times(1e3), steps, measures)
