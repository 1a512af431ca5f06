from __future__ import annotations

import pytest

from deeplimit.engines import ENGINES, select
from deeplimit.engines.listing import KINDS, EngineStatus, listing

built = pytest.mark.skipif(bool(ENGINES["native"].missing), reason="no native engine")


def test_every_engine_is_listed_in_the_order_of_the_choice():
    assert [row.name for row in listing().engines] == list(ENGINES)
    assert [row.missing for row in listing().engines[-2:]] == ["", ""]


def test_what_is_listed_is_what_is_chosen():
    found = {row.branch: row.engine for row in listing().auto}
    assert found == {kind: select("auto", branch).name for kind, branch in KINDS.items()}
    assert found["convolution"] == found["a branch of one's own"] == "reference"
    assert "reference" not in (found["perceptron"], found["one matrix"])


@built
def test_the_reasons_are_the_engines_that_were_passed_over():
    why = {row.branch: (row.engine, row.why) for row in listing().auto}
    unknown = "native does not know this branch, torch does not know this branch"
    assert why["perceptron"] == why["one matrix"] == ("native", "the fastest there is")
    assert why["convolution"] == why["a branch of one's own"] == ("reference", unknown)


@built
def test_the_instruction_sets_are_listed_with_the_one_in_use():
    rows = listing().instruction_sets
    (used,) = (row for row in rows if row.in_use)
    assert used.available
    assert ENGINES["native"].title == f"native ({used.name})"
    assert rows[-1].name == "generic"
    assert rows[-1].available


def test_without_the_extension_it_says_so(monkeypatch):
    monkeypatch.setattr("deeplimit.engines.native.MISSING", "the extension was not built (no compiler)")
    found = listing()
    assert found.engines[0] == EngineStatus("native", "the extension was not built (no compiler)")
    assert found.instruction_sets == ()
    why = {row.branch: (row.engine, row.why) for row in found.auto}
    assert why["perceptron"] == ("torch", "native is not there")
    assert why["convolution"] == ("reference", "native is not there, torch does not know this branch")
