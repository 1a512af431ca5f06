"""AutoL2 against constant coefficients in the same number of steps (row 6 of the checklist)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.papers.cohen2021.rows import mean_over_seeds
from deeplimit.papers.lewkowycz2020.budgets import budgets, mean_of
from deeplimit.papers.lewkowycz2020.mnist import BUDGETS, RATE, REPLICATES, constants, run_of
from deeplimit.papers.lewkowycz2020.reading import TEST, VALIDATION, curves, smoothed
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study
from deeplimit.training import SGD
from deeplimit.training.l2 import PublishedRule, RobustRule, Rule

if TYPE_CHECKING:
    import polars as pl

START = 0.1
"""λ at the start. That of the authors, 2 in this convention, takes a network without normalisation to zero before it first falls."""
RULES = {"published": "the authors' rule", "robust": "our rule"}
NEAR = 0.001
"""A run has come to an accuracy when it is within 0.1 points of it."""


def _rule(name: str, steps: int) -> Rule:
    return PublishedRule(classes=10) if name == "published" else RobustRule(horizon=steps)


def _tasks(settings: Settings) -> Iterator[Task]:
    yield from constants(settings)
    steps = settings.pick(BUDGETS)[0]
    for name in RULES:
        labels = {"setting": name}
        yield run_of(settings, SGD(RATE, weight_decay=START), iterations=steps, labels=labels, rule=_rule(name, steps))


def final(rows: pl.DataFrame, budget: int, *, quantity: str = TEST) -> dict[int, dict[float, float]]:
    """Seed -> λ -> the smoothed accuracy at the end of a budget, for runs that are as long."""
    table: dict[int, dict[float, float]] = {}
    for labels, times, values in curves(rows, quantity):
        kept = sum(t <= budget for t in times)
        if times[-1] >= budget:
            table.setdefault(labels["seed"], {})[labels["weight_decay"]] = smoothed(times[:kept], values[:kept])[-1]
    return table


def _best_constant(rows: pl.DataFrame) -> float:
    """λ of the best final accuracy in the smaller budget, on validation data."""
    chosen = mean_of(final(only(rows, setting="constant", learning_rate=RATE), budgets(rows)[0], quantity=VALIDATION))
    return max(chosen, key=lambda decay: chosen[decay])


def _final(name: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the final test accuracy of a rule less that of the best constant."""

    def measure(rows: pl.DataFrame) -> Measured:
        best, budget = _best_constant(rows), budgets(rows)[0]
        constant = final(only(rows, setting="constant", learning_rate=RATE, weight_decay=best), budget)
        own = final(only(rows, setting=name), budget)
        gains = [own[seed][START] - constant[seed][best] for seed in sorted(own)]
        return mean_over_seeds(gains, f"in {budget} steps, against λ = {best:g}")

    return measure


