"""AutoL2 against constant coefficients with fully connected networks on MNIST (row 6 of the checklist)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.papers.lewkowycz2020.contest import claims, figure, rules
from deeplimit.papers.lewkowycz2020.mnist import BUDGETS, RATE, REPLICATES, constants, run_of
from deeplimit.papers.lewkowycz2020.reading import curves
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study
from deeplimit.training import SGD
from deeplimit.training.l2 import PublishedRule

if TYPE_CHECKING:
    import polars as pl

START = 0.1
"""λ at the start. That of the authors, 2 in this convention, takes a network without normalisation to zero before it first falls."""


def _tasks(settings: Settings) -> Iterator[Task]:
    yield from constants(settings)
    steps = settings.pick(BUDGETS)[0]
    for setting, rule in rules(steps).items():
        optimizer = SGD(RATE, weight_decay=START)
        yield run_of(settings, optimizer, iterations=steps, labels={"setting": setting}, rule=rule)


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
    figures=(figure("autol2", "fully connected", where="Figure 1c (there a wide residual network on CIFAR-10)"),),
    claims=(
        *claims("", "fully connected networks on MNIST"),
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
