from __future__ import annotations

from deeplimit.papers import load
from deeplimit.papers.cohen2021.discrepancies import DISCREPANCIES


def test_every_claim_that_is_named_exists():
    known = {claim.id for claim in load("cohen2021").claims}
    assert known
    for discrepancy in DISCREPANCIES:
        assert known.issuperset(discrepancy.claim_ids), discrepancy.topic


def test_each_says_what_at_least_one_source_says_and_what_was_computed():
    for discrepancy in DISCREPANCIES:
        assert discrepancy.paper_says or discrepancy.code_says
        assert discrepancy.computed
    assert len({discrepancy.topic for discrepancy in DISCREPANCIES}) == len(DISCREPANCIES)
