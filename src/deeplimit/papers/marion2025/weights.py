"""Figure 8: weights over depth before and after training on MNIST, from smooth and from independent layers (row 18)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.measures import At, Entry, HeldOut, Measure, Memory, Observation, Schedule, View
from deeplimit.papers.marion2024.common import only
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
from deeplimit.processes import IID, GaussianProcess, Normal, Process
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import SGD, Adam, Optimizer, TrainingRun

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

STARTS: dict[str, tuple[float, Process]] = {
    "smooth, β = 1": (1.0, GaussianProcess(0.1, STD)),
    "i.i.d., β = 1": (1.0, IID(Normal(STD))),
    "i.i.d., β = ½": (0.5, IID(Normal(STD))),
}
"""The three panels: β and the process of V. The smooth one is the corrected version, values of a Gaussian process."""

SMOOTH, ROUGH, ROUGH_HALF = STARTS
ADAM = Adam(1e-2)
"""The same rate in all epochs (released code, the corrected configuration)."""

# A layer's gradient is of order L^(−β): with these steps the function moves at a speed that does not depend on L.
DESCENT: dict[str, Optimizer] = {
    SMOOTH: SGD(0.3, layer_factor=True),
    ROUGH: SGD(0.3, layer_factor=True),
    ROUGH_HALF: SGD(0.1),
}
OPTIMIZERS = ("Adam", "gradient descent")

DEPTH = Tiered(quick=128, paper=1000)
IMAGES = Tiered(quick=2_048, paper=TRAIN_IMAGES)
EPOCHS = Tiered(quick=6, paper=30, full=300)
TESTED = Tiered(quick=2_000, paper=TEST_IMAGES)
SEED = 0
ENTRY = (12, 20)
"""The weight that is shown; any would do, the paper draws one at random."""

DEPTHS = Tiered(quick=(32, 64, 128, 256), paper=(64, 128, 256, 512))
REPLICATE_IMAGES, REPLICATE_EPOCHS = Tiered(quick=2_048, paper=6_400), 2

LABELS = ("no order", "rough", "smooth", "undecided")
"""The verdicts of `regimes.smoothness` by number."""


@dataclass(frozen=True)
class DepthProfile(Measure):
    """How the weights of each layered role that is a matrix, and their change since the start, vary over depth.

    Quantities, with WHAT one of `weights` and (after the start) `change`:
        `increment.WHAT`: (mean_k ‖A_{k+1} − A_k‖² / mean_k ‖A_k‖²)^{1/2}: √2 for independent layers, O(1/L) for smooth weights.
        `hurst.WHAT`, `hurst.WHAT.low`, `hurst.WHAT.high`: pooled Hurst index over lags 1, 2, 4 with its interval.
        `verdict.WHAT`: number in `LABELS` of what the weights of one network show by themselves.
        `movement`: ‖V(t) − V(0)‖ / ‖V(0)‖.
    """

    at: Schedule

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """All of them, of the role V."""
        weights, start = view.params["V"].double(), view.initial["V"].double()
        yield from _profile("weights", weights)
        if view.iteration > 0:
            change = weights - start
            yield from _profile("change", change)
            yield Observation("movement", change.flatten(1).norm(dim=1) / start.flatten(1).norm(dim=1))


def _profile(what: str, weights: Tensor) -> Iterator[Observation]:
    """The quantities of weights `[E, L, d, d]`."""
    import torch

    from deeplimit.regimes import smoothness
    from deeplimit.statistics import hurst

    level = weights.square().flatten(1).mean(1)
    steps = weights.diff(dim=1).square().flatten(1).mean(1)
    yield Observation(f"increment.{what}", (steps / level).sqrt())
    members = weights.unbind(0)
    indices = [hurst(one.flatten(1).T) for one in members]
    for name, numbers in (
        ("", [index.value for index in indices]),
        (".low", [index.low for index in indices]),
        (".high", [index.high for index in indices]),
    ):
        yield Observation(f"hurst.{what}{name}", torch.tensor(numbers))
    labels = [smoothness(one[None]).label for one in members]
    verdicts = [float(LABELS.index("smooth" if label == "tied" else label)) for label in labels]
    yield Observation(f"verdict.{what}", torch.tensor(verdicts))


def _tasks(settings: Settings) -> Iterator[Task]:
    """The networks of the figure, then several depths and seeds for a short time."""
    depth, images, epochs = settings.pick(DEPTH), settings.pick(IMAGES), settings.pick(EPOCHS)
    for start in STARTS:
        ends = _ends(images, epochs)
        seen = (Entry("V", ENTRY, at=ends), HeldOut(digits("test", settings.pick(TESTED)), at=ends))
        yield _run(start, depth, images=images, epochs=epochs, more=seen, labels={"part": "figure"})
    for start, optimizer in product(STARTS, OPTIMIZERS) if settings.seeds() else ():
        for depth in settings.pick(DEPTHS):
            labels = {"part": "depths", "optimizer": optimizer}
            run = _run(start, depth, images=settings.pick(REPLICATE_IMAGES), epochs=REPLICATE_EPOCHS, labels=labels)
            yield dataclasses.replace(
                run, seeds=settings.seeds(), optimizer=ADAM if optimizer == "Adam" else DESCENT[start]
            )


def _ends(images: int, epochs: int) -> At:
    return At((0, updates(images, epochs)))


def _run(
    start: str,
    depth: int,
    *,
    images: int,
    epochs: int,
    more: tuple[Measure, ...] = (),
    labels: Mapping[str, str],
) -> TrainingRun:
    """One network, trained by Adam."""
    beta, process = STARTS[start]
    return TrainingRun(
        networks=(res1(depth, beta, weights=process),),
        data=digits(samples=None if images == TRAIN_IMAGES else images),
        optimizer=ADAM,
        iterations=updates(images, epochs),
        measures=(DepthProfile(_ends(images, epochs)), *more),
        seeds=(SEED,),
        loss=LOSS,
        dtype=PRECISION,
        batches=BATCHES,
        keep_weights=False,
        labels={"start": start, **labels},
    )


# ------------------------------------------------------------------------------------------------------------- measured


def _verdict(start: str) -> Callable[[pl.DataFrame], Measured]:
    """The number of the verdict on the figure's network after training."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(_after(rows), part="figure", start=start, quantity="verdict.weights")
        return Measured.spread(own["value"].to_list(), "one network")

    return measure


