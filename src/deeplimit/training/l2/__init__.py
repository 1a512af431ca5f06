"""The L2 coefficient while a network is trained: AutoL2.

The callbacks for Lightning and for Hugging Face's Trainer lie in `l2.lightning` and `l2.transformers`, which import those libraries.
"""

from __future__ import annotations

from deeplimit.training.l2.autol2 import AutoL2, decay_groups
from deeplimit.training.l2.rules import PublishedRule, RobustRule, Rule, RuleState, Signal, Track

__all__ = ["AutoL2", "PublishedRule", "RobustRule", "Rule", "RuleState", "Signal", "Track", "decay_groups"]
