"""Rows of runs that nobody trained: the curves of a law, at the iterations and with the labels of a study's plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import polars as pl

from deeplimit.claims import Verdict, judge
from deeplimit.measures import Geometric, HeldOut, Schedule
from deeplimit.records import Row, frame
from deeplimit.study import Study
from deeplimit.training import TrainingRun

Law = Callable[[int, "dict[str, float]"], float]
"""Step, labels with seed -> accuracy."""
Divide = Callable[[TrainingRun, float], "dict[int, float]"]
"""Run, λ at the start -> the steps at which it changes, with λ from there on."""


def clock(
    *, gain: float = 0.5, ticks: float = 1.5, steep: int = 4, cost: float = 0.05, per_tick: str = "ηλ/(1 − m)"
) -> Law:
    """top − cost · λ − gain · exp(−(u/ticks)^steep) − u/1000 after u decay times, and at first what a network has not learned.

    Args:
        gain: what L2 brings.
        ticks: when it brings it.
        steep: how suddenly.
        cost: of a large λ.
        per_tick: `ηλ/(1 − m)`; of another law `ηλ`, `λ/(1 − m)` or `η`.
    """

    def accuracy(step: int, labels: dict[str, float]) -> float:
        rate, decay, momentum = (labels[name] for name in ("learning_rate", "weight_decay", "momentum"))
        per = {"ηλ/(1 − m)": rate * decay / (1 - momentum), "ηλ": rate * decay, "λ/(1 − m)": decay / 20, "η": rate / 50}
        u = (1 + (labels["seed"] % 10 - 2) / 1000) * per[per_tick] * step
        top = 0.98 - cost * decay - gain * math.exp(-((u / ticks) ** steep)) - u / 1000
        return max(0.1, top - 0.5 * math.exp(-step / 10))

    return accuracy


def rule(*, best: float, time: float) -> Law:
    """A rule that comes to an accuracy after some steps, whatever λ it starts from."""
    return lambda step, labels: best - 0.5 * math.exp(-step / time)


@lru_cache
def _iterations(at: Schedule, last: int) -> tuple[int, ...]:
    if isinstance(at, Geometric):  # without asking for each of them
        found = {0, last, *(int(10 ** (k / at.per_decade)) for k in range(1 + int(at.per_decade * math.log10(last))))}
        assert all(at.due(t, final=t == last) for t in found)
        return tuple(sorted(found))
    return tuple(t for t in range(last + 1) if at.due(t, final=t == last))


def _run(run: TrainingRun, law: Law, *, fitted: float, divide: Divide) -> Iterator[Row]:
    common = {"depth": run.networks[0].depth, **run.labels}
    for seed in run.seeds:
        labels = {**common, "seed": seed}
        for measure in run.measures:
            if isinstance(measure, HeldOut):
                for t in _iterations(measure.at, run.iterations):
                    value = law(t, labels)  # type: ignore[arg-type]
                    yield {**labels, "iteration": t, "quantity": f"{measure.name}.accuracy", "value": value}
        yield {**labels, "iteration": run.iterations, "quantity": "accuracy.full", "value": fitted}
        if run.rule is not None:
            for t, decay in divide(run, float(run.labels["weight_decay"])).items():
                yield {**labels, "iteration": t, "quantity": "weight_decay", "value": decay}


def never(run: TrainingRun, start: float) -> dict[int, float]:
    """λ as it is."""
    return {0: start}


def plant(
    study: Study,
    law: Law,
    *,
    tier: str = "paper",
    fitted: float = 1.0,
    others: dict[str, Law] | None = None,
    divide: Divide = never,
) -> pl.DataFrame:
    """Rows of all runs of a study.

    Args:
        study: whose plan it is.
        law: of the accuracy.
        tier: of the plan.
        fitted: training accuracy at the end.
        others: setting -> law, where it is another one.
        divide: when λ changes in runs with a rule.
    """
    rows = []
    for task in study.plan(tier):
        assert isinstance(task, TrainingRun)
        own = (others or {}).get(str(task.labels["setting"]), law)
        rows += list(_run(task, own, fitted=fitted, divide=divide))
    return frame(rows)


def verdict(study: Study, name: str, rows: pl.DataFrame, *, tier: str = "paper") -> Verdict:
    """That on one claim, by the end of its id."""
    (claim,) = [claim for claim in study.claims if claim.id == f"lewkowycz2020.{name}"]
    return judge(claim, rows, tier=tier)


def ruling(study: Study, name: str, rows: pl.DataFrame, *, tier: str = "paper") -> str:
    """In a word."""
    return verdict(study, name, rows, tier=tier).ruling


def pictures(study: Study, rows: pl.DataFrame) -> dict[str, list[int]]:
    """Figure -> the number of curves of each panel."""
    return {figure.id: [len(panel.curves) for panel in figure.panels(rows)] for figure in study.figures}  # type: ignore[union-attr]
