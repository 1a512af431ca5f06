"""Training over stacked tensors: losses, optimisers, the step, and the run that a study is made of."""

from __future__ import annotations

from deeplimit.training.batches import Batches, Feed, distinct_batches
from deeplimit.training.decay import CosineDecay, Decay, StepDecay
from deeplimit.training.losses import CrossEntropy, LossFunction, SquaredError
from deeplimit.training.members import checksum, draw_members
from deeplimit.training.optimizers import SGD, Adam, CoordinateClip, GradientFlow, NormClip, Optimizer, TorchOptimizer
from deeplimit.training.run import TrainingRun
from deeplimit.training.step import Info, State, Step
from deeplimit.training.stopping import EpochStop

__all__ = [
    "SGD",
    "Adam",
    "Batches",
    "CoordinateClip",
    "CosineDecay",
    "CrossEntropy",
    "Decay",
    "EpochStop",
    "Feed",
    "GradientFlow",
    "Info",
    "LossFunction",
    "NormClip",
    "Optimizer",
    "SquaredError",
    "State",
    "Step",
    "StepDecay",
    "TorchOptimizer",
    "TrainingRun",
    "checksum",
    "distinct_batches",
    "draw_members",
]
