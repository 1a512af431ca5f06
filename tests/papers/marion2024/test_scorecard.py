from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from deeplimit.papers.marion2024.scorecard import PUBLISHED, scorecard

MACHINE = {
    "versions": {"deeplimit": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
    "cpu": {"model": "A processor", "cores": 2, "memory_bytes": 8 * 2**30},
    "gpu": [],
    "code": {"sha256": "ab", "commit": "0123456789abcdef", "edited": False},
}
RUN = {
    "id": "0123456789abcdef",
    "seeds": [0],
    "engine": "torch",
    "device": "cpu",
    "threads": 1,
    "date": "2026-11-21T00:00:00+00:00",
    "seconds": 0.0,
    "data": "cd",
}


@pytest.fixture
def record():
    return copy.deepcopy({"request": {"tier": "quick"}, "computed_with": [MACHINE], "runs": [RUN, RUN]})


def row(record, variable):
    (found,) = [row for row in scorecard(record) if row.variable == variable]
    return found


def test_the_answers_of_the_index_are_as_published():
    published = {
        r.variable: r.published for r in scorecard({"request": {"tier": "quick"}, "computed_with": [], "runs": []})
    }
    assert list(published.values()) == ["Experimental", "Academia", "No", "Yes", "Yes", "No", "No", "No", "Yes"]


def test_a_full_record_answers_yes_with_its_evidence(record):
    assert [r.ours for r in scorecard(record)] == ["Reproduction", "Not applicable", *["Yes"] * 7]
    assert row(record, "hardware specification").evidence == "A processor, 2 cores, 8 GiB"
    assert "torch 2.13.0" in row(record, "software dependencies").evidence
    assert "commit 0123456789ab" in row(record, "open source code").evidence


@pytest.mark.parametrize(
    ("lost", "variable"),
    [
        (("computed_with", 0, "cpu", "memory_bytes"), "hardware specification"),
        (("computed_with", 0, "versions", "torch"), "software dependencies"),
        (("computed_with", 0, "code", "sha256"), "open source code"),
    ],
)
def test_what_the_machine_did_not_record_is_no(record, lost, variable):
    *path, name = lost
    place = record
    for step in path:
        place = place[step]
    del place[name]
    assert row(record, variable).ours == "No"
    assert sum(r.ours == "Yes" for r in scorecard(record)) == 6


def test_what_only_some_runs_recorded_is_partly(record):
    record["runs"] = [RUN, {**RUN, "data": None, "threads": None}]
    assert row(record, "open datasets").ours == "Partly: 1 of 2"
    assert row(record, "experiment set-up").ours == "Partly: 1 of 2"


def test_a_run_without_seeds_draws_no_data(record):
    record["runs"].append({**RUN, "seeds": [], "data": None})
    assert row(record, "open datasets").ours == "Yes"


def test_graphics_processors_and_edits_are_named(record):
    record["computed_with"][0] |= {"gpu": [{"name": "A card", "driver_version": "1.2"}]}
    record["computed_with"][0]["code"]["edited"] = True
    assert row(record, "hardware specification").evidence.endswith("A card (driver 1.2)")
    assert row(record, "open source code").evidence.endswith("with edits")


def test_the_document_gives_the_same_answers(record):
    text = (Path(__file__).parents[3] / "docs" / "scorecard.md").read_text(encoding="utf-8")
    own = text.split("\n## ")[1]
    table = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", own, re.MULTILINE)
    written = {
        variable.lower(): (published, ours) for variable, published, ours in table if variable.lower() in PUBLISHED
    }
    assert written == {r.variable: (r.published, r.ours) for r in scorecard(record)}
