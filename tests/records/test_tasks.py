from __future__ import annotations

from deeplimit.records import Context, Cost


def test_a_context_shares_nothing_with_the_next():
    first = Context()
    first.provenance["engine"] = "torch"
    first.progress(0.5)
    assert Context().provenance == {}
    assert Context().weights == {}


def test_a_cost_needs_no_more_than_its_steps():
    assert Cost(3.0) == Cost(3.0, 0.0, 0.0)
