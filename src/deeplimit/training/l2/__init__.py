"""L2 for users: what a coefficient means elsewhere, which one to take for a budget, and AutoL2, which sets it during training.

The callbacks for Lightning and for Hugging Face's Trainer lie in `l2.lightning` and `l2.transformers`, which import those libraries.
"""

from __future__ import annotations

from deeplimit.training.l2.autol2 import AutoL2, decay_groups
from deeplimit.training.l2.conventions import CONVENTIONS, Convention, Converted, Setting, convert, shrinkage
from deeplimit.training.l2.predict import (
    Advice,
    Prediction,
    power_law_rule,
    predict_weight_decay,
    time_scale_rule,
    transfer,
)
from deeplimit.training.l2.probes import Attempt, Curve, Probe, Reading, Train, follow, probe
from deeplimit.training.l2.rules import PublishedRule, RobustRule, Rule, RuleState, Signal, Track

__all__ = [
    "CONVENTIONS",
    "Advice",
    "Attempt",
    "AutoL2",
    "Convention",
    "Converted",
    "Curve",
    "Prediction",
    "Probe",
    "PublishedRule",
    "Reading",
    "RobustRule",
    "Rule",
    "RuleState",
    "Setting",
    "Signal",
    "Track",
    "Train",
    "convert",
    "decay_groups",
    "follow",
    "power_law_rule",
    "predict_weight_decay",
    "probe",
    "shrinkage",
    "time_scale_rule",
    "transfer",
]
