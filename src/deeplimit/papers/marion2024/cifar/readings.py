"""What is read off the runs: accuracies, smoothness at the end, and when smoothness is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from deeplimit.claims import Measured
from deeplimit.fits import mean_over_seeds
from deeplimit.papers.marion2024.cifar.runs import ROLES, STARTS, Cell
from deeplimit.papers.marion2024.common import only

if TYPE_CHECKING:
    import polars as pl

TRAIN, TEST = "batch.accuracy", "test.accuracy"


def cell(rows: pl.DataFrame, which: Cell) -> pl.DataFrame:
    """The rows of one cell of the table."""
    activation, start = which
    return only(rows, activation=activation, start=start)


def finals(rows: pl.DataFrame, quantity: str) -> dict[int, float]:
    """Seed -> the value at the end of a run; seeds that diverged before have none.

    Raises:
        LookupError: no seed has come to the end.
    """
    own = only(rows, quantity=quantity)
    last = only(own, iteration=max(own["iteration"]))
    return dict(zip(last["seed"].to_list(), last["value"].to_list(), strict=True))


def quartiles(values: Iterable[float], note: str) -> Measured:
    """The median of one number per run, with the quartiles as interval: what Table 1 gives."""
    import numpy as np

    numbers = list(values)
    low, middle, high = np.quantile(numbers, (0.25, 0.5, 0.75)).tolist()
    return Measured(middle, low, high, len(numbers), f"{note}; median and quartiles of {len(numbers)} runs")


def accuracy(which: Cell, quantity: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of a cell's accuracy in per cent."""

    def measure(rows: pl.DataFrame) -> Measured:
        found = finals(cell(rows, which), quantity)
        return quartiles((100 * value for value in found.values()), f"{', '.join(which)}")

    return measure


def lead(first: Cell, second: Cell, *, quantity: str = TEST) -> Callable[[pl.DataFrame], Measured]:
    """The measure of by how many points the first cell is more accurate than the second, by seed."""

    def measure(rows: pl.DataFrame) -> Measured:
        ours, theirs = (finals(cell(rows, which), quantity) for which in (first, second))
        points = [100 * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs]
        return mean_over_seeds(points, f"{', '.join(first)} less {', '.join(second)}, in points")

    return measure


def smooth(which: Cell, name: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of a statistic of smoothness at the end, the mean over both convolutions."""

    def measure(rows: pl.DataFrame) -> Measured:
        return mean_over_seeds(by_seed(cell(rows, which), name), f"{', '.join(which)}: both convolutions")

    return measure


def by_seed(rows: pl.DataFrame, name: str) -> list[float]:
    """A statistic at the end of each seed, the mean over both convolutions."""
    found = [finals(rows, f"smooth.{name}.{role}") for role in ROLES]
    return [sum(values[seed] for values in found) / len(ROLES) for seed in found[0]]


def increment(which: Cell, role: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the mean distance between successive layers at the end, as in Figure 4."""

    def measure(rows: pl.DataFrame) -> Measured:
        found = finals(cell(rows, which), f"smooth.increment.{role}")
        return quartiles(found.values(), f"{', '.join(which)}: mean over layers of the Frobenius norm")

    return measure


def increments_ratio(rows: pl.DataFrame) -> Measured:
    """How many times as far apart layers are at the end from an independent start as from a tied one: the smaller of both convolutions."""
    ratios = []
    for role in ROLES:
        tied, apart = (finals(cell(rows, ("GELU", start)), f"smooth.increment.{role}") for start in STARTS)
        ratios.append([apart[seed] / tied[seed] for seed in apart if seed in tied])
    least = min(ratios, key=lambda values: sum(values) / len(values))
    return mean_over_seeds(least, "GELU; the convolution of the two with the smaller ratio")


def excess(rows: pl.DataFrame) -> Measured:
    """The steps of ReLU less those of GELU at the end, both from a tied start, by seed."""
    ours, theirs = (by_seed(cell(rows, (activation, "tied")), "step") for activation in ("ReLU", "GELU"))
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    return mean_over_seeds(differences, f"ReLU less GELU, tied; {parting(rows)}")


def parting(rows: pl.DataFrame) -> str:
    """From which update on the second convolution is rougher in every seed of ReLU than in any of GELU, in words."""
    import polars as pl

    table: dict[int, dict[str, list[float]]] = {}
    for activation in ("ReLU", "GELU"):
        own = cell(rows, (activation, "tied")).filter(pl.col("quantity") == f"smooth.roughness.{ROLES[1]}")
        for t, value in zip(own["iteration"].to_list(), own["value"].to_list(), strict=True):
            table.setdefault(t, {}).setdefault(activation, []).append(value)
    together = [t for t, found in table.items() if len(found) < 2 or max(found["ReLU"]) >= min(found["GELU"])]
    since = [t for t in table if t > max(together, default=-1)]
    return f"rougher in all seeds from update {min(since)} on" if since else "not rougher in all seeds at the end"