def _time(name: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the steps that a rule takes to the final accuracy of the best constant, over those of the constant itself."""

    def measure(rows: pl.DataFrame) -> Measured:
        best, budget = _best_constant(rows), budgets(rows)[0]
        constant = only(rows, setting="constant", learning_rate=RATE, weight_decay=best)
        goal = {seed: own[best] - NEAR for seed, own in final(constant, budget).items()}
        ours, theirs = (_reached(own, goal, budget=budget) for own in (only(rows, setting=name), constant))
        late = sum(steps > budget for steps in ours.values())
        note = f"to {NEAR:.1%} below the final test accuracy of λ = {best:g} in {budget} steps"
        note += (
            f"; {late} of {len(ours)} seeds do not come to it, and count as the whole budget: a lower bound"
            if late
            else ""
        )
        return mean_over_seeds([min(ours[seed], budget) / theirs[seed] for seed in ours], note)

    return measure


def _reached(rows: pl.DataFrame, goal: dict[int, float], *, budget: int) -> dict[int, float]:
    """Seed -> the first step at which the smoothed test accuracy is at its goal; more than the budget where it is not."""
    found = {}
    for labels, times, values in curves(rows, TEST):
        kept = sum(t <= budget for t in times)
        curve = smoothed(times[:kept], values[:kept])
        steps = [t for t, value in zip(times, curve, strict=False) if value >= goal[labels["seed"]]]
        found[labels["seed"]] = float(min(steps, default=budget + 1))
    return found


def _refractory(rows: pl.DataFrame) -> Measured:
    """How many divisions come before the delay of the published rule has passed."""
    rule, early, divisions = PublishedRule(classes=10), 0, 0
    for _, times, decays in curves(only(rows, setting="published"), "weight_decay"):
        for place in range(1, len(times)):
            divisions += 1
            early += times[place] - times[place - 1] <= rule.delay / rule.flag(decays[place - 1])
    if not divisions:
        raise LookupError("λ was never divided")
    return Measured(early, early, early, divisions, f"of {divisions} divisions")


def _against_time(rows: pl.DataFrame) -> list[Panel]:
    """Test accuracy and λ against steps."""
    best, budget = _best_constant(rows), budgets(rows)[0]
    constant = only(rows, setting="constant", learning_rate=RATE)
    shown = {label: only(rows, setting=name) for name, label in RULES.items()}
    shown |= {f"λ = {best:g}": only(constant, weight_decay=best), "no L2": only(constant, weight_decay=0.0)}
    lines = [_band(own, label, budget=budget) for label, own in shown.items()]
    floor = 0.9 * max(max(line.y) for line in lines)
    lines = [_above(line, floor) for line in lines]
    stairs = [
        _staircase(next(curves(only(rows, setting=name), "weight_decay"))[1:], label, budget=budget)
        for name, label in RULES.items()
    ]
    return [
        Panel(lines, "step", "test accuracy", xscale="log"),
        Panel(stairs, "step", "λ (first seed)", xscale="log", yscale="log"),
    ]


def _band(rows: pl.DataFrame, label: str, *, budget: int) -> Curve:
    """Mean and range over seeds of the smoothed test accuracy."""
    found = [(t, smoothed(t, v)) for _, t, v in curves(rows, TEST)]
    times = [t for t in found[0][0] if 0 < t <= budget]
    columns = [[curve[i] for _, curve in found] for i, t in enumerate(found[0][0]) if 0 < t <= budget]
    means = [sum(c) / len(c) for c in columns]
    return Curve(times, means, label, low=[min(c) for c in columns], high=[max(c) for c in columns])


def _above(line: Curve, floor: float) -> Curve:
    """The curve from where it first is above a floor."""
    first = next((i for i, y in enumerate(line.y) if y > floor), len(line.y) - 1)
    low, high = (list(side)[first:] for side in (line.low or line.y, line.high or line.y))
    return Curve(line.x[first:], line.y[first:], line.label, low=low, high=high)


def _staircase(changes: tuple[list[int], list[float]], label: str, *, budget: int) -> Curve:
    """λ as a step function, from step 1 on."""
    times, decays = changes
    starts = [max(t, 1) for t in times]
    ends = [*starts[1:], budget]
    x = [t for pair in zip(starts, ends, strict=True) for t in pair]
    return Curve(x, [decay for decay in decays for _ in range(2)], label)


STUDY = Study(
    "autol2",
    title="AutoL2 against constant coefficients",
    text=(
        "The smaller budget of the study before, constant learning rate. Both rules start at a λ that is too large and divide it by ten"
        " when training stalls; they see nothing but the loss and the accuracy of the mini-batch of the coming step. The best constant"
        " of the grid is chosen on the validation split by its final accuracy; what is compared are final accuracies on the test set,"
        " and the steps that it takes to come to that of the constant."
    ),
    replicates=REPLICATES,
    tasks=_tasks,
    figures=(
        Figure(
            "autol2",
            "AutoL2, the best constant, and no L2",
            "Left: smoothed test accuracy, mean and range over seeds. Right: λ of the first seed.",
            _against_time,
            where="Figure 1c (there a wide residual network on CIFAR-10)",
        ),
    ),
    claims=(
        *(
            Claim(
                f"lewkowycz2020.6.final-{name}",
                f"AutoL2 ({words}) comes to a better accuracy than the best constant λ in the same number of steps.",
                "abstract; Figure 1c",
                "final test accuracy less that of the best constant",
                _final(name),
                expected=0.0,
                tolerance=0.001,
                source="text",
                relation="at least",
                tiers=("paper",),
                minimum_sample=3,
            )
            for name, words in RULES.items()
        ),
        *(
            Claim(
                f"lewkowycz2020.6.time-{name}",
                f"AutoL2 ({words}) trains faster: it comes to the accuracy of the best constant in at most 0.8 of its steps.",
                "abstract; Figure 1c",
                "steps to the final accuracy of the best constant, over those of the constant",
                _time(name),
                expected=0.8,
                tolerance=0.0,
                source="derived",
                relation="at most",
                tiers=("paper",),
                minimum_sample=3,
            )
            for name, words in RULES.items()
        ),
        Claim(
            "lewkowycz2020.6.refractory",
            "λ is not divided twice within the delay.",
            "released code",
            "divisions within the delay",
            _refractory,
            expected=0.0,
            tolerance=0.0,
            source="code",
        ),
    ),
)
