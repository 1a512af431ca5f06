"""Fully connected networks on MNIST: what is trained, one run per coefficient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deeplimit.data import FixedPairs, Images, Standard
from deeplimit.measures import FullLoss, Geometric, HeldOut
from deeplimit.networks import FullyConnected
from deeplimit.papers.lewkowycz2020.reading import horizon
from deeplimit.study import Tiered
from deeplimit.training import SGD, Adam, Batches, CrossEntropy, TrainingRun

if TYPE_CHECKING:
    from deeplimit.records import Label
    from deeplimit.study import Settings

NETWORK = FullyConnected(784, (64, 64, 64), 10)
"""Three hidden layers of 64, a choice of ours: the sizes of the paper's are not in its released code."""
SCALE = Standard((0.1307,), (0.3081,))
"""Mean and standard deviation of all pixels of the training set."""
SAMPLES: Tiered[tuple[int, ...]] = Tiered(quick=(5_000, 1_000, 1_000), paper=(50_000, 5_000, 5_000))
"""Images trained on, of the validation split, and of the test set."""
BATCH = 100
RATE = 0.05
"""Small, because the noise of mini-batches moves the accuracy at large λ: t* is a matter of noise at larger rates."""
LAW: Tiered[tuple[float, ...]] = Tiered(quick=(1e-1, 3e-2, 1e-2), paper=(1e-1, 3e-2, 1e-2, 3e-3, 1e-3))
"""λ of the time law."""
LONGER = Tiered(quick=(1e-3, 1e-4, 0.0), paper=(3e-4, 1e-4, 0.0))
"""Smaller λ, and none, for fixed budgets."""
BUDGETS: Tiered[tuple[int, ...]] = Tiered(quick=(2_000, 5_000), paper=(6_000, 20_000))
"""Steps."""
REPLICATES = Tiered(quick=2, paper=5)


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
    at = Geometric(16)
    own: dict[str, Any] = {
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "momentum": optimizer.momentum if isinstance(optimizer, SGD) else 0.0,
    }
    described: dict[str, Any] = {
        "networks": (NETWORK,),
        "data": split("train", train),
        "measures": (
            HeldOut(split("train", validation, offset=60_000 - validation), at, name="validation"),
            HeldOut(split("test", test), at),
            FullLoss(accuracy=True),
        ),
        "seeds": settings.seeds(),
        "loss": CrossEntropy(),
        "dtype": "float32",
        "batches": Batches(BATCH),
        "keep_weights": False,
    }
    return TrainingRun(**{**described, **parts}, optimizer=optimizer, iterations=iterations, labels={**own, **labels})


def split(part: str, samples: int, *, offset: int = 0) -> FixedPairs:
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
