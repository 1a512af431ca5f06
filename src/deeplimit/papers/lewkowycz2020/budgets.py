"""Which λ is best in a fixed number of steps, and predicting it from a short run (rows 3, 4 and 5 of the checklist)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import mean_over_seeds, power_law_over_seeds
from deeplimit.papers.lewkowycz2020.law import accuracy_curve
from deeplimit.papers.lewkowycz2020.mnist import BUDGETS, RATE, REPLICATES, constants
from deeplimit.papers.lewkowycz2020.reading import TEST, VALIDATION, best_until, curves, mean_of, peaks
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study
from deeplimit.training.l2 import Curve as ProbeCurve
from deeplimit.training.l2 import Setting, predict_weight_decay

if TYPE_CHECKING:
    import polars as pl

    from deeplimit.training.l2 import Prediction

PROBE_DECAY = 1e-1
"""λ of the probe: the largest of the law."""
PROBE_SHARE = 0.05
"""Of the budget."""
SHORTER = (1 / 9, 1 / 3)
"""Further budgets, as shares of the smallest, for the slope of the best λ."""


def _tasks(settings: Settings) -> Iterator[Task]:
    return constants(settings)


def _constants(rows: pl.DataFrame) -> pl.DataFrame:
    return only(rows, setting="constant", learning_rate=RATE)


def best_decay(accuracies: Mapping[float, float]) -> float:
    """The best λ > 0: the vertex of the parabola in log λ through the best of a grid and its neighbours; the best itself at an end.

    >>> round(best_decay({1.0: 0.5, 0.1: 0.9, 0.01: 0.9, 0.001: 0.5, 0.0: 1.0}), 4)
    0.0316
    """
    decays = sorted(decay for decay in accuracies if decay > 0)
    place = max(range(len(decays)), key=lambda i: accuracies[decays[i]])
    if place in (0, len(decays) - 1):
        return decays[place]
    x = [math.log(decay) for decay in decays[place - 1 : place + 2]]
    curvature, slope, _ = np.polyfit(x, [accuracies[decay] for decay in decays[place - 1 : place + 2]], 2)
    return math.exp(-slope / (2 * curvature))


def budgets(rows: pl.DataFrame) -> tuple[int, ...]:
    """The budgets of the tier: those that the run without L2 holds."""
    last = set(only(rows, setting="constant", weight_decay=0.0)["iteration"])
    known = [BUDGETS.at(tier) for tier in ("paper", "quick") if max(BUDGETS.at(tier)) in last]
    if not known:
        raise LookupError("no run without L2 of the length of a budget")
    return known[0]


def _interior(smallest: bool) -> Callable[[pl.DataFrame], Measured]:
    """The measure of what the best λ gains over the largest, or over a hundredth of itself, in the smaller budget, on the test set."""

    def measure(rows: pl.DataFrame) -> Measured:
        own, budget = _constants(rows), budgets(rows)[0]
        chosen = mean_of(best_until(own, budget))
        best = max(chosen, key=lambda decay: chosen[decay])
        other = max(chosen) if not smallest else min(chosen, key=lambda decay: abs(decay - best / 100))
        table = best_until(own, budget, quantity=TEST)
        note = f"test accuracy of λ = {best:g} less that of {other:g}, in {budget} steps"
        return mean_over_seeds([seed[best] - seed[other] for seed in table.values()], note)

    return measure


def _budget_slope(rows: pl.DataFrame) -> Measured:
    """The slope of the log of the best λ against log T."""
    own, known = _constants(rows), budgets(rows)
    steps = [round(share * known[0]) for share in SHORTER] + list(known)
    found = [best_until(own, budget) for budget in steps]
    table = {seed: [best_decay(accuracies[seed]) for accuracies in found] for seed in found[0]}
    fit = power_law_over_seeds(steps, table)
    note = f"best λ of a grid, interpolated, in {', '.join(map(str, steps))} steps; a slope per seed"
    return Measured(fit.value, fit.low, fit.high, fit.sample, note)


def _plateau(rows: pl.DataFrame) -> Measured:
    """Largest less smallest of the best accuracies of the law's runs, over the smallest decade of λ, by seed."""
    table = _at_their_peaks(rows)
    smallest = min(next(iter(table.values())))
    spans = [[a for decay, a in own.items() if decay <= 10.001 * smallest] for own in table.values()]
    return mean_over_seeds([max(span) - min(span) for span in spans], f"λ from {smallest:g} to {10 * smallest:g}")


