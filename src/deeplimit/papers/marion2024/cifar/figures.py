"""The table and the figures, and how they come about in training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from deeplimit.claims import Measured
from deeplimit.figures import Curve, Figure, Matrix, Panel
from deeplimit.papers.marion2024.cifar.readings import TEST, TRAIN, by_seed, cell, finals, quartiles
from deeplimit.papers.marion2024.cifar.runs import ACTIVATIONS, ROLES, STARTS
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import seed_band

if TYPE_CHECKING:
    import polars as pl

FIGURE_4 = {"tied": (0.070, 0.093), "i.i.d.": (0.797, 0.924)}
"""Medians of the mean increments of both convolutions, read off the box plots."""
PAPERS_UPDATES = 180 * 782
"""180 epochs of 782 batches."""
ACCURACIES = {"training": TRAIN, "test": TEST}
"""Column of the table -> quantity."""
STATISTICS = {"autocorrelation": ("lag", 1.0), "step / deviation": ("step", 1.0), "roughness": ("roughness", 2.0)}
"""Column of the table -> a statistic of smoothness, and where its colours end."""


def _cells(rows: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Activation, start and rows of the cells that were run, in the order of the table."""
    for activation, start in itertools.product(ACTIVATIONS, STARTS):
        try:
            yield activation, start, cell(rows, (activation, start))
        except LookupError:
            continue


def _table(rows: pl.DataFrame) -> list[Matrix]:
    """Medians and quartiles of all cells: accuracies, and smoothness."""
    cells = {f"{activation}, {start}": own for activation, start, own in _cells(rows)}
    accuracies = {
        column: [quartiles(finals(own, quantity).values(), "") for own in cells.values()]
        for column, quantity in ACCURACIES.items()
    }
    smoothness = {
        column: [quartiles(by_seed(own, name), "") for own in cells.values()]
        for column, (name, _) in STATISTICS.items()
    }
    return [
        _matrix(accuracies, [*cells], ends=(1.0, 1.0), percent=True),
        _matrix(smoothness, [*cells], ends=tuple(end for _, end in STATISTICS.values()), percent=False),
    ]


def _matrix(
    columns: Mapping[str, Sequence[Measured]], names: list[str], *, ends: tuple[float, ...], percent: bool
) -> Matrix:
    """A column for each number, a row for each cell."""
    factor, digits = (100, 1) if percent else (1, 2)
    shares = [[min(max(m.value / end, 0.0), 1.0) for m, end in zip(row, ends, strict=True)] for row in _rows(columns)]
    texts = [[_with_quartiles(m, factor, digits=digits) for m in row] for row in _rows(columns)]
    return Matrix(shares, list(columns), names, "", "", "accuracy, %" if percent else "smoothness", texts=texts)


def _rows(columns: Mapping[str, Sequence[Measured]]) -> Iterator[tuple[Measured, ...]]:
    return zip(*columns.values(), strict=True)


def _with_quartiles(found: Measured, factor: float, *, digits: int) -> str:
    low, middle, high = (f"{factor * number:.{digits}f}" for number in (found.low, found.value, found.high))
    return f"{middle} ({low} to {high})"


def _entries(activation: str) -> Callable[[pl.DataFrame], list[Panel]]:
    """One entry of both convolutions over the layers at the end, of the first seed."""

    def panels(rows: pl.DataFrame) -> list[Panel]:
        return [_entry_panel(cell(rows, (activation, start)), start) for start in STARTS]

    return panels


def _entry_panel(rows: pl.DataFrame, start: str) -> Panel:
    curves = []
    for role in ROLES:
        own = only(rows, quantity=f"entry.{role}", seed=min(rows["seed"]))
        own = only(own, iteration=max(own["iteration"])).sort("index")
        curves.append(Curve(own["index"].to_list(), own["value"].to_list(), role.partition(".")[0]))
    return Panel(curves, "layer k", "entry of the kernel", f"{start} start")