def _hurst(start: str) -> Callable[[pl.DataFrame], Measured]:
    """The Hurst index of the figure's network after training."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(_after(rows), part="figure", start=start)
        ends = ("", ".low", ".high")
        value, low, high = (only(own, quantity=f"hurst.weights{end}")["value"].item() for end in ends)
        return Measured(value, low, high, 1, "lags 1, 2, 4; 95 % bootstrap over entries of one network")

    return measure


def _exponent(start: str, quantity: str, optimizer: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in L of a number after training, over seeds."""

    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(only(_after(rows), optimizer=optimizer, start=start, quantity=quantity))

    return measure


def _after(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.filter(pl.col("iteration") > 0)


# -------------------------------------------------------------------------------------------------------------- figures


def _entries(rows: pl.DataFrame) -> Sequence[Panel]:
    """One panel per start: the weight before and after training, and its change."""
    panels = []
    for start in STARTS:
        own = only(rows, part="figure", start=start, quantity="entry.V").sort("index")
        before, after = (own.filter(iteration=t) for t in (0, own["iteration"].max()))
        if before.is_empty() or before.height != after.height:
            raise LookupError(f"no weights before and after training with start {start}")
        curves = (
            Curve(before["index"].to_list(), before["value"].to_list(), "before training"),
            Curve(after["index"].to_list(), after["value"].to_list(), "after training"),
            Curve(after["index"].to_list(), (after["value"] - before["value"]).to_list(), "change"),
        )
        panels.append(Panel(curves, "layer k", "one entry of V_k", start))
    return panels


def _rates(rows: pl.DataFrame) -> Sequence[Panel]:
    """Increments beside levels against depth: of the weights after training, and of their change by each optimiser."""
    chosen = (
        ("increment.weights", "Adam", "weights after training, Adam"),
        ("increment.change", "Adam", "their change, Adam"),
        ("increment.change", "gradient descent", "their change, gradient descent"),
    )
    panels = []
    for quantity, optimizer, title in chosen:
        own = only(_after(rows), optimizer=optimizer, quantity=quantity)
        curves = [_mean_curve(only(own, start=start), start) for start in STARTS]
        panels.append(Panel(curves, "depth L", "increment / level", title, "log", "log"))
    return panels


def _mean_curve(rows: pl.DataFrame, label: str) -> Curve:
    """Mean over seeds with the range over seeds."""
    import polars as pl

    value = pl.col("value")
    table = rows.group_by("depth").agg(value.mean().alias("mean"), value.min().alias("low"), value.max().alias("high"))
    columns = (table.sort("depth")[name].to_list() for name in ("depth", "mean", "low", "high"))
    x, y, low, high = columns
    return Curve(x, y, label, low, high)


# --------------------------------------------------------------------------------------------------------------- claims


VERDICTS = "verdict on the network alone: " + ", ".join(f"{i} {label}" for i, label in enumerate(LABELS))


def _not_smooth(start: str, name: str) -> Claim:
    return Claim(
        f"marion2025.18.{name}",
        f"Weights that started {start} are not smooth over depth after training.",
        "Fig. 8",
        VERDICTS,
        _verdict(start),
        expected=float(LABELS.index("rough")),
        tolerance=0.0,
        source="figure",
        relation="at most",
    )


def _hurst_claim(start: str, name: str, *, expected: float) -> Claim:
    return Claim(
        f"marion2025.18.{name}",
        f"Weights that started {start} have the Hurst index of {'smooth weights' if expected else 'white noise'} after training.",
        "Fig. 8",
        "Hurst index of the trained weights over depth, pooled over entries (1 is all that can be seen of smooth weights)",
        _hurst(start),
        expected=expected,
        tolerance=0.05,
        source="derived",
    )


def _exponent_claim(name: str, statement: str, start: str, *, expected: float, change_by: str = "") -> Claim:
    """On increments of the weights after training by Adam, or of their change by some optimiser."""
    what = f"change of the weights by {change_by}" if change_by else "weights after training by Adam"
    return Claim(
        f"marion2025.18.{name}",
        statement,
        "Fig. 8",
        f"exponent in L of the root mean square increment over level of the {what}; {start}",
        _exponent(start, "increment.change" if change_by else "increment.weights", change_by or "Adam"),
        expected=expected,
        tolerance=0.1,
        source="derived",
        # Adam's own rates are measured, and nothing predicts them.
        relation="at most" if change_by == "Adam" else "within",
        minimum_sample=5,
    )


CLAIMS = (
    Claim(
        "marion2025.18.smooth-stays-smooth",
        "Weights that started smooth are smooth over depth after training.",
        "Fig. 8",
        VERDICTS,
        _verdict(SMOOTH),
        expected=float(LABELS.index("smooth")),
        tolerance=0.0,
        source="figure",
    ),
    _not_smooth(ROUGH, "rough-stays-rough"),
    _not_smooth(ROUGH_HALF, "rough-stays-rough-half"),
    _hurst_claim(SMOOTH, "smooth-hurst", expected=1.0),
    _hurst_claim(ROUGH, "rough-hurst", expected=0.0),
    _hurst_claim(ROUGH_HALF, "rough-hurst-half", expected=0.0),
    _exponent_claim("smooth-increments", "From smooth weights, trained increments are O(1/L).", SMOOTH, expected=-1.0),
    _exponent_claim("rough-increments", "From independent layers, trained increments are O(1).", ROUGH, expected=0.0),
    _exponent_claim("rough-increments-half", "The same with β = ½.", ROUGH_HALF, expected=0.0),
    _exponent_claim(
        "trend-and-noise",
        "Trained weights are a trend and the noise that they started as: the increments of their change vanish as L grows.",
        ROUGH,
        expected=-0.2,
        change_by="Adam",
    ),
    _exponent_claim("trend-and-noise-half", "The same with β = ½.", ROUGH_HALF, expected=-0.2, change_by="Adam"),
    _exponent_claim(
        "trend-of-descent",
        "States and gradients change by O(1/L) from layer to layer at β = 1, and so does what gradient descent adds.",
        ROUGH,
        expected=-1.0,
        change_by="gradient descent",
    ),
    _exponent_claim(
        "trend-of-descent-half",
        "At β = ½ they change by O(L^(−½)), as a Brownian path: so does what gradient descent adds.",
        ROUGH_HALF,
        expected=-0.5,
        change_by="gradient descent",
    ),
)

STUDIES = (
    Study(
        name="figure8",
        title="Weights over depth before and after training",
        text=(
            "Networks res-1 (d = 30, ReLU) are trained on MNIST with Adam at 0.01 and batches of 128, from values of a "
            "smooth Gaussian process (length 0.1) and from independent layers; one weight is shown at every layer. The "
            "paper trains L = 1000 for 300 epochs, as tier full does. Tier paper here trains for 30 (one takes a quarter of "
            "a minute a network), tier quick for 6 epochs of 2048 images at L = 128. Five seeds at several depths, trained "
            "for two epochs, give the rates at which increments fall with L, of the weights and of their change, by Adam "
            "and by gradient descent. States and gradients change by O(L^(−β)) from layer to layer where layers are "
            "independent, and so does what gradient descent adds. An Adam step is close to the sign of a gradient, which "
            "jumps where the gradient crosses 0: what it adds is rougher."
        ),
        replicates=5,
        dtypes=(PRECISION,),
        tasks=_tasks,
        figures=(
            Figure(
                "figure8",
                "One weight against the layer",
                "Smooth weights stay smooth, independent ones stay rough: training adds a change that is itself far smoother over depth "
                "than the noise it is added to.",
                _entries,
                "Fig. 8",
            ),
            Figure(
                "figure8-rates",
                "Increments against depth after training",
                "Mean and range over seeds. Left: O(1/L) from smooth weights, √2 or near it from independent layers. Right: the change "
                "alone.",
                _rates,
            ),
        ),
        claims=CLAIMS,
    ),
)
