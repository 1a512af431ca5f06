"""The L2 clock: performance peaks at a time t_* that is proportional to 1/(ηλ) (rows 1, 2 and 10 of the checklist)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import mean_over_seeds, power_law
from deeplimit.papers.lewkowycz2020.law import HALF_POINT, WITHIN, banded, clock_panel, definitions_panel, slope, times
from deeplimit.papers.lewkowycz2020.mnist import LAW, RATE, REPLICATES, constants, run_of, split
from deeplimit.papers.lewkowycz2020.reading import TEST, VALIDATION, curves, geometric_mean, horizon, peaks
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study
from deeplimit.training import SGD

if TYPE_CHECKING:
    import polars as pl

RATES = (0.025, 0.1)
"""Further learning rates, at the three largest λ."""
FEW = 1_000
"""Images of which L2 decides more of the accuracy than half a point."""
FEW_LAW = (1e-1, 3e-2, 1e-2, 3e-3)
MOMENTUM_RATE, MOMENTUM_DECAY, MOMENTA = 0.02, 3e-2, (0.0, 0.5, 0.9)


def _tasks(settings: Settings) -> Iterator[Task]:
    yield from constants(settings)
    if settings.tier == "quick":
        return
    for rate in RATES:
        for decay in settings.pick(LAW)[:3]:
            steps, labels = horizon(rate, decay), {"setting": "constant"}
            yield run_of(settings, SGD(rate, weight_decay=decay), iterations=steps, labels=labels)
    for momentum in MOMENTA:
        steps = horizon(MOMENTUM_RATE, MOMENTUM_DECAY, momentum=momentum)
        optimizer = SGD(MOMENTUM_RATE, momentum, MOMENTUM_DECAY)
        yield run_of(settings, optimizer, iterations=steps, labels={"setting": "momentum"})
    for decay in FEW_LAW:
        optimizer, steps, labels = SGD(RATE, weight_decay=decay), horizon(RATE, decay), {"setting": "few"}
        yield run_of(settings, optimizer, iterations=steps, labels=labels, data=split("train", FEW))


def _main(rows: pl.DataFrame) -> pl.DataFrame:
    return only(rows, setting="constant", learning_rate=RATE)


def _slope(
    *, setting: str = "constant", within: float = HALF_POINT, quantity: str = VALIDATION
) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the slope of log t_* against log λ, at the learning rate of the law."""
    return lambda rows: slope(only(rows, setting=setting, learning_rate=RATE), within=within, quantity=quantity)


def _halved(rows: pl.DataFrame) -> Measured:
    """How far the slope moves when every run is cut to half of its horizon, by seed."""
    whole, half = (times(_main(rows), share=share) for share in (1.0, 0.5))
    slopes = [{seed: power_law(decays, own).value for seed, own in table.items()} for decays, table in (whole, half)]
    moved = [slopes[1][seed] - slopes[0][seed] for seed in slopes[0]]
    return mean_over_seeds(moved, "slope at half the horizon less slope")


def _halved_time(rows: pl.DataFrame) -> Measured:
    """How many times t_* doubles from half of the horizon to all of it, the mean over λ, by seed.

    Runs last a number of decay times, so that a t_* that is a share of the horizon, as of an accuracy that rises to the end whatever λ is,
    is proportional to 1/λ too, at half of the horizon as at all of it.
    """
    whole, half = (times(_main(rows), share=share) for share in (1.0, 0.5))
    doublings = []
    for seed in sorted(set(whole[1]) & set(half[1])):
        long, short = (dict(zip(decays, table[seed], strict=True)) for decays, table in (whole, half))
        both = [math.log2(long[decay] / short[decay]) for decay in long if decay in short]
        doublings.append(sum(both) / len(both))
    return mean_over_seeds(doublings, "log2 of t_* over t_* at half the horizon, mean over λ")


