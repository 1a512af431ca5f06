"""Convolutional networks on CIFAR-10: a small one, and the wide residual network of Figure 1 (rows 1 and 6 of the checklist)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deeplimit.claims import Claim, Measured
from deeplimit.data import OVERALL, Chain, FixedPairs, Flip, Images, Mixup, PaddedCrop
from deeplimit.figures import Figure, Panel
from deeplimit.measures import Every, FullLoss, Geometric, HeldOut
from deeplimit.networks import Convolutional, WideResidual
from deeplimit.papers.lewkowycz2020.contest import claims, figure, rules
from deeplimit.papers.lewkowycz2020.law import best_fit, clock_panel, definitions_panel, slope
from deeplimit.papers.lewkowycz2020.reading import horizon
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import SGD, Batches, CrossEntropy, TrainingRun

if TYPE_CHECKING:
    import polars as pl

    from deeplimit.measures import Schedule
    from deeplimit.records import Label

MOMENTUM = 0.9
RATE = 0.02
"""That of the authors, 0.2, in the convention of a mean cross-entropy: 0.2/K."""
SET = "cifar-10"

SMALL = Convolutional(((16,), (32,), (64,)), hidden=(64,), pool=2, norm=True)
"""Fits 5,000 images to 99.9 % within a minute of a core."""
SAMPLES: Tiered[tuple[int, ...]] = Tiered(quick=(2_000, 1_000, 1_000), paper=(5_000, 2_000, 2_000))
LAW: Tiered[tuple[float, ...]] = Tiered(quick=(), paper=(1e-1, 3e-2, 1e-2))
CONSTANT: Tiered[tuple[float, ...]] = Tiered(quick=(3e-2, 3e-3, 0.0), paper=(1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 0.0))
BUDGET = Tiered(quick=300, paper=1_000)
START = 0.3
"""λ of AutoL2 at the start."""

AUTHORS_START, AUTHORS_CONSTANT = 2.0, 2e-3
"""λ = 2K L2 for L2 = 0.1 and 1e-4 of the released code."""
WIDE = Tiered(paper=WideResidual(1, 1, base=8), full=WideResidual(4, 10))
WIDE_BATCH = Tiered(paper=125, full=1024)
WIDE_STEPS = Tiered(paper=1_000, full=9_600)
WIDE_CONSTANTS: Tiered[tuple[float, ...]] = Tiered(
    paper=(2e-2, AUTHORS_CONSTANT, 0.0), full=(1e-2, AUTHORS_CONSTANT, 0.0)
)
AUGMENTED = Chain((Flip(), PaddedCrop(4, published=True), Mixup()))


def _described(
    network: Convolutional | WideResidual, weight_decay: float, *, iterations: int, setting: str, **parts: Any
) -> TrainingRun:
    """A run with the authors' learning rate and momentum."""
    optimizer = SGD(RATE, MOMENTUM, weight_decay)
    labels: dict[str, Label] = {
        "learning_rate": RATE,
        "weight_decay": weight_decay,
        "momentum": MOMENTUM,
        "setting": setting,
    }
    common: dict[str, Any] = {"loss": CrossEntropy(), "dtype": "float32", "keep_weights": False}
    return TrainingRun((network,), optimizer=optimizer, iterations=iterations, labels=labels, **common, **parts)


def _split(part: str, samples: int, *, offset: int = 0) -> FixedPairs:
    """The same images for all seeds, standardised by the mean and deviation of all pixels of their part."""
    scale = OVERALL[SET, part]
    return FixedPairs(Images(SET, part, samples, offset, scale=scale, flatten=False, targets="labels"))


def _held_out(at: Schedule, validation: int, *, test: int, chunk: int = 1000) -> tuple[HeldOut, HeldOut]:
    """Batch statistics make an accuracy one of batches of `chunk` images."""
    aside = _split("train", validation, offset=50_000 - validation)
    return HeldOut(aside, at, chunk, name="validation"), HeldOut(_split("test", test), at, chunk)


def _small_tasks(settings: Settings) -> Iterator[Task]:
    train, validation, test = settings.pick(SAMPLES)
    parts: dict[str, Any] = {
        "data": _split("train", train),
        "measures": (*_held_out(Geometric(16), validation, test=test), FullLoss(accuracy=True)),
        "batches": Batches(100),
        "seeds": settings.seeds(),
    }
    law, budget = settings.pick(LAW), settings.pick(BUDGET)
    for decay in settings.pick(CONSTANT):
        steps = max(budget, horizon(RATE, decay, momentum=MOMENTUM) if decay in law else 0)
        yield _described(SMALL, decay, iterations=steps, setting="constant", **parts)
    for name, rule in rules(budget).items():
        yield _described(SMALL, START, iterations=budget, setting=name, rule=rule, **parts)


