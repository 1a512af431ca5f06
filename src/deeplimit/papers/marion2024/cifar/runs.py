"""The networks of Table 1: five activations, layers that start alike or apart, and the recipe of the released code."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from deeplimit.branches import GELU, Activation, Identity, ReLU, SiLU, Tanh
from deeplimit.data import CIFAR_CHANNELS, Chain, FixedPairs, Flip, Images, PaddedCrop
from deeplimit.measures import BatchMeans, Entry, Every, Geometric, HeldOut, Smoothness
from deeplimit.networks import ConvolutionalStack
from deeplimit.records import Task
from deeplimit.study import Settings, Tiered
from deeplimit.training import SGD, Batches, CosineDecay, CrossEntropy, TrainingRun

ACTIVATIONS: dict[str, Activation] = {
    "identity": Identity(),
    "GELU": GELU(),
    "ReLU": ReLU(),
    "tanh": Tanh(),
    "SiLU": SiLU(),
}
PAPERS = ("identity", "GELU", "ReLU")
"""Those of Table 1; the others are ours."""
STARTS = {"tied": True, "i.i.d.": False}

Cell = tuple[str, str]
"""Names of an activation and of a start."""

CHOSEN: Tiered[tuple[str, ...]] = Tiered(quick=PAPERS, paper=tuple(ACTIVATIONS))
DEPTH = Tiered(quick=32, paper=32, full=256)
IMAGES = Tiered(quick=9_600, paper=50_000, full=50_000)
TESTED = Tiered(quick=2_000, paper=10_000, full=10_000)
EPOCHS = Tiered(quick=4, paper=5, full=180)
BATCH = 64
RATE, MOMENTUM, WEIGHT_DECAY = 4e-2, 0.9, 5e-4
"""Of all parameters, without a factor L for the layers (released code)."""
AUGMENTED = Chain(
    # The released code crops before it standardises, as that of Cohen et al. does: the border is black.
    (PaddedCrop(4, border=tuple(-m / s for m, s in zip(CIFAR_CHANNELS.mean, CIFAR_CHANNELS.sd, strict=True))), Flip())
)
ROLES = ("conv1.W", "conv2.W")
ENTRY = (3, 5, 0, 2)
"""An arbitrary one: output and input channel, row and column."""


def images(part: str, samples: int) -> FixedPairs:
    """So many images of CIFAR-10, the same for all seeds."""
    return FixedPairs(Images("cifar-10", part, samples, scale=CIFAR_CHANNELS, flatten=False, targets="labels"))


def run_of(settings: Settings, which: Cell) -> TrainingRun:
    """All seeds of one cell of the table."""
    activation, start = which
    trained, epochs = settings.pick(IMAGES), settings.pick(EPOCHS)
    per_epoch = math.ceil(trained / BATCH)
    network = ConvolutionalStack(settings.pick(DEPTH), activation=ACTIVATIONS[activation], tied=STARTS[start])
    steps = epochs * per_epoch
    return TrainingRun(
        networks=(network,),
        data=images("train", trained),
        optimizer=SGD(RATE, MOMENTUM, WEIGHT_DECAY),
        iterations=steps,
        measures=(
            BatchMeans(Every(per_epoch)),
            HeldOut(images("test", settings.pick(TESTED)), Every(max(per_epoch, steps // 6)), chunk=100),
            Smoothness(Geometric(8), ROLES),
            *(Entry(role, ENTRY, Every(steps // 12)) for role in ROLES),
        ),
        seeds=settings.seeds(),
        loss=CrossEntropy(),
        dtype="float32",
        batches=Batches(BATCH),
        decay=CosineDecay(epochs),
        augmentation=AUGMENTED,
        labels={"activation": activation, "start": start},
    )


def tasks(settings: Settings) -> Iterator[Task]:
    """One run for each cell of the table."""
    chosen = settings.pick(CHOSEN)
    for which in itertools.product(chosen, STARTS):
        yield run_of(settings, which)
