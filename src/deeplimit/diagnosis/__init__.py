"""Which regime a trained network is in, and whether its depth is used: from its weights alone, or with a batch of inputs.

The callbacks for Lightning and for Hugging Face's Trainer lie in `diagnosis.watching.lightning` and `diagnosis.watching.transformers`,
which import those libraries.
"""

from __future__ import annotations

from deeplimit.diagnosis.blocks.group import Group, LeftOut, Pair, Role
from deeplimit.diagnosis.report import Consequence, Finding, GroupReport, Passage, Profile, Report, Verdict
from deeplimit.diagnosis.sources.source import Source
from deeplimit.diagnosis.watching.monitor import DepthMonitor, DepthWarning, Measurement

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
