"""Weights as a function of depth: independent, tied, rough, smooth.

`process.sample(shape, generator)` gives a path; `path(L)` stacked weights.
"""

from __future__ import annotations

from deeplimit.processes.distributions import Distribution, Normal, Uniform
from deeplimit.processes.fractional import FractionalBrownianMotion, FractionalNoise
from deeplimit.processes.functions import Function, GaussianProcess
from deeplimit.processes.layers import IID, Constant, Tied, Zero
from deeplimit.processes.process import ContinuousPath, Path, Process
from deeplimit.processes.scaled import DepthScaled
from deeplimit.processes.trend_and_noise import TrendAndNoise, TrendAndNoisePath

__all__ = [
    "IID",
    "Constant",
    "ContinuousPath",
    "DepthScaled",
    "Distribution",
    "FractionalBrownianMotion",
    "FractionalNoise",
    "Function",
    "GaussianProcess",
    "Normal",
    "Path",
    "Process",
    "Tied",
    "TrendAndNoise",
    "TrendAndNoisePath",
    "Uniform",
    "Zero",
]
