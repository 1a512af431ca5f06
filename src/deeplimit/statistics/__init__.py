"""Numbers of a stack of tensors over depth: norms, sums, increments, roughness; with intervals. When a curve peaks."""

from __future__ import annotations

from deeplimit.statistics.depth import STATISTICS, depth_statistics
from deeplimit.statistics.intervals import bootstrap, statistic_intervals
from deeplimit.statistics.norms import ConvolutionOperator, Frobenius, Norm, Spectral
from deeplimit.statistics.peaks import WITHIN, Peak, peak_time
from deeplimit.statistics.roughness import hurst, variation_ratio, variogram
from deeplimit.statistics.smoothness import smoothness

__all__ = [
    "STATISTICS",
    "WITHIN",
    "ConvolutionOperator",
    "Frobenius",
    "Norm",
    "Peak",
    "Spectral",
    "bootstrap",
    "depth_statistics",
    "hurst",
    "peak_time",
    "smoothness",
    "statistic_intervals",
    "variation_ratio",
    "variogram",
]
