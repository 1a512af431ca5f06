"""Training over stacked tensors: losses, optimisers, the step, and the run that a study is made of."""

from __future__ import annotations

from deeplimit.training.losses import LossFunction, SquaredError
from deeplimit.training.members import checksum, draw_members
from deeplimit.training.optimizers import SGD, Adam, CoordinateClip, GradientFlow, NormClip, Optimizer, TorchOptimizer
from deeplimit.training.run import TrainingRun
from deeplimit.training.step import Info, State, Step

__all__ = [
    "SGD",
    "Adam",
    "CoordinateClip",
    "GradientFlow",
    "Info",
    "LossFunction",
    "NormClip",
    "Optimizer",
    "SquaredError",
    "State",
    "Step",
    "TorchOptimizer",
    "TrainingRun",
    "checksum",
    "draw_members",
]
