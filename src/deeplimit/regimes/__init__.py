"""Which regime of depth a family of networks is in: verdicts on its weights and on its function."""

from __future__ import annotations

from deeplimit.networks.effective import effective
from deeplimit.regimes.function import FunctionVerdict
from deeplimit.regimes.observe import Passage, Runs, observe, passage_of
from deeplimit.regimes.precheck import Precheck, precheck
from deeplimit.regimes.verdict import Regime, Smoothness, regime, smoothness
from deeplimit.regimes.weights import WeightVerdict, judge_weights

__all__ = [
    "FunctionVerdict",
    "Passage",
    "Precheck",
    "Regime",
    "Runs",
    "Smoothness",
    "WeightVerdict",
    "effective",
    "judge_weights",
    "observe",
    "passage_of",
    "precheck",
    "regime",
    "smoothness",
]
