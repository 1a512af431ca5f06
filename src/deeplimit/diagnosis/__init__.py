"""Which regime a trained network is in, and whether its depth is used: from its weights alone, or with a batch of inputs."""

from __future__ import annotations

from deeplimit.diagnosis.group import Group, LeftOut, Pair, Role
from deeplimit.diagnosis.report import Consequence, Finding, GroupReport, Passage, Profile, Report, Verdict
from deeplimit.diagnosis.source import Source

__all__ = [
    "Consequence",
    "Finding",
    "Group",
    "GroupReport",
    "LeftOut",
    "Pair",
    "Passage",
    "Profile",
    "Report",
    "Role",
    "Source",
    "Verdict",
]