def _rise(rows: pl.DataFrame) -> Measured:
    """The most that accuracy falls from one λ of the law to the next smaller one, in its own time, over the mean of seeds."""
    table = _at_their_peaks(rows)
    decays = sorted(next(iter(table.values())), reverse=True)
    falls = [
        mean_over_seeds([own[a] - own[b] for own in table.values()], f"from λ = {a:g} to {b:g}")
        for a, b in itertools.pairwise(decays)
    ]
    return max(falls, key=lambda fall: fall.value)


def _at_their_peaks(rows: pl.DataFrame) -> dict[int, dict[float, float]]:
    """Seed -> λ of the law -> the best accuracy on validation data of a run of a time that is proportional to 1/λ."""
    table: dict[int, dict[float, float]] = {}
    for peak in peaks(_constants(rows), within=0.0):
        table.setdefault(peak["seed"], {})[peak["weight_decay"]] = peak["value"]
    if not table or len({frozenset(own) for own in table.values()}) > 1 or len(next(iter(table.values()))) < 3:
        raise LookupError("expected the best accuracies of the same three λ and more of all seeds")
    return table


def predictions(rows: pl.DataFrame, budget: int) -> dict[int, Prediction]:
    """Seed -> what a probe of `PROBE_SHARE` of the budget at most says."""
    found = {}
    for labels, times, values in curves(only(_constants(rows), weight_decay=PROBE_DECAY), VALIDATION):
        kept = sum(t <= PROBE_SHARE * budget for t in times)
        seen = ProbeCurve(tuple(times[:kept]), tuple(values[:kept]))
        setting = Setting(RATE, steps=budget)
        found[labels["seed"]] = predict_weight_decay([seen], setting, weight_decay=PROBE_DECAY)
    return found


def _predicted(place: int) -> Callable[[pl.DataFrame], Measured]:
    """The measure of log10 of the predicted over the best λ."""

    def measure(rows: pl.DataFrame) -> Measured:
        budget = budgets(rows)[place]
        best = best_decay(mean_of(best_until(_constants(rows), budget)))
        values = [prediction.value for prediction in predictions(rows, budget).values()]
        note = f"best λ {best:.2g} in {budget} steps; the probes say {', '.join(f'{value:.2g}' for value in values)}"
        return mean_over_seeds([math.log10(value / best) for value in values], note)

    return measure


