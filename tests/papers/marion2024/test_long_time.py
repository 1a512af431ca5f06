from __future__ import annotations

import subprocess
import sys

import pytest

from deeplimit.papers.marion2024 import long_time
from tests.papers.marion2024.long_time.cases import study

TIERS = ("quick", "paper")


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", [s.name for s in long_time.STUDIES])
def test_every_study_is_planned(name, tier):
    assert all(task.cost().layer_steps > 0 for task in study(name).plan(tier))


def test_claims_have_ids_of_their_own():
    ids = [c.id for s in long_time.STUDIES for c in s.claims]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("marion2024.") for name in ids)


def test_listing_needs_no_torch():
    reading = "from deeplimit.papers.marion2024.long_time import STUDIES; [study.claims for study in STUDIES]"
    code = f"import sys; {reading}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
