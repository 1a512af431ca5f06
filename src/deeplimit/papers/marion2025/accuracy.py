"""Figure 9: how well networks can be trained, over the roughness H of their initial weights and the scaling β (row 17)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, HeatMap, Panel
from deeplimit.measures import HeldOut, Memory, Observation, View
from deeplimit.papers.marion2025.trained import (
    BATCHES,
    LOSS,
    PRECISION,
    STD,
    TEST_IMAGES,
    TRAIN_IMAGES,
    digits,
    res1,
    updates,
)
from deeplimit.processes import FractionalNoise
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import Adam, StepDecay, TrainingRun

if TYPE_CHECKING:
    import polars as pl

DEPTH = 100
"""Of the published map; the released code says 1000 since."""

EPOCHS = Tiered(quick=2, paper=5)
GRID = tuple(round(0.1 + 0.8 * i / 9, 4) for i in range(10))
"""The published values of H and of β."""

HURST = Tiered(quick=GRID[::3], paper=GRID)
BETA = Tiered(quick=GRID[:6], paper=GRID)
IMAGES = Tiered(quick=4_096, paper=25_600)
VALIDATION = Tiered(quick=1_000, paper=2_000)
TESTED = Tiered(quick=2_000, paper=TEST_IMAGES)
RATES = (1e-3, 1e-2, 1e-1)
PUBLISHED_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FULL_SIZE = Tiered(quick=(), paper=((GRID[9], GRID[2:6]), (GRID[5], GRID[:3])))
"""Of these H the cells at some β are trained as published: all images, five rates, the best of them on the test set."""

GUESSING = 0.1
"""The accuracy of a network whose loss has stopped being finite."""

# Read off the published map (MNIST): β -> accuracies at H = GRID. The row .54 is given to two digits.
PUBLISHED = {
    GRID[5]: (0.97, 0.97, 0.97, 0.97, 0.97, 0.97, 0.97, 0.97, 0.96, 0.94),
    GRID[4]: (0.97, 0.97, 0.97, 0.97, 0.98, 0.98, 0.97, 0.96, 0.93, 0.65),
    GRID[3]: (0.97, 0.97, 0.98, 0.97, 0.97, 0.97, 0.95, 0.88, 0.34, 0.42),
    GRID[2]: (0.97, 0.97, 0.97, 0.97, 0.96, 0.94, 0.55, 0.23, 0.18, 0.11),
    GRID[1]: (0.97, 0.97, 0.97, 0.96, 0.86, 0.44, 0.14, 0.12, 0.10, 0.10),
    GRID[0]: (0.95, 0.94, 0.78, 0.38, 0.11, 0.10, 0.10, 0.10, 0.10, 0.10),
}
# Its contour of accuracy ½, H -> β. Below H = .37 it runs below β = .1.
CONTOUR = dict(zip(GRID[3:], (0.12, 0.15, 0.20, 0.27, 0.32, 0.39, 0.40), strict=True))


@dataclass(frozen=True)
class Validation(HeldOut):
    """What `HeldOut` measures, under the names `validation.loss` and `validation.accuracy`."""

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """Both means."""
        for seen in super().observe(view, memory):
            yield dataclasses.replace(seen, quantity=seen.quantity.replace("test", "validation"))


def _tasks(settings: Settings) -> Iterator[Task]:
    """The reduced map, then some cells as published."""
    for hurst in settings.pick(HURST):
        for beta in settings.pick(BETA):
            yield _cell(settings, hurst, beta)
    for hurst, betas in settings.pick(FULL_SIZE):
        for beta in betas:
            yield _cell(settings, hurst, beta, full=True)


def _cell(settings: Settings, hurst: float, beta: float, *, full: bool = False) -> TrainingRun:
    """One cell: an ensemble over learning rates that shares weights, images and batches."""
    rates = PUBLISHED_RATES if full else RATES
    images, epochs = (TRAIN_IMAGES, 5) if full else (settings.pick(IMAGES), settings.pick(EPOCHS))
    measures = [HeldOut(digits("test", None if full else settings.pick(TESTED)))]
    if not full:
        measures.append(Validation(digits(samples=settings.pick(VALIDATION), offset=images)))
    return TrainingRun(
        networks=(res1(DEPTH, beta, FractionalNoise(hurst, STD, finest=DEPTH), bias=True),),
        data=digits(samples=None if full else images),
        optimizer=Adam(rates),
        iterations=updates(images, epochs),
        measures=tuple(measures),
        seeds=(0,) * len(rates),
        loss=LOSS,
        dtype=PRECISION,
        batches=BATCHES,
        decay=StepDecay(5, 0.1),
        keep_weights=False,
        labels={"size": "published" if full else "reduced", "hurst": hurst, "beta": beta},
    )


def accuracies(rows: pl.DataFrame, size: str = "reduced") -> dict[tuple[float, float], float]:
    """Test accuracy of each cell (H, β), at the learning rate that is best on validation images.

    At the published size there are no validation images: it is the best test accuracy there, as in the paper. A network whose loss has
    stopped being finite guesses.

    Raises:
        LookupError: there are no rows of that size.
    """
    own = rows.filter(size=size)
    if own.is_empty():
        raise LookupError(f"no cells of {size} size")
    criterion = "validation.accuracy" if size == "reduced" else "test.accuracy"
    found = {}
    for (hurst, beta), cell in own.group_by("hurst", "beta"):
        score, test = (_by_rate(cell, quantity) for quantity in (criterion, "test.accuracy"))
        found[float(hurst), float(beta)] = test[max(score, key=score.__getitem__)] if score else GUESSING  # type: ignore[arg-type]
    return found


def _by_rate(cell: pl.DataFrame, quantity: str) -> dict[float, float]:
    own = cell.filter(quantity=quantity)
    return dict(zip(own["learning_rate"], own["value"], strict=True))


def crossing(curve: Mapping[float, float], level: float = 0.5) -> float | None:
    """The largest β at which an accuracy that is given at some β, and linear between them, falls to a level; None if at none.

    >>> round(crossing({0.1: 0.1, 0.2: 0.3, 0.3: 0.8, 0.4: 0.9}), 2)
    0.24
    """
    betas = sorted(curve)
    for low, high in reversed(list(pairwise(betas))):
        if curve[low] < level <= curve[high]:
            return low + (high - low) * (level - curve[low]) / (curve[high] - curve[low])
    return None


def contour(cells: Mapping[tuple[float, float], float]) -> dict[float, float]:
    """H -> β of accuracy ½, where the map has it."""
    found = {
        h: crossing({beta: a for (own, beta), a in cells.items() if own == h}) for h in sorted({h for h, _ in cells})
    }
    return {h: beta for h, beta in found.items() if beta is not None}


# ------------------------------------------------------------------------------------------------------------- measured


def _contour_difference(rows: pl.DataFrame) -> Measured:
    """Our contour less the published one: mean, smallest and largest over H."""
    ours = contour(accuracies(rows))
    differences = [ours[h] - beta for h, beta in CONTOUR.items() if h in ours]
    if len(differences) < 2:
        raise LookupError("the contour was found at fewer than two of the published H")
    mean = sum(differences) / len(differences)
    return Measured(mean, min(differences), max(differences), len(differences), "mean, smallest and largest over H")


def _cell_differences(rows: pl.DataFrame) -> Measured:
    """Ours less the published accuracy in the cells of the published size where that is 0.9 or more."""
    cells = accuracies(rows, "published")
    published = {(h, b): a for b, row in PUBLISHED.items() for h, a in zip(GRID, row, strict=True)}
    return Measured.spread(
        [cells[cell] - published[cell] for cell in sorted(cells) if published[cell] >= 0.9], "range over cells"
    )


def _crossing_at_full_size(hurst: float) -> Callable[[pl.DataFrame], Measured]:
    def measure(rows: pl.DataFrame) -> Measured:
        found = contour({cell: a for cell, a in accuracies(rows, "published").items() if cell[0] == hurst})
        if hurst not in found:
            raise LookupError(f"accuracy ½ is not crossed at H = {hurst}")
        return Measured(found[hurst], found[hurst], found[hurst], 1, "linear between cells; one network a cell")

    return measure


def _share(side: int) -> Callable[[pl.DataFrame], Measured]:
    """The smallest accuracy well above the published contour, or the largest well below it."""

    def measure(rows: pl.DataFrame) -> Measured:
        cells = accuracies(rows)
        far = [a for (h, b), a in cells.items() if h in CONTOUR and side * (b - CONTOUR[h]) > 0.1]
        if not far:
            raise LookupError("no cell is that far from the contour")
        extreme = min(far) if side > 0 else max(far)
        return Measured(extreme, min(far), max(far), len(far), "range over cells")

    return measure


# -------------------------------------------------------------------------------------------------------------- figures


def _panels(rows: pl.DataFrame) -> Sequence[Panel | HeatMap]:
    cells = accuracies(rows)
    hurst, beta = sorted({h for h, _ in cells}), sorted({b for _, b in cells}, reverse=True)
    values = [[cells[h, b] for h in hurst] for b in beta]
    names = [f"{b:.2f}" for b in beta]
    return HeatMap(values, hurst, names, "H", "β", "test accuracy", "ours, reduced size"), _contours(rows, cells)


def _contours(rows: pl.DataFrame, cells: Mapping[tuple[float, float], float]) -> Panel:
    ours = contour(cells)
    curves = [
        Curve(list(ours), list(ours.values()), "ours, reduced size"),
        Curve(list(CONTOUR), list(CONTOUR.values()), "published", style="markers"),
        Curve((0.1, 0.5, 0.9), (0.5, 0.5, 0.9), "max(½, H): L → ∞, before training", style="dotted"),
    ]
    if "published" in rows["size"]:
        full = contour(accuracies(rows, "published"))
        curves.append(Curve(list(full), list(full.values()), "ours, published size", style="markers"))
    return Panel(curves, "H", "β", "where accuracy is ½")


CLAIMS = (
    Claim(
        "marion2025.17.contour",
        "A line in the plane of H and β separates networks that learn from those that do not; it rises with H.",
        "Fig. 9 (MNIST)",
        "β at which test accuracy is ½, less the published one, at H = .37 to .9 (smallest to largest over H)",
        _contour_difference,
        expected=0.0,
        tolerance=0.06,
        source="figure",
        tiers=("paper",),
    ),
    Claim(
        "marion2025.17.contour-at-full-size",
        "The same at H = .9 with all images and five epochs.",
        "Fig. 9 (MNIST)",
        "β at which test accuracy is ½, H = .9",
        _crossing_at_full_size(GRID[9]),
        expected=CONTOUR[GRID[9]],
        tolerance=0.06,
        source="figure",
        tiers=("paper",),
    ),
    Claim(
        "marion2025.17.accuracy-at-full-size",
        "Where they learn, networks are right on 94 to 98 % of the test images.",
        "Fig. 9 (MNIST)",
        "test accuracy less the published one, over the cells trained as published where that is .9 or more",
        _cell_differences,
        expected=0.0,
        tolerance=0.03,
        source="figure",
        tiers=("paper",),
    ),
    Claim(
        "marion2025.17.above",
        "Above the line every network learns.",
        "Fig. 9 (MNIST)",
        "smallest test accuracy more than .1 above the published line",
        _share(1),
        expected=0.5,
        tolerance=0.0,
        source="figure",
        relation="at least",
    ),
    Claim(
        "marion2025.17.below",
        "Below the line none does, whatever the learning rate.",
        "Fig. 9 (MNIST)",
        "largest test accuracy more than .1 below the published line",
        _share(-1),
        expected=0.5,
        tolerance=0.0,
        source="figure",
        relation="at most",
    ),
)

STUDIES = (
    Study(
        name="figure9",
        title="Accuracy after training over roughness and scaling",
        text=(
            "For each Hurst index H of the initial weights over depth and each β a network res-1 (d = 30, L = 100, first and last "
            "map not trained) is trained on MNIST with Adam, and the best of several learning rates is kept. The published map: all "
            "60,000 images, 5 epochs, five rates from 1e-4 to 1, the best on the test set. Ours: fewer images, three rates, the best on "
            "validation images that are part of the training set, and the accuracy on the test set; some cells are trained as published "
            "at tier paper. A whole map as published takes about an hour and a half of one core."
        ),
        dtypes=(PRECISION,),
        tasks=_tasks,
        figures=(
            Figure(
                "figure9",
                "Accuracy on MNIST over H and β",
                "Left: smooth weights (large H) need a larger β. Right: where accuracy is ½, ours and the published line; both lie "
                "below the line on which the states at initialisation keep their size as L grows.",
                _panels,
                "Fig. 9",
            ),
        ),
        claims=CLAIMS,
    ),
)
