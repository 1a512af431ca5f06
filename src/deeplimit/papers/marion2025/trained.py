"""What the trained experiments share: the network res-1 on MNIST, and its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplimit.branches import OuterMatrix
from deeplimit.data import Images
from deeplimit.networks import Dense, ResidualStack
from deeplimit.scaling import DepthScaling
from deeplimit.training import Batches, CrossEntropy

if TYPE_CHECKING:
    from deeplimit.processes import Process

STATE = 30
"""d in Figures 8 and 9."""

STD = STATE**-0.5
"""Of the weights: variance 1/d."""

BATCHES = Batches(128)
LOSS = CrossEntropy()
PRECISION = "float32"
"""That of the released code; nothing here is near its rounding."""

TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000


def res1(depth: int, beta: float, *, weights: Process, bias: bool = False, train_ends: bool = True) -> ResidualStack:
    """h_0 = A x, h_{k+1} = h_k + L^(−β) (V_{k+1} ReLU(h_k) + c_{k+1}), F(x) = B h_L, from 784 pixels to 10 scores.

    A and B are normal with variance 1 / fan-in, c starts at 0 (released code, the version of the revision).

    Args:
        depth: L.
        beta: β.
        weights: the process of V.
        bias: whether c is there; the released code has it with fractional noise alone.
        train_ends: whether A and B are trained.
    """
    return ResidualStack(
        OuterMatrix(STATE, bias=bias),
        depth,
        DepthScaling(beta),
        init={"V": weights},
        embedding=Dense(784, STATE, 784**-0.5, train_ends),
        readout=Dense(STATE, 10, STD, train_ends),
    )


def digits(part: str = "train", samples: int | None = None, *, offset: int = 0) -> Images:
    """Images of MNIST as vectors of pixels in [0, 1], with their digit."""
    return Images("mnist", part, samples, offset, targets="labels")


def updates(images: int, epochs: int) -> int:
    """The number of updates in some epochs."""
    return epochs * BATCHES.per_epoch(images)
