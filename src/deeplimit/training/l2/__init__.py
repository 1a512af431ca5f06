"""The L2 coefficient while a network is trained: AutoL2."""

from __future__ import annotations

from deeplimit.training.l2.rules import PublishedRule, RobustRule, Rule, RuleState, Signal, Track

__all__ = ["PublishedRule", "RobustRule", "Rule", "RuleState", "Signal", "Track"]
