"""AutoL2 against constant λ in the same number of steps: what is claimed and shown, whatever is trained (row 6 of the checklist).

The rows of a contest have the settings `published` and `robust`, one run each, and `constant`, one run per λ, at one learning rate or more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import mean_over_seeds
from deeplimit.papers.lewkowycz2020.reading import TEST, VALIDATION, curves, mean_of, smoothed
from deeplimit.papers.marion2024.common import only
from deeplimit.training.l2 import PublishedRule, RobustRule

if TYPE_CHECKING:
    import polars as pl

    from deeplimit.training.l2 import Rule

RULES = {"published": "the authors' rule", "robust": "our rule"}
"""Setting -> its name in sentences."""
NEAR = 0.001
"""A run has come to an accuracy when it is within 0.1 points of it."""
SHOWN = 0.9
"""Curves are drawn from this share of the highest accuracy on."""


def final(rows: pl.DataFrame, budget: int, *, quantity: str = TEST) -> dict[int, dict[float, float]]:
    """Seed -> λ -> the smoothed accuracy at the end of a budget, for runs that are as long.

    Raises:
        LookupError: none is.
    """
    table: dict[int, dict[float, float]] = {}
    for labels, times, values in curves(rows, quantity):
        kept = sum(t <= budget for t in times)
        if times[-1] >= budget:
            table.setdefault(labels["seed"], {})[labels["weight_decay"]] = smoothed(times[:kept], values[:kept])[-1]
    if not table:
        raise LookupError(f"no run lasts {budget} steps")
    return table


def best_constant(constants: pl.DataFrame, budget: int) -> float:
    """λ of the best final accuracy on validation data, in the mean over seeds."""
    chosen = mean_of(final(constants, budget, quantity=VALIDATION))
    return max(chosen, key=lambda decay: chosen[decay])


def rules(steps: int) -> dict[str, Rule]:
    """Setting -> the rule, for runs of so many steps."""
    return {"published": PublishedRule(classes=10), "robust": RobustRule(horizon=steps)}


def budget_of(rows: pl.DataFrame) -> int:
    """The steps of AutoL2."""
    return int(max(only(rows, setting="published")["iteration"].to_list()))


def constants_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The constants at the learning rate of AutoL2."""
    return only(rows, setting="constant", learning_rate=only(rows, setting="published")["learning_rate"][0])


def gain(setting: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the final test accuracy of a rule less that of the best constant, by seed."""

    def measure(rows: pl.DataFrame) -> Measured:
        budget, constants = budget_of(rows), constants_of(rows)
        best = best_constant(constants, budget)
        constant, found = final(only(constants, weight_decay=best), budget), final(only(rows, setting=setting), budget)
        gains = [accuracy - constant[seed][best] for seed, finals in found.items() for accuracy in finals.values()]
        return mean_over_seeds(gains, f"in {budget} steps, against λ = {best:g}")

    return measure


def haste(setting: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the steps that a rule takes to the final test accuracy of the best constant, over those of the constant itself."""

    def measure(rows: pl.DataFrame) -> Measured:
        budget, constants = budget_of(rows), constants_of(rows)
        best = best_constant(constants, budget)
        constant = only(constants, weight_decay=best)
        goal = {seed: finals[best] - NEAR for seed, finals in final(constant, budget).items()}
        ours, theirs = (_reached(own, goal, budget=budget) for own in (only(rows, setting=setting), constant))
        late = sum(steps > budget for steps in ours.values())
        note = f"to {NEAR:.1%} below the final test accuracy of λ = {best:g} in {budget} steps"
        if late:
            note += f"; {late} of {len(ours)} seeds do not come to it, and count as the whole budget: a lower bound"
        return mean_over_seeds([min(ours[seed], budget) / theirs[seed] for seed in ours], note)

    return measure


def _reached(rows: pl.DataFrame, goal: dict[int, float], *, budget: int) -> dict[int, float]:
    """Seed -> the first step, from 1 on, at which the smoothed test accuracy is at its goal; more than the budget where it is not."""
    found = {}
    for labels, times, values in curves(rows, TEST):
        kept = sum(t <= budget for t in times)
        curve = smoothed(times[:kept], values[:kept])
        steps = [t for t, value in zip(times, curve, strict=False) if t and value >= goal[labels["seed"]]]
        found[labels["seed"]] = float(min(steps, default=budget + 1))
    return found


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """Test accuracy of the rules, of the best constant and of no L2, and the λ of the rules, against steps."""
    budget, constants = budget_of(rows), constants_of(rows)
    best = best_constant(constants, budget)
    own = {label: only(rows, setting=setting) for setting, label in RULES.items()}
    shown = {**own, f"λ = {best:g}": only(constants, weight_decay=best)}
    if best:
        shown["no L2"] = only(constants, weight_decay=0.0)
    lines = [_band(found, label, budget=budget) for label, found in shown.items()]
    floor = SHOWN * max(max(line.y) for line in lines)
    stairs = [_staircase(next(curves(found, "weight_decay"))[1:], label, budget=budget) for label, found in own.items()]
    return [
        Panel([_above(line, floor) for line in lines], "step", "test accuracy", xscale="log"),
        Panel(stairs, "step", "λ (first seed)", xscale="log", yscale="log"),
    ]


def figure(name: str, what: str, *, where: str) -> Figure:
    """The two panels of a contest."""
    return Figure(
        name,
        f"AutoL2, the best constant, and no L2: {what}",
        "Left: smoothed test accuracy, mean and range over seeds. Right: λ of the first seed.",
        _panels,
        where=where,
    )


def claims(name: str, what: str, *, tiers: tuple[str, ...] = ("paper",)) -> Iterator[Claim]:
    """Better, and faster, for both rules."""
    for setting, words in RULES.items():
        yield Claim(
            f"lewkowycz2020.6.{name}final-{setting}",
            f"AutoL2 ({words}) comes to a better accuracy than the best constant λ in the same number of steps: {what}.",
            "abstract; Figure 1c",
            "final test accuracy less that of the best constant",
            gain(setting),
            expected=0.0,
            tolerance=0.001,
            source="text",
            relation="at least",
            tiers=tiers,
            minimum_sample=3,
        )
        yield Claim(
            f"lewkowycz2020.6.{name}time-{setting}",
            f"AutoL2 ({words}) comes to the accuracy of the best constant in at most 0.8 of its steps: {what}.",
            "abstract; Figure 1c",
            "steps to the final accuracy of the best constant, over those of the constant",
            haste(setting),
            expected=0.8,
            tolerance=0.0,
            source="derived",
            relation="at most",
            tiers=tiers,
            minimum_sample=3,
        )


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
