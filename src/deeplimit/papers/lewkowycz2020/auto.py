"""AutoL2 against constant coefficients in the same number of steps (row 6 of the checklist)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Figure, Panel
from deeplimit.papers.lewkowycz2020.budgets import budgets
from deeplimit.papers.lewkowycz2020.contest import contest, gain, haste
from deeplimit.papers.lewkowycz2020.mnist import BUDGETS, RATE, REPLICATES, constants, run_of
from deeplimit.papers.lewkowycz2020.reading import curves
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


def _rule(name: str, steps: int) -> Rule:
    return PublishedRule(classes=10) if name == "published" else RobustRule(horizon=steps)


def _tasks(settings: Settings) -> Iterator[Task]:
    yield from constants(settings)
    steps = settings.pick(BUDGETS)[0]
    for name in RULES:
        labels = {"setting": name}
        yield run_of(settings, SGD(RATE, weight_decay=START), iterations=steps, labels=labels, rule=_rule(name, steps))


def _constants(rows: pl.DataFrame) -> pl.DataFrame:
    return only(rows, setting="constant", learning_rate=RATE)


def _final(name: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the final test accuracy of a rule less that of the best constant."""
    return lambda rows: gain(only(rows, setting=name), _constants(rows), budget=budgets(rows)[0])


def _time(name: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the steps that a rule takes to the final accuracy of the best constant, over those of the constant itself."""
    return lambda rows: haste(only(rows, setting=name), _constants(rows), budget=budgets(rows)[0])


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
    shown = {label: only(rows, setting=name) for name, label in RULES.items()}
    return contest(shown, _constants(rows), budget=budgets(rows)[0])


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