def _collapse(rows: pl.DataFrame) -> Measured:
    """Largest over smallest ηλ t_* over learning rates, each a geometric mean over λ, by seed."""
    found = [p for p in peaks(only(rows, setting="constant")) if p["weight_decay"] in LAW.at("paper")[:3]]
    ratios = []
    for seed in sorted({p["seed"] for p in found}):
        own = [p for p in found if p["seed"] == seed]
        rates = sorted({p["learning_rate"] for p in own})
        means = [
            geometric_mean([p["time"] * rate * p["weight_decay"] for p in own if p["learning_rate"] == rate])
            for rate in rates
        ]
        if len(means) < 3:
            raise LookupError(f"expected three learning rates, found {rates}")
        ratios.append(max(means) / min(means))
    return mean_over_seeds(ratios, "largest over smallest ηλ t_* of three learning rates")


def _momentum(momentum: float) -> Callable[[pl.DataFrame], Measured]:
    """The measure of log [ t_*(m) / ((1 − m) t_*(0)) ]."""

    def measure(rows: pl.DataFrame) -> Measured:
        found = peaks(only(rows, setting="momentum"))
        by_seed: dict[int, dict[float, float]] = {}
        for peak in found:
            by_seed.setdefault(peak["seed"], {})[peak["momentum"]] = peak["time"]
        logs = [
            math.log(t[momentum] / ((1 - momentum) * t[0.0])) for t in by_seed.values() if {0.0, momentum} <= set(t)
        ]
        return mean_over_seeds(logs, f"log of t_* at m = {momentum:g} over (1 − m) t_* at m = 0")

    return measure


def _against_decay(rows: pl.DataFrame) -> list[Panel]:
    """t_* against λ for each definition, and for each learning rate in decay times."""
    own = only(rows, setting="constant")
    rates = {f"η = {rate:g}": only(own, learning_rate=rate) for rate in sorted(set(own["learning_rate"]))}
    return [definitions_panel(_main(rows)), clock_panel(rates)]


def _with_few(rows: pl.DataFrame) -> list[Panel]:
    """t_* of few images for each definition, and on the clock beside that of all."""
    few = only(rows, setting="few")
    return [definitions_panel(few), clock_panel({"all images": _main(rows), f"{FEW:,} images": few})]


def _against_momentum(rows: pl.DataFrame) -> list[Panel]:
    """t_* against 1 − m."""
    found: dict[float, list[float]] = {}
    for peak in peaks(only(rows, setting="momentum")):
        found.setdefault(1 - peak["momentum"], []).append(peak["time"])
    line = banded(found, "t*")
    guide = Curve(line.x, [line.y[-1] * x / line.x[-1] for x in line.x], "1 − m", style="dotted")
    return [Panel([line, guide], "1 − m", "t* (steps, 0.5 points)", xscale="log", yscale="log")]


def _accuracies(rows: pl.DataFrame) -> list[Panel]:
    """Validation accuracy against steps and against ηλt, a shade per λ."""
    own = only(rows, setting="constant", learning_rate=RATE, seed=rows["seed"].min())
    found = [(labels["weight_decay"], times, values) for labels, times, values in curves(own, VALIDATION)]
    kept = [(decay, t[1:], v[1:]) for decay, t, v in found if decay]
    if len(kept) < 2:
        raise LookupError(f"expected curves of two λ, found {len(kept)}")
    ends = min(d for d, *_ in kept), max(d for d, *_ in kept)
    span = math.log(ends[1] / ends[0])
    steps, clock = (
        [
            Curve([t * f for t in times], v, shade=math.log(d / ends[0]) / span)
            for d, times, v in kept
            for f in (factor(d),)
        ]
        for factor in (lambda d: 1.0, lambda d: RATE * d)
    )
    shades = {"shade_label": "log λ", "shade_range": (math.log10(ends[0]), math.log10(ends[1]))}
    return [
        Panel(steps, "step", "validation accuracy", xscale="log", **shades),  # type: ignore[arg-type]
        Panel(clock, "ηλt", "validation accuracy", xscale="log", **shades),  # type: ignore[arg-type]
    ]