def _gap(place: int) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the test accuracy of the best λ less that of the predicted one."""

    def measure(rows: pl.DataFrame) -> Measured:
        budget, own = budgets(rows)[place], _constants(rows)
        chosen = mean_of(best_until(own, budget))
        best = max(chosen, key=lambda decay: chosen[decay])
        table, found = best_until(own, budget, quantity=TEST), predictions(rows, budget)
        gaps = [table[seed][best] - _interpolated(table[seed], found[seed].value) for seed in table]
        return mean_over_seeds(
            gaps, f"test accuracy in {budget} steps, between the λ of the grid a straight line in log λ"
        )

    return measure


def _interpolated(accuracies: Mapping[float, float], decay: float) -> float:
    decays = sorted(own for own in accuracies if own > 0)
    return float(np.interp(math.log(decay), np.log(decays), [accuracies[own] for own in decays]))


def _against_decay(rows: pl.DataFrame) -> list[Panel]:
    """Accuracy against λ in fixed budgets and in a time proportional to 1/λ; predicted and best λ against the budget."""
    own, known = _constants(rows), budgets(rows)
    lines = [accuracy_curve(best_until(own, budget, quantity=TEST), f"{budget:,} steps") for budget in known]
    lines.append(accuracy_curve(_at_their_peaks(rows), "10/(ηλ) steps"))
    best = [best_decay(mean_of(best_until(own, budget))) for budget in known]
    said = [[p.value for p in predictions(rows, budget).values()] for budget in known]
    middle = [math.exp(sum(map(math.log, values)) / len(values)) for values in said]
    low, high = [min(values) for values in said], [max(values) for values in said]
    return [
        Panel(lines, "λ", "best accuracy", xscale="log"),
        Panel(
            [
                Curve(known, best, "best of the grid"),
                Curve(known, middle, "predicted", low=low, high=high, style="dashed"),
            ],
            "budget (steps)",
            "λ",
            xscale="log",
            yscale="log",
        ),
    ]


STUDY = Study(
    "budgets",
    title="The best coefficient for a budget",
    text=(
        "The runs of the time law, with smaller λ and without L2, read at fixed numbers of steps: the best smoothed accuracy until"
        " then. λ is chosen on the validation split and accuracies are those of the test set, but for the curve whose time is"
        " proportional to 1/λ. Runs shorter than a budget have lasted ten decay times, after which their best accuracy no longer grows."
        f" The prediction sees the first {PROBE_SHARE:.0%} of the budget of one run at λ = {PROBE_DECAY:g}."
    ),
    replicates=REPLICATES,
    tasks=_tasks,
    figures=(
        Figure(
            "budgets",
            "Accuracy against λ, and the best λ against the budget",
            "Left: the best accuracy of early stopping in fixed budgets (test set), and in a time proportional to 1/λ (validation split)."
            " Right: the best λ of the grid, interpolated, and what a short probe predicts.",
            _against_decay,
            where="Figure 1a, 1b (there a wide residual network); Figure 2",
        ),
    ),
    claims=(
        *(
            Claim(
                f"lewkowycz2020.3.interior-{side}",
                "In a fixed number of steps the best λ lies between: one that is too small, or too large, costs accuracy.",
                "released code (Figure 1a)",
                f"gain in test accuracy over {words}",
                _interior(side == "small"),
                expected=0.003,
                tolerance=0.0,
                source="derived",
                relation="at least",
                tiers=("paper",),
            )
            for side, words in (("small", "a hundredth of the best λ"), ("large", "the largest λ"))
        ),
        Claim(
            "lewkowycz2020.3.budget-slope",
            "The best λ for a budget of T steps is proportional to 1/T.",
            "abstract (the prediction)",
            "slope of log of the best λ against log T, on validation data",
            _budget_slope,
            expected=-1.0,
            tolerance=0.3,
            source="text",
            tiers=("paper",),
            minimum_sample=5,
        ),
        Claim(
            "lewkowycz2020.4.plateau",
            "In a time proportional to 1/λ the best accuracy no longer depends on λ where λ is small.",
            "Figure 1a, Figure 2",
            "largest less smallest best accuracy over the smallest decade of λ",
            _plateau,
            expected=0.001,
            tolerance=0.0,
            source="derived",
            relation="at most",
            tiers=("paper",),
        ),
        Claim(
            "lewkowycz2020.4.rise",
            "In a time proportional to 1/λ the best accuracy does not fall as λ falls.",
            "Figure 1a, Figure 2",
            "largest fall of the best accuracy from one λ to the next smaller one",
            _rise,
            expected=0.0,
            tolerance=0.001,
            source="text",
            relation="at most",
            tiers=("paper",),
        ),
        *(
            Claim(
                f"lewkowycz2020.5.predicted-{name}",
                "A probe of at most 5 % of the budget predicts the best λ within half a decade.",
                "abstract (the prediction), Figure 1b",
                f"log10 of predicted over best λ, {name} budget",
                _predicted(place),
                expected=0.0,
                tolerance=0.5,
                source="derived",
                tiers=("paper",),
            )
            for place, name in enumerate(("smaller", "larger"))
        ),
        *(
            Claim(
                f"lewkowycz2020.5.gap-{name}",
                "The predicted λ is nearly as good as the best one of a grid.",
                "Figure 1b",
                f"test accuracy of the best λ less that of the predicted one, {name} budget",
                _gap(place),
                expected=0.0,
                tolerance=0.003,
                source="figure",
                relation="at most",
                tiers=("paper",),
            )
            for place, name in enumerate(("smaller", "larger"))
        ),
    ),
)