def _wide_tasks(settings: Settings) -> Iterator[Task]:
    steps, network = settings.pick(WIDE_STEPS), settings.pick(WIDE)
    # Batches of 1,024 images would leave a rest, which the authors drop: 48 batches an epoch are 49,152 images.
    size = settings.pick(WIDE_BATCH)
    images = 49_152 if size == 1024 else 45_000
    parts: dict[str, Any] = {
        "data": _split("train", images),
        "measures": _held_out(Every(steps // 40), 50_000 - images, test=10_000 if size == 1024 else 2_000),
        "batches": Batches(size),
        "augmentation": AUGMENTED,
        "seeds": settings.seeds(),
    }
    for decay in settings.pick(WIDE_CONSTANTS):
        yield _described(network, decay, iterations=steps, setting="constant", **parts)
    for name, rule in rules(steps).items():
        yield _described(network, AUTHORS_START, iterations=steps, setting=name, rule=rule, **parts)


def _constants(rows: pl.DataFrame) -> pl.DataFrame:
    return only(rows, setting="constant")


def _fits(rows: pl.DataFrame) -> Measured:
    """The best training accuracy of the constants."""
    return best_fit(_constants(rows))


def _law(rows: pl.DataFrame) -> list[Panel]:
    own = _constants(rows)
    return [definitions_panel(own), clock_panel({"small network": own})]


SMALL_STUDY = Study(
    "cifar",
    title="A small convolutional network on CIFAR-10",
    text=(
        "Three convolutions of 16, 32 and 64 channels with batch normalisation on 5,000 images, momentum 0.9 and the authors' learning"
        " rate: the time law over a decade of λ, and AutoL2 against a grid of constants. The quick tier takes 2,000"
        " images, one seed and three constants. `deeplimit data fetch cifar-10` brings the files."
    ),
    replicates=Tiered(quick=1, paper=3, full=5),
    tasks=_small_tasks,
    figures=(
        Figure(
            "cifar-clock",
            "t* against λ, and on the clock: a convolutional network",
            "As for the fully connected network. A decay time is (1 − m)/(ηλ).",
            _law,
        ),
        figure("cifar-autol2", "a convolutional network", where="Figure 1c (there a wide residual network)"),
    ),
    claims=(
        Claim(
            "lewkowycz2020.1.cifar-fits",
            "The small convolutional network fits its training set.",
            "condition of the law",
            "best final training accuracy over λ",
            _fits,
            expected=1.0,
            tolerance=0.005,
            source="derived",
            tiers=("paper",),
        ),
        Claim(
            "lewkowycz2020.1.cifar-slope",
            "Performance peaks at a time t* proportional to 1/λ: a convolutional network on CIFAR-10.",
            "abstract (the time law)",
            "slope of log t* against log λ, 0.5 points, validation split",
            lambda rows: slope(_constants(rows)),
            expected=-1.0,
            tolerance=0.15,
            source="text",
            tiers=("paper",),
            minimum_sample=3,
        ),
        *claims("cifar-", "a convolutional network on CIFAR-10"),
    ),
)

WIDE_STUDY = Study(
    "wide-residual",
    title="The wide residual network of Figure 1",
    text=(
        "The authors' recipe (WRN, batch statistics in evaluation too, flip, padded crop and mixup of each sample, momentum 0.9,"
        " learning rate 0.2 and L2 from 0.1 in their convention, which is 0.02 and 2 here) without a learning-rate schedule. At the"
        " paper tier WRN-10 with 8, 16 and 32 channels and 1,000 steps of 125 images, which a CPU trains; WRN-28-10 with 200 epochs of"
        " batches of 1,024 at the full tier, for a GPU (`--tier full --only wide-residual --device cuda`). A run goes on from its last"
        " checkpoint."
    ),
    replicates=3,
    tasks=_wide_tasks,
    tiers=("paper", "full"),
    figures=(figure("wide-residual", "a wide residual network", where="Figure 1c"),),
    claims=tuple(claims("wide-", "a wide residual network on CIFAR-10", tiers=("full",))),
)
