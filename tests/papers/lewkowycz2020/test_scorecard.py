from __future__ import annotations

from deeplimit.papers import load
from deeplimit.papers.lewkowycz2020.scorecard import PUBLISHED, scorecard
from deeplimit.papers.marion2024.scorecard import UNKNOWN
from tests.papers.marion2024.test_scorecard import MACHINE, RUN


def test_what_the_index_answers_is_kept_apart_from_what_is_not_known() -> None:
    rows = {row.variable: row for row in scorecard({"request": {"tier": "quick"}, "computed_with": [], "runs": []})}
    assert {name: row.published for name, row in rows.items() if row.published != UNKNOWN} == dict.fromkeys(
        ("pseudocode", "open source code", "dataset splits", "hardware specification", "software dependencies"), "No"
    )
    assert set(PUBLISHED) < set(rows)
    assert len(rows) == 9
    assert load("lewkowycz2020").scorecard is scorecard


def test_ours_are_read_off_the_record() -> None:
    rows = {r.variable: r for r in scorecard({"request": {"tier": "quick"}, "computed_with": [MACHINE], "runs": [RUN]})}
    assert rows["hardware specification"].ours == "Yes"
    assert rows["open datasets"].ours == "Yes"
    assert "CIFAR-10" in rows["open datasets"].evidence
    assert "validation" in rows["dataset splits"].evidence
    without = scorecard({"request": {"tier": "quick"}, "computed_with": [MACHINE], "runs": [{**RUN, "data": None}]})
    assert [row.ours for row in without if row.variable == "open datasets"] == ["No"]
