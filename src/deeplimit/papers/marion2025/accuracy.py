"""Figure 9: how well networks can be trained, over the roughness H of their initial weights and the scaling β (row 17)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured, Ruling
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

EPOCHS = Tiered(quick=2, paper=5)
GRID = tuple(round(0.1 + 0.8 * i / 9, 4) for i in range(10))
"""The published values of H and of β."""

HURST: Tiered[tuple[float, ...]] = Tiered(quick=GRID[::3], paper=GRID)
BETA: Tiered[tuple[float, ...]] = Tiered(quick=GRID[:6], paper=GRID)
IMAGES = Tiered(quick=4_096, paper=12_800, full=58_000)
VALIDATION = Tiered(quick=1_000, paper=2_000)
TESTED = Tiered(quick=2_000, paper=TEST_IMAGES)
RATES = (1e-3, 1e-2, 1e-1)
PUBLISHED_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Size:
    """How cells are trained.

    Args:
        depth: L.
        train_ends: whether the first and the last map are trained.
        published: on all images for five epochs; on the images and epochs of the tier otherwise.
        rates: of Adam; the best is chosen on validation images, or where the size is the published one on the test set, as in the paper.
    """

    depth: int = 100
    train_ends: bool = True
    published: bool = True
    rates: tuple[float, ...] = PUBLISHED_RATES


# The released code has had L = 100 and L = 1000, ends trained and not: cells of each say which the published map can be of.
SIZES = {
    "reduced": Size(published=False, rates=RATES),
    "L = 100": Size(),
    "L = 100, ends frozen": Size(train_ends=False),
    "L = 1000": Size(1000, rates=(1e-4, 1e-3)),
}
ROUGHEST, SMOOTHEST = GRID[0], GRID[9]
CELLS: Tiered[dict[str, tuple[tuple[float, float], ...]]] = Tiered(
    quick={},
    paper={
        "L = 100": (*((SMOOTHEST, beta) for beta in (*GRID[:3], GRID[5])), (ROUGHEST, GRID[5])),
        "L = 100, ends frozen": ((SMOOTHEST, GRID[5]), (ROUGHEST, GRID[5])),
        "L = 1000": tuple((SMOOTHEST, beta) for beta in GRID[3:6]),
    },
)
"""Cells (H, β) that are trained at other sizes than the reduced one."""

GUESSING = 0.1
"""The accuracy of a network whose loss has stopped being finite."""

# Read off the published map (MNIST): the β of accuracy ½ by H. Below H = .37 it runs below β = .1.
CONTOUR = dict(zip(GRID[3:], (0.12, 0.15, 0.20, 0.27, 0.32, 0.39, 0.40), strict=True))


@dataclass(frozen=True)
class Validation(HeldOut):
    """What `HeldOut` measures, under the names `validation.loss` and `validation.accuracy`."""

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """Both means."""
        for seen in super().observe(view, memory):
            yield dataclasses.replace(seen, quantity=seen.quantity.replace("test", "validation"))


def _tasks(settings: Settings) -> Iterator[Task]:
    """The reduced map, then some cells at other sizes."""
    for hurst, beta in product(HURST.at(settings.tier), BETA.at(settings.tier)):
        yield _cell(settings, "reduced", hurst=hurst, beta=beta)
    for size, cells in settings.pick(CELLS).items():
        for hurst, beta in cells:
            yield _cell(settings, size, hurst=hurst, beta=beta)


def _cell(settings: Settings, name: str, *, hurst: float, beta: float) -> TrainingRun:
    """One cell: an ensemble over learning rates that shares weights, images and batches."""
    size = SIZES[name]
    images, epochs = (TRAIN_IMAGES, 5) if size.published else (settings.pick(IMAGES), settings.pick(EPOCHS))
    tested = digits("test", None if size.published else settings.pick(TESTED))
    validation = () if size.published else (Validation(digits(samples=settings.pick(VALIDATION), offset=images)),)
    weights = FractionalNoise(hurst, STD, finest=size.depth)
    return TrainingRun(
        networks=(res1(size.depth, beta, weights=weights, bias=True, train_ends=size.train_ends),),
        data=digits(samples=None if size.published else images),
        optimizer=Adam(size.rates),
        iterations=updates(images, epochs),
        measures=(HeldOut(tested), *validation),
        seeds=(0,) * len(size.rates),
        loss=LOSS,
        dtype=PRECISION,
        batches=BATCHES,
        decay=StepDecay(5, 0.1),
        keep_weights=False,
        labels={"size": name, "hurst": hurst, "beta": beta},
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
        raise LookupError(f"no cells of size {size}")
    criterion = "test.accuracy" if SIZES[size].published else "validation.accuracy"
    found = {}
    for (hurst, beta), cell in own.group_by("hurst", "beta"):
        score, test = (_by_rate(cell, quantity) for quantity in (criterion, "test.accuracy"))
        found[float(hurst), float(beta)] = test[max(score, key=score.__getitem__)] if score else GUESSING
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


def _learned(size: str) -> Callable[[pl.DataFrame], Measured]:
    """Accuracies at some size in the cells of its largest β, where the published ones are .94 and more."""

    def measure(rows: pl.DataFrame) -> Measured:
        found = [a for (_, beta), a in sorted(accuracies(rows, size).items()) if beta == GRID[5]]
        if not found:
            raise LookupError(f"no cells of size {size} at β = {GRID[5]}")
        return Measured.spread(found, "range over cells")

    return measure


def _crossing_of(size: str) -> Callable[[pl.DataFrame], Measured]:
    """Where accuracy is ½ at the largest H; between the two cells around it."""

    def measure(rows: pl.DataFrame) -> Measured:
        column = {beta: a for (hurst, beta), a in accuracies(rows, size).items() if hurst == SMOOTHEST}
        found = crossing(column)
        if found is None:
            raise LookupError(f"accuracy ½ is not crossed in the cells of size {size}")
        return Measured(found, found, found, 1, "linear between cells, one network a cell")

    return measure


def _fall(rows: pl.DataFrame) -> Measured:
    """How much better the roughest weights are trained than the smoothest, at a small β."""
    cells = accuracies(rows)
    rough, smooth = (cells.get((hurst, GRID[1])) for hurst in (ROUGHEST, SMOOTHEST))
    if rough is None or smooth is None:
        raise LookupError("a cell is not there")
    return Measured(rough - smooth, rough - smooth, rough - smooth, 1, "one network a cell")


def _smallest_above(rows: pl.DataFrame) -> Measured:
    """The smallest accuracy well above the published contour."""
    above = [a for (h, beta), a in accuracies(rows).items() if h in CONTOUR and beta > CONTOUR[h] + 0.1]
    if not above:
        raise LookupError("no cell is that far above the contour")
    return Measured(min(above), min(above), max(above), len(above), "smallest and largest of the cells")


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
    for size in ("L = 100", "L = 1000"):
        if size in rows["size"]:
            full = contour(accuracies(rows, size))
            curves.append(Curve(list(full), list(full.values()), f"{size}, all images", style="markers"))
    return Panel(curves, "H", "β", "where accuracy is ½")


def _crossing_claim(size: str, name: str) -> Claim:
    return Claim(
        f"marion2025.17.{name}",
        f"The published map is one of {size}, trained on all images for five epochs.",
        "Fig. 9 (MNIST)",
        f"β at which test accuracy is ½ at H = .9, {size}",
        _crossing_of(size),
        expected=CONTOUR[SMOOTHEST],
        tolerance=0.06,
        source="figure",
        tiers=("paper",),
        # At L = 100 the line is lower, at L = 1000 higher than the published one.
        expected_ruling="not reproduced",
    )


def _learned_claim(size: str, name: str, *, expected_ruling: Ruling = "reproduced") -> Claim:
    return Claim(
        f"marion2025.17.{name}",
        f"Networks of {size} that learn are right on 94 to 98 % of the test images after five epochs.",
        "Fig. 9 (MNIST)",
        f"test accuracy at β = .54, {size} (range over H)",
        _learned(size),
        expected=0.96,
        tolerance=0.02,
        source="figure",
        tiers=("paper",),
        expected_ruling=expected_ruling,
    )


CLAIMS = (
    Claim(
        "marion2025.17.smooth-needs-scaling",
        "Networks with a small β can be trained from rough weights (small H), not from smooth ones.",
        "Fig. 9 (MNIST)",
        f"test accuracy at H = .1 less that at H = .9, both at β = {GRID[1]:.2f}",
        _fall,
        expected=0.2,
        tolerance=0.0,
        source="figure",
        relation="at least",
    ),
    Claim(
        "marion2025.17.contour",
        "At L = 100 the line lies where it was published.",
        "Fig. 9 (MNIST)",
        "β at which test accuracy is ½, less the published one, at H = .37 to .9 (smallest to largest over H)",
        _contour_difference,
        expected=0.0,
        tolerance=0.06,
        source="figure",
        tiers=("paper",),
    ),
    _crossing_claim("L = 100", "contour-at-100"),
    _crossing_claim("L = 1000", "contour-at-1000"),
    _learned_claim("L = 100", "accuracy"),
    _learned_claim("L = 100, ends frozen", "accuracy-with-frozen-ends", expected_ruling="not reproduced"),
    Claim(
        "marion2025.17.above",
        "Above the published line every network learns.",
        "Fig. 9 (MNIST)",
        "smallest test accuracy more than .1 above that line",
        _smallest_above,
        expected=0.5,
        tolerance=0.0,
        source="figure",
        relation="at least",
    ),
)

STUDIES = (
    Study(
        name="figure9",
        title="Accuracy after training over roughness and scaling",
        text=(
            "For each Hurst index H of the initial weights over depth and each β a network res-1 (d = 30) is trained on MNIST with Adam, "
            "and the best of several learning rates is kept. The published map: all 60,000 images, 5 epochs (10 in the code since), five "
            "rates from 1e-4 to 1, the best on the test set; the code has had L = 100 and L = 1000, both ends trained or frozen. Ours: "
            "L = 100, both ends trained, fewer images (4096 for 2 epochs at tier quick, 12,800 for 5 at tier paper), three rates, the best "
            "on validation images from the training set, and the accuracy on the test set. At tier paper some cells are trained on all "
            "images for 5 epochs, at L = 100, at L = 1000 and with frozen ends. All 100 cells so, with five rates, would take about one "
            "and a half hours of one core at L = 100, and fifteen at L = 1000."
        ),
        dtypes=(PRECISION,),
        tasks=_tasks,
        figures=(
            Figure(
                "figure9",
                "Accuracy on MNIST over H and β",
                "Left: smooth weights (large H) need a larger β. Right: where accuracy is ½, ours and the published line. Both rise with "
                "H and lie below the line on which states keep their size as L grows: training repairs some explosion. Ours moves down "
                "with longer training, and up with L.",
                _panels,
                "Fig. 9",
            ),
        ),
        claims=CLAIMS,
    ),
)
