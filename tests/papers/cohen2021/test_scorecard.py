from __future__ import annotations

from deeplimit.papers.cohen2021.scorecard import PUBLISHED, scorecard
from deeplimit.papers.marion2024.scorecard import UNKNOWN
from tests.papers.marion2024.test_scorecard import MACHINE, RUN


def test_what_the_index_answers_is_kept_apart_from_what_is_not_known():
    rows = {row.variable: row for row in scorecard({"request": {"tier": "quick"}, "computed_with": [], "runs": []})}
    assert {name: rows[name].published for name in PUBLISHED} == dict.fromkeys(PUBLISHED, "No")
    assert {row.published for name, row in rows.items() if name not in PUBLISHED} == {UNKNOWN}
    assert len(rows) == 9


def test_ours_are_read_off_the_record():
    rows = {r.variable: r for r in scorecard({"request": {"tier": "quick"}, "computed_with": [MACHINE], "runs": [RUN]})}
    assert rows["hardware specification"].ours == "Yes"
    assert "MNIST" in rows["open datasets"].evidence
    assert "MNIST" in rows["dataset splits"].evidence
