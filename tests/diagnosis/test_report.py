"""A report as plain numbers and words."""

from __future__ import annotations

import json
import math

from deeplimit.claims import Measured
from deeplimit.diagnosis import Finding, GroupReport, Profile, Report, Verdict


def test_a_report_is_plain_json():
    verdict = Verdict("smooth", "why", "what else", {"ratio": Measured(0.1, 0.05, math.inf)})
    profile = Profile("mlp", "mlp", "invariant", (4, 4), {"norm": (1.0, math.nan)})
    finding = Finding("dead", (1,), "mlp", "adds nothing", 3.0)
    group = GroupReport("h", ("h.0", "h.1"), 4, verdict, verdict, (profile,), findings=(finding,))
    found = json.loads(json.dumps(Report("net", (group,)).as_json(), allow_nan=False))
    assert found["groups"][0]["profiles"][0]["curves"]["norm"] == [1.0, None]
    assert found["groups"][0]["weights"]["evidence"]["ratio"]["high"] is None
    assert found["groups"][0]["findings"][0]["blocks"] == [1]
    assert group.depth == 2
