"""Fully connected networks on MNIST, one run per coefficient, and what is read off their curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeplimit.data import FixedPairs, Images, Standard
from deeplimit.measures import FullLoss, Geometric, HeldOut
from deeplimit.networks import FullyConnected
from deeplimit.papers.marion2024.common import only
from deeplimit.statistics.peaks import peak_time, smooth
from deeplimit.study import Tiered
from deeplimit.training import SGD, Adam, Batches, CrossEntropy, TrainingRun

if TYPE_CHECKING:
    import polars as pl

    from deeplimit.records import Label
    from deeplimit.study import Settings

NETWORK = FullyConnected(784, (64, 64, 64), 10)
"""Three hidden layers of 64: sizes that are recalled of the paper, not verified."""
SCALE = Standard((0.1307,), (0.3081,))
"""Mean and standard deviation of all pixels of the training set."""
SAMPLES: Tiered[tuple[int, ...]] = Tiered(quick=(5_000, 2_000, 2_000), paper=(50_000, 10_000, 10_000))
"""Images trained on, of the validation split, and of the test set."""
BATCH = 100
RATE = 0.1
LAW: Tiered[tuple[float, ...]] = Tiered(quick=(3e-2, 1e-2, 5e-3), paper=(3e-2, 1e-2, 3e-3, 1e-3, 3e-4))
"""λ of the time law."""
LONGER = Tiered(quick=(1e-3, 1e-4, 0.0), paper=(1e-4, 3e-5, 0.0))
"""Smaller λ, and none, for fixed budgets."""
BUDGETS: Tiered[tuple[int, ...]] = Tiered(quick=(2_000, 5_000), paper=(25_000, 75_000))
"""Steps."""
DECAY_TIMES = 10
"""A run of the time law lasts so many times 1/(ηλ)."""
REPLICATES = Tiered(quick=2, paper=5)

VALIDATION, TEST, TRAINED = "validation.accuracy", "test.accuracy", "accuracy.full"


def horizon(rate: float, weight_decay: float, *, momentum: float = 0.0) -> int:
    """Steps of `DECAY_TIMES` decay times, (1 − m)/(ηλ) each.

    >>> horizon(0.1, 1e-2), horizon(0.1, 1e-2, momentum=0.5)
    (10000, 5000)
    """
    return round(DECAY_TIMES * (1 - momentum) / (rate * weight_decay))


def run_of(
    settings: Settings, optimizer: SGD | Adam, *, iterations: int, labels: Mapping[str, Label], **parts: Any
) -> TrainingRun:
    """One training run of all seeds.

    Args:
        settings: tier and replicates.
        optimizer: with learning rate and λ.
        iterations: number of updates.
        labels: columns of the rows beside `learning_rate`, `weight_decay` and `momentum`.
        **parts: of the `TrainingRun`, in place of those of the time law.
    """
    train, validation, test = settings.pick(SAMPLES)
    at = Geometric(24)
    own: dict[str, Any] = {
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "momentum": optimizer.momentum if isinstance(optimizer, SGD) else 0.0,
    }
    described: dict[str, Any] = {
        "networks": (NETWORK,),
        "data": _split("train", train),
        "measures": (
            HeldOut(_split("train", validation, offset=60_000 - validation), at, name="validation"),
            HeldOut(_split("test", test), at),
            FullLoss(accuracy=True),
        ),
        "seeds": settings.seeds(),
        "loss": CrossEntropy(),
        "dtype": "float32",
        "batches": Batches(BATCH),
        "keep_weights": False,
    }
    return TrainingRun(**{**described, **parts}, optimizer=optimizer, iterations=iterations, labels={**own, **labels})


def _split(part: str, samples: int, *, offset: int = 0) -> FixedPairs:
    """The same images for all seeds; those at the end of the order of the training set are never trained on."""
    return FixedPairs(Images("mnist", part, samples=samples, offset=offset, scale=SCALE, targets="labels"))


def constants(settings: Settings) -> Iterator[TrainingRun]:
    """One run per λ at the learning rate of the law: of `DECAY_TIMES` decay times, or of the largest budget where that is shorter.

    Those of the law are never cut. What has lasted so many decay times has come to its best accuracy.
    """
    law, longest = settings.pick(LAW), max(*settings.pick(BUDGETS))
    for decay in sorted({*law, *settings.pick(LONGER)}, reverse=True):
        whole = horizon(RATE, decay) if decay else longest
        steps = whole if decay in law else min(whole, longest)
        yield run_of(settings, SGD(RATE, weight_decay=decay), iterations=steps, labels={"setting": "constant"})


def curves(rows: pl.DataFrame, quantity: str) -> Iterator[tuple[dict[str, Any], list[int], list[float]]]:
    """Labels with seed, iterations and values of each curve.

    Raises:
        LookupError: there is none.
    """
    by = [name for name in ("setting", "learning_rate", "weight_decay", "momentum", "seed") if name in rows.columns]
    for key, own in only(rows, quantity=quantity).sort("iteration").group_by(by, maintain_order=True):
        yield dict(zip(by, key, strict=True)), own["iteration"].to_list(), own["value"].to_list()


def peaks(
    rows: pl.DataFrame, *, within: float = 0.005, quantity: str = VALIDATION, share: float = 1.0
) -> list[dict[str, Any]]:
    """t_* of every curve, within a share of `DECAY_TIMES` decay times: the labels, `time`, and the highest `value`.

    Curves that are shorter, never above chance, or whose t_* is before the first measurement, are left out.
    """
    found = []
    for labels, times, values in curves(rows, quantity):
        if not labels["weight_decay"]:
            continue
        last = share * horizon(labels["learning_rate"], labels["weight_decay"], momentum=labels["momentum"])
        if times[-1] < 0.9 * last:  # the next measurement may be as far away as that
            continue
        kept = sum(t <= last for t in times)
        peak = peak_time(times[:kept], values[:kept], within=within, chance=0.1)
        if peak.learned and not peak.early:
            found.append({**labels, "time": peak.time, "value": peak.value})
    return found


def best_until(rows: pl.DataFrame, budget: int, *, quantity: str = VALIDATION) -> dict[int, dict[float, float]]:
    """Seed -> λ -> the best smoothed accuracy in the first `budget` steps: what early stopping would reach."""
    table: dict[int, dict[float, float]] = {}
    for labels, times, values in curves(rows, quantity):
        kept = sum(t <= budget for t in times)
        table.setdefault(labels["seed"], {})[labels["weight_decay"]] = peak_time(times[:kept], values[:kept]).value
    return table


def smoothed(times: Sequence[int], values: Sequence[float]) -> list[float]:
    """The curve averaged over the window of log time in which t_* is read."""
    return [float(value) for value in smooth(times, values)]


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean logarithm.

    >>> round(geometric_mean([1.0, 100.0]), 9)
    10.0
    """
    return math.exp(sum(map(math.log, values)) / len(values))
