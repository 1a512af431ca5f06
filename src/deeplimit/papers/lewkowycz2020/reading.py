"""What is read off the curves of training runs: when they peak, and how high."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeplimit.papers.marion2024.common import only
from deeplimit.statistics.peaks import peak_time, smooth

if TYPE_CHECKING:
    import polars as pl

VALIDATION, TEST, TRAINED = "validation.accuracy", "test.accuracy", "accuracy.full"
DECAY_TIMES = 10
"""A run of the time law lasts so many times (1 − m)/(ηλ)."""


def horizon(rate: float, weight_decay: float, *, momentum: float = 0.0) -> int:
    """Steps of `DECAY_TIMES` decay times, (1 − m)/(ηλ) each.

    >>> horizon(0.1, 1e-2), horizon(0.1, 1e-2, momentum=0.5)
    (10000, 5000)
    """
    return round(DECAY_TIMES * (1 - momentum) / (rate * weight_decay))


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
        if times[-1] < last:
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


def mean_of(table: Mapping[int, Mapping[float, float]]) -> dict[float, float]:
    """λ -> the mean over seeds, of seed -> λ -> accuracy."""
    seeds = list(table.values())
    return {decay: sum(own[decay] for own in seeds) / len(seeds) for decay in seeds[0]}


def smoothed(times: Sequence[int], values: Sequence[float]) -> list[float]:
    """The curve averaged over the window of log time in which t_* is read."""
    return [float(value) for value in smooth(times, values)]


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean logarithm.

    >>> round(geometric_mean([1.0, 100.0]), 9)
    10.0
    """
    return math.exp(sum(map(math.log, values)) / len(values))
