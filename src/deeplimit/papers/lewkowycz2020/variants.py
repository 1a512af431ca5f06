"""The clock under a learning-rate schedule and with decoupled decay, and where it must fail (rows 7 and 9 of the checklist)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Figure, Panel
from deeplimit.fits import mean_over_seeds
from deeplimit.networks import FullyConnected
from deeplimit.papers.lewkowycz2020.budgets import best_decay
from deeplimit.papers.lewkowycz2020.contest import final
from deeplimit.papers.lewkowycz2020.law import accuracy_curve, best_fit, clock_panel, slope
from deeplimit.papers.lewkowycz2020.mnist import BATCH, RATE, REPLICATES, SAMPLES, run_of
from deeplimit.papers.lewkowycz2020.reading import geometric_mean, horizon
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study
from deeplimit.training import SGD, Adam, StepDecay

if TYPE_CHECKING:
    import polars as pl

SCHEDULED = (3e-2, 1e-2, 3e-3, 1e-3)
SHARE, FACTOR = 0.3, 0.2
"""The rate falls to a fifth at 0.3, 0.6 and 0.9 of the budget."""
ADAM_RATE, ADAM_DECAYS = 1e-3, (3.0, 1.0, 0.3)
NARROW, NARROW_DECAYS = FullyConnected(784, (4,), 10), (1e-1, 3e-2, 1e-2, 3e-3)


def _tasks(settings: Settings) -> Iterator[Task]:
    epoch = settings.pick(SAMPLES)[0] // BATCH
    # Ten epochs and forty: 0.3, 0.6 and 0.9 of them are whole ones.
    for budget in (10 * epoch, 30 * epoch):
        for decay in SCHEDULED:
            labels = {"setting": f"schedule-{budget}"}
            rule = StepDecay(round(SHARE * budget / epoch), FACTOR)
            yield run_of(settings, SGD(RATE, weight_decay=decay), iterations=budget, labels=labels, decay=rule)
    for decay in ADAM_DECAYS:
        adam = Adam(ADAM_RATE, weight_decay=decay, decoupled=True)
        yield run_of(settings, adam, iterations=horizon(ADAM_RATE, decay), labels={"setting": "AdamW"})
    for decay in NARROW_DECAYS:
        optimizer, steps, labels = SGD(RATE, weight_decay=decay), horizon(RATE, decay), {"setting": "narrow"}
        yield run_of(settings, optimizer, iterations=steps, labels=labels, networks=(NARROW,))


def _schedule_slope(rows: pl.DataFrame) -> Measured:
    """The slope of the log of the best λ between two budgets, each with its own schedule, by seed."""
    (short, few), (long, many) = (
        (budget, final(only(rows, setting=name), budget))
        for budget, name in sorted((int(name.split("-")[1]), name) for name in _scheduled(rows))
    )
    slopes = [math.log(best_decay(many[s]) / best_decay(few[s])) / math.log(long / short) for s in few]
    best = ", ".join(f"{geometric_mean([best_decay(own) for own in table.values()]):.2g}" for table in (few, many))
    return mean_over_seeds(slopes, f"best λ {best} in {short} and {long} steps")


def _scheduled(rows: pl.DataFrame) -> list[str]:
    names = [name for name in set(rows["setting"]) if name.startswith("schedule-")]
    if len(names) != 2:
        raise LookupError(f"expected two budgets with a schedule, found {len(names)}")
    return names


def _slope(setting: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the slope of log t_* against log λ."""
    return lambda rows: slope(only(rows, setting=setting))


def _narrow_fits(rows: pl.DataFrame) -> Measured:
    """The best training accuracy of the narrow network."""
    return best_fit(only(rows, setting="narrow"))


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """Final accuracy against λ with a schedule; t_* on the clock for AdamW and for the narrow network."""
    budgets = sorted((int(name.split("-")[1]), name) for name in _scheduled(rows))
    tables = {budget: final(only(rows, setting=name), budget) for budget, name in budgets}
    lines = [accuracy_curve(table, f"{budget:,} steps") for budget, table in tables.items()]
    clocks = clock_panel({"AdamW": only(rows, setting="AdamW"), "4 hidden units": only(rows, setting="narrow")})
    return [
        Panel(lines, "λ", "final test accuracy", title="learning-rate schedule", xscale="log"),
        clocks,
    ]


STUDY = Study(
    "variants",
    title="Schedules, decoupled decay, and networks that cannot fit",
    text=(
        "Three things that change the setting of the time law. A learning rate that falls to a fifth at 0.3, 0.6 and 0.9 of the budget,"
        " in two budgets. AdamW, whose decay is decoupled: its clock is 1/(ηλ) too. A network with one hidden layer of four units,"
        " which cannot fit the training set: the law is one of networks that can, so that it should fail here."
    ),
    replicates=REPLICATES,
    tasks=_tasks,
    tiers=("paper", "full"),
    figures=(
        Figure(
            "variants",
            "A learning-rate schedule; AdamW and a network that cannot fit",
            "Left: final accuracy against λ, where the schedule is that of the budget. Right: t* in units of 1/(ηλ): level where the"
            " law holds.",
            _panels,
        ),
    ),
    claims=(
        Claim(
            "lewkowycz2020.7.schedule",
            "With a learning-rate schedule that is rescaled with the budget the best λ still is proportional to 1/T.",
            "released code (Figure 1a)",
            "slope of log of the best λ against log T between two budgets, final test accuracy",
            _schedule_slope,
            expected=-1.0,
            tolerance=0.3,
            source="code",
            tiers=("paper",),
            minimum_sample=5,
        ),
        Claim(
            "lewkowycz2020.7.decoupled",
            "With AdamW performance peaks at a time proportional to 1/λ.",
            "not in the paper",
            "slope of log t* against log λ, AdamW",
            _slope("AdamW"),
            expected=-1.0,
            tolerance=0.15,
            source="derived",
            tiers=("paper",),
            minimum_sample=5,
        ),
        Claim(
            "lewkowycz2020.9.narrow-cannot-fit",
            "The narrow network does not fit its training set.",
            "condition of the control",
            "best training accuracy over λ",
            _narrow_fits,
            expected=0.99,
            tolerance=0.0,
            source="derived",
            relation="at most",
            tiers=("paper",),
        ),
        Claim(
            "lewkowycz2020.9.narrow",
            "The time law in a network that cannot fit its training set, where it is not expected to hold.",
            "abstract (a law of overparameterised networks)",
            "slope of log t* against log λ, four hidden units",
            _slope("narrow"),
            expected=-1.0,
            tolerance=0.15,
            source="text",
            tiers=("paper",),
            expected_ruling="not reproduced",
            minimum_sample=5,
        ),
    ),
)
