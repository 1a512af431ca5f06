"""Which regime a trained network is in, and whether its depth is used: from its weights alone, or with a batch of inputs.

The callbacks for Lightning and for Hugging Face's Trainer lie in `diagnosis.lightning` and `diagnosis.transformers`, which import those
libraries.
"""

from __future__ import annotations

from deeplimit.diagnosis.group import Group, LeftOut, Pair, Role
from deeplimit.diagnosis.monitor import DepthMonitor, DepthWarning, Measurement
from deeplimit.diagnosis.report import Consequence, Finding, GroupReport, Passage, Profile, Report, Verdict
from deeplimit.diagnosis.source import Source

__all__ = [
    "Consequence",
    "DepthMonitor",
    "DepthWarning",
    "Finding",
    "Group",
    "GroupReport",
    "LeftOut",
    "Measurement",
    "Pair",
    "Passage",
    "Profile",
    "Report",
    "Role",
    "Source",
    "Verdict",
]
