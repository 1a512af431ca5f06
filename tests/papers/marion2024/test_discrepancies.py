from __future__ import annotations

from deeplimit.papers import load
from deeplimit.papers.marion2024.discrepancies import DISCREPANCIES


def test_every_claim_that_is_named_exists():
    known = {claim.id for claim in load("marion2024").claims}
    assert known
    for discrepancy in DISCREPANCIES:
        assert known.issuperset(discrepancy.claim_ids), discrepancy.topic


def test_every_statement_that_is_false_as_printed_is_among_them():
    named = {name for discrepancy in DISCREPANCIES for name in discrepancy.claim_ids}
    false = {claim.id for claim in load("marion2024").claims if claim.expected_ruling == "not reproduced"}
    assert false
    assert false <= named


def test_each_says_what_at_least_one_source_says_and_what_was_computed():
    for discrepancy in DISCREPANCIES:
        assert discrepancy.paper_says
        assert discrepancy.computed
        assert discrepancy.claim_ids, discrepancy.topic
    assert len({discrepancy.topic for discrepancy in DISCREPANCIES}) == len(DISCREPANCIES)