def _over_training(rows: pl.DataFrame, quantity: str, label: str) -> Curve:
    """Mean over seeds against the iteration, with their range, from the first update on."""
    import polars as pl

    return seed_band(only(rows, quantity=quantity).filter(pl.col("iteration") > 0), "iteration", label=label)


def _training_panels(rows: pl.DataFrame) -> list[Panel]:
    """Test accuracy in training, a panel for each start."""
    panels = []
    for start in STARTS:
        curves = [_over_training(own, TEST, activation) for activation, other, own in _cells(rows) if other == start]
        panels.append(Panel(curves, "update", "test accuracy", f"{start} start"))
    return panels


def _smoothness_panels(rows: pl.DataFrame) -> list[Panel]:
    """Two statistics of the second convolution in training, of all cells with a tied start, and of one without."""
    panels = []
    for name, ylabel in (("step", "mean step / deviation"), ("roughness", "local roughness H")):
        quantity = f"smooth.{name}.{ROLES[1]}"
        curves = [
            _over_training(own, quantity, activation if start == "tied" else f"{activation}, {start}")
            for activation, start, own in _cells(rows)
            if start == "tied" or activation == "GELU"
        ]
        panels.append(Panel(curves, "update", ylabel, xscale="log", yscale="log" if name == "step" else "linear"))
    return panels


def _increment_panels(rows: pl.DataFrame) -> list[Panel]:
    """Mean increments of GELU in training; the values of Figure 4 at its length."""
    panels = []
    for i, role in enumerate(ROLES):
        curves = []
        for start in STARTS:
            own = cell(rows, ("GELU", start))
            curves.append(_over_training(own, f"smooth.increment.{role}", f"{start} start"))
            if max(only(own, quantity=TEST)["iteration"]) == PAPERS_UPDATES:
                curves.append(Curve([PAPERS_UPDATES], [FIGURE_4[start][i]], "published", style="markers"))
        label = "mean ‖increment‖"
        panels.append(Panel(curves, "update", label, role.partition(".")[0], xscale="log", yscale="log"))
    return panels


FIGURES = (
    Figure(
        "cifar-table",
        "Accuracy and smoothness of every cell",
        "Median over runs, quartiles in brackets. Training accuracy is that of the images as augmented, over the last epoch. Smooth weights"
        " have an autocorrelation near 1, small steps and a roughness near 2; white noise has 0, 1.13 and 0.",
        _table,
        where="Table 1, where smoothness is judged by eye",
    ),
    Figure(
        "cifar-entries-gelu",
        "One entry of both convolutions over the layers: GELU",
        "From a tied start a smooth function of the layer, from an independent one noise. One run, the same entry in each layer.",
        _entries("GELU"),
        where="Figure 3",
    ),
    Figure(
        "cifar-entries-relu",
        "One entry of both convolutions over the layers: ReLU",
        "The same with ReLU, where a tied start does not keep weights smooth for ever.",
        _entries("ReLU"),
        where="Table 1, the ReLU rows",
    ),
    Figure(
        "cifar-increments",
        "Distance between successive layers in training: GELU",
        "Layers from an independent start stay about as far apart as they began; those from a tied start move apart slowly.",
        _increment_panels,
        where="Figure 4, which shows the end of training",
    ),
    Figure(
        "cifar-smoothness",
        "When smoothness is lost",
        "Steps from layer to layer against the spread over layers, and local roughness (0: white noise, ½: Brownian, 1½ and more: smooth),"
        " of the second convolution from a tied start; bands are the range over runs. At the beginning layers differ by rounding alone,"
        " which is Brownian. With ReLU the steps part from those of the smooth activations.",
        _smoothness_panels,
        where="beside Table 1",
    ),
    Figure(
        "cifar-training",
        "Test accuracy in training",
        "Of the test images; bands are the range over runs.",
        _training_panels,
        where="beside Table 1",
    ),
)
