"""Observations of networks in training: one kind per file; the interface is in `measure`."""

from __future__ import annotations

from deeplimit.measures.blocks import BlockNorms
from deeplimit.measures.depths import StateDistance, WeightDistance
from deeplimit.measures.gaps import LayerGaps
from deeplimit.measures.gradients import LayerGradients, PLRatio
from deeplimit.measures.held_out import FullLoss, HeldOut, accuracy_of
from deeplimit.measures.measure import (
    At,
    Comparison,
    Every,
    Geometric,
    Last,
    Measure,
    Memory,
    Observation,
    Schedule,
    View,
)
from deeplimit.measures.progress import BatchMeans, Drift, Entry, Loss, SeedSpread
from deeplimit.measures.smoothness import Smoothness
from deeplimit.measures.statistics import DepthStatistics

__all__ = [
    "At",
    "BatchMeans",
    "BlockNorms",
    "Comparison",
    "DepthStatistics",
    "Drift",
    "Entry",
    "Every",
    "FullLoss",
    "Geometric",
    "HeldOut",
    "Last",
    "LayerGaps",
    "LayerGradients",
    "Loss",
    "Measure",
    "Memory",
    "Observation",
    "PLRatio",
    "Schedule",
    "SeedSpread",
    "Smoothness",
    "StateDistance",
    "View",
    "WeightDistance",
    "accuracy_of",
]
