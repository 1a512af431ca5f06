"""Studies: what a paper, or a user's file, asks of networks, and the way from there to a report.

`Study` describes; `plan` says which runs it comes to; `carry_out` computes those that are missing, judges the claims and writes the report.
"""

from __future__ import annotations

from deeplimit.study.again import subject_of_file
from deeplimit.study.description import Study
from deeplimit.study.folders import foresee
from deeplimit.study.outcome import Conclusion, carry_out, conclude, copy_of_file, unexpected
from deeplimit.study.plan import Plan, expectations, gather, plan, seconds_of
from deeplimit.study.settings import TIERS, Settings, Tiered
from deeplimit.study.stale import stale
from deeplimit.study.subject import Request, Subject, load_file, remembered
from deeplimit.sweeps import Execution

__all__ = [
    "TIERS",
    "Conclusion",
    "Execution",
    "Plan",
    "Request",
    "Settings",
    "Study",
    "Subject",
    "Tiered",
    "carry_out",
    "conclude",
    "copy_of_file",
    "expectations",
    "foresee",
    "gather",
    "load_file",
    "plan",
    "remembered",
    "seconds_of",
    "stale",
    "subject_of_file",
    "unexpected",
]