STUDY = Study(
    "clock",
    title="When performance peaks",
    text=(
        "Fully connected ReLU networks on MNIST with plain SGD, one run per λ of 10 decay times 1/(ηλ). t* is the first step at which"
        " the smoothed accuracy on a validation split is within half a point of its maximum; other distances are computed too, and so"
        " is the paper's variant on the test set. A slope counts only if it stays when every run is cut in half, and so does t*. Where"
        " L2 gains less accuracy than the distance, t* is the time at which the network has learned, which knows nothing of λ: the"
        f" slope then is flatter than −1. {FEW:,} images, of which L2 decides more, show the law beside it. The quick tier takes three"
        " λ, one learning rate, two seeds and 5,000 images. `deeplimit data fetch mnist` brings the files."
    ),
    replicates=REPLICATES,
    tasks=_tasks,
    figures=(
        Figure(
            "clock",
            "t* against λ, and on the clock",
            "Left: t* for each definition, geometric mean and range over seeds, at one learning rate."
            " Right: t* (0.5 points) in decay times 1/(ηλ).",
            _against_decay,
            where="Figure 2 (fully connected)",
        ),
        Figure(
            "clock-few",
            f"The same with {FEW:,} images",
            "Left: t* for each definition. Right: t* (0.5 points) in decay times 1/(ηλ), beside that of all images.",
            _with_few,
        ),
        Figure(
            "clock-momentum",
            "t* against 1 − m",
            f"Heavy-ball momentum m at η = {MOMENTUM_RATE:g} and λ = {MOMENTUM_DECAY:g}; geometric mean and range over seeds.",
            _against_momentum,
        ),
        Figure(
            "clock-curves",
            "Validation accuracy against time",
            "One seed, from the largest λ (first to stop) to the smallest. Right: the same against ηλt.",
            _accuracies,
        ),
    ),
    claims=(
        *(
            Claim(
                f"lewkowycz2020.1.{kind}slope-{name}",
                f"Performance peaks at a time t* proportional to 1/λ{said}.",
                "abstract (the time law)",
                f"slope of log t* against log λ, t* by {name.replace('-', ' ')}, validation split{said}",
                _slope(setting=setting, within=within),
                expected=-1.0,
                tolerance=0.15,
                source="text",
                tiers=("paper",),
                minimum_sample=5,
            )
            for setting, kind, said in (("constant", "", ""), ("few", "few-", f", {FEW:,} images"))
            for name, within in WITHIN.items()
        ),
        Claim(
            "lewkowycz2020.1.slope-halved",
            "The slope is not an effect of how long the runs are.",
            "not in the paper",
            "slope with every run cut to half less the slope, t* by 0.5 points",
            _halved,
            expected=0.0,
            tolerance=0.15,
            source="derived",
            tiers=("paper",),
        ),
        Claim(
            "lewkowycz2020.1.time-halved",
            "t* is not an effect of how long the runs are: it does not double with the horizon.",
            "not in the paper",
            "log2 of t* over t* at half the horizon, mean over λ, by 0.5 points",
            _halved_time,
            expected=0.0,
            tolerance=0.5,
            source="derived",
            relation="at most",
            tiers=("paper",),
        ),
        Claim(
            "lewkowycz2020.2.collapse",
            "In units of 1/(ηλ) t* is the same for all learning rates, within a factor of 2.",
            "abstract (the time law)",
            "largest over smallest mean of ηλ t* over three learning rates",
            _collapse,
            expected=2.0,
            tolerance=0.0,
            source="derived",
            relation="at most",
            tiers=("paper",),
        ),
        *(
            Claim(
                f"lewkowycz2020.2.momentum-{momentum:g}",
                "Heavy-ball momentum m divides t* by 1/(1 − m), within a factor of 1.5.",
                "derived: the step grows to η/(1 − m)",
                f"log of t* at m = {momentum:g} over (1 − m) t* at m = 0",
                _momentum(momentum),
                expected=0.0,
                tolerance=math.log(1.5),
                source="derived",
                tiers=("paper",),
            )
            for momentum in MOMENTA[1:]
        ),
        Claim(
            "lewkowycz2020.10.slope-test",
            "The time law on the test set, as in the paper.",
            "abstract (the time law)",
            "slope of log t* against log λ, 0.5 points, test set",
            _slope(quantity=TEST),
            expected=-1.0,
            tolerance=0.15,
            source="text",
            tiers=("paper",),
            minimum_sample=5,
        ),
    ),
)
