from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest

from deeplimit.checks import InputError
from deeplimit.claims import Claim, Lack, Measured, Verdict, judge
from deeplimit.data import Images
from deeplimit.measures import Loss
from deeplimit.networks import FullyConnected
from deeplimit.records import Store
from deeplimit.report import ScoreRow
from deeplimit.study import Execution, Request, Study, carry_out, conclude, copy_of_file, load_file, unexpected
from deeplimit.study.outcome import gather_record
from deeplimit.study.plan import plan
from deeplimit.sweeps import Silent, sweep
from deeplimit.training import SGD, TrainingRun

FLOW = Path(__file__).parents[1] / "studies" / "flow.py"
REQUEST = Request("file", str(FLOW), folder=str(FLOW.parent))
ROWS = pl.DataFrame({"study": ["a", "b"], "value": [1.0, 2.0]})


def claim(measure=lambda rows: Measured(rows["value"][0], 1.0, 1.0), **changes) -> Claim:
    base = Claim("a.1", "one is one", "here", "one", measure, 1.0, 0.1, "text")
    return dataclasses.replace(base, **changes)


def study(name: str, *claims: Claim) -> Study:
    return Study(name, tasks=lambda settings: [], claims=claims)


def test_a_claim_is_judged_on_the_rows_of_its_own_study():
    seen = []

    def measure(rows):
        seen.append(rows["value"].to_list())
        return Measured(1.0, 1.0, 1.0)

    one = claim(measure)
    (first, second) = conclude([study("a", one), study("b", one)], ROWS, tier="quick", seconds={"b": 3.0})
    assert seen == [[1.0], [2.0]]
    assert (first.ruling, first.seconds, second.seconds) == ("reproduced", 0.0, 3.0)


def raising(error: Exception):
    def measure(rows):
        raise error

    return measure


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LookupError("no rows of V"), "not measured: no rows of V"),
        (InputError("fit: expected three depths"), "not measured: fit: expected three depths"),
        (ZeroDivisionError("division by zero"), "not measured: ZeroDivisionError: division by zero"),
        (pl.exceptions.ColumnNotFoundError("role\nmore"), "not measured: ColumnNotFoundError: role"),
        (TypeError("a bug"), "not measured: TypeError: a bug"),
    ],
)
def test_a_measure_that_cannot_be_taken_leaves_the_claim_undecided(error, reason):
    (verdict,) = conclude([study("a", claim(raising(error)))], ROWS, tier="quick")
    assert (verdict.ruling, verdict.measured, verdict.reason) == ("undecided", None, reason)


def test_nothing_is_judged_on_a_part_of_a_study():
    absent = {"a": Lack("1 of 2 runs of its study are not complete", "files", "mnist")}
    (verdict,) = conclude([study("a", claim())], ROWS, tier="quick", absent=absent)
    assert (verdict.ruling, verdict.measured) == ("undecided", None)
    assert (verdict.why, verdict.needs) == ("files", "mnist")
    (verdict,) = conclude([study("a", claim(tiers=("paper",)))], ROWS, tier="quick", absent=absent)
    assert (verdict.why, verdict.needs) == ("tier", "paper")
    (verdict,) = conclude([study("c", claim())], ROWS, tier="quick")
    assert verdict.reason == "not measured: its study has no rows"


@pytest.mark.parametrize(
    ("changes", "tier", "surprising"),
    [
        ({}, "quick", False),
        ({"expected": 2.0}, "quick", True),  # not reproduced
        ({"expected": 2.0, "expected_ruling": "not reproduced"}, "quick", False),
        ({"expected_ruling": "not reproduced"}, "quick", True),  # reproduced, though known to be false
        ({"minimum_sample": 5}, "quick", True),  # undecided where the tier could decide
        ({"tiers": ("paper",)}, "quick", False),
        ({"minimum_sample": 5, "expected_ruling": "undecided"}, "quick", False),
        ({"source": "unverified"}, "quick", False),
    ],
)
def test_what_strict_complains_about(changes, tier, surprising):
    verdict = judge(claim(**changes), ROWS, tier=tier)
    assert (unexpected([verdict]) == [verdict]) is surprising


# The whole way -----------------------------------------------------------------------------------------------------


@pytest.fixture
def subject():
    return load_file(FLOW)


def test_a_request_is_carried_out_and_a_second_one_computes_nothing(subject, tmp_path):
    first = carry_out(subject, REQUEST, out=tmp_path, execution=Execution())
    rows = (tmp_path / "rows.parquet").read_bytes()
    second = carry_out(subject, REQUEST, out=tmp_path, execution=Execution())
    assert (first.computed, first.reused, second.computed, second.reused) == (6, 0, 0, 6)
    assert [verdict.ruling for verdict in first.verdicts] == ["reproduced", "not reproduced"]
    assert first.stages.keys() == {"plan", "compute", "judge", "report"}
    assert first.report == tmp_path / "report.html"
    assert (tmp_path / "rows.parquet").read_bytes() == rows
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["runs"][0]["name"] == "flow depth=8 part=authors"
    assert record["request"]["tier"] == "quick"
    assert len(record["computed_with"]) == 1
    assert second.verdicts[0].seconds == pytest.approx(sum(run["seconds"] for run in record["runs"]))
    assert copy_of_file(tmp_path, REQUEST).read_text() == FLOW.read_text()
    assert not list(tmp_path.rglob(".*.part"))


def test_the_report_is_drawn_again_from_the_rows(subject, tmp_path):
    first = carry_out(subject, REQUEST, out=tmp_path, execution=Execution())
    first.report.unlink()
    again = carry_out(load_file(copy_of_file(tmp_path, REQUEST)), REQUEST, out=tmp_path)
    assert again.report.exists()
    assert (again.computed, again.reused) == (0, 6)
    assert [verdict.ruling for verdict in again.verdicts] == [verdict.ruling for verdict in first.verdicts]


def test_runs_of_another_engine_are_kept_and_said_to_be(subject, tmp_path):
    planned = plan(subject.studies, REQUEST)
    with Store(tmp_path) as store:
        sweep(planned.jobs[:1], Execution("reference"), store=store, reporter=Silent())
    assert carry_out(subject, REQUEST, out=tmp_path, execution=Execution()).notes == []
    done = carry_out(subject, REQUEST, out=tmp_path, execution=Execution(engine="torch"))
    assert done.notes == ["1 runs were computed with engine reference; another --out computes all with torch"]
    assert done.computed == 0


def test_a_selection_reports_on_nothing_else(subject, tmp_path):
    request = dataclasses.replace(REQUEST, only=("1.end",))
    done = carry_out(subject, request, out=tmp_path, execution=Execution())
    assert [verdict.claim.id for verdict in done.verdicts] == ["flow.1.end"]
    assert not list((tmp_path / "figures").glob("*.svg"))


def test_a_run_that_fails_leaves_its_studys_claims_undecided(subject, tmp_path):
    (flow,) = subject.studies

    def tasks(settings):
        first, *others = flow.tasks(settings)
        return [dataclasses.replace(first, fail=True), *others]

    broken = dataclasses.replace(subject, studies=(dataclasses.replace(flow, tasks=tasks),))
    done = carry_out(broken, REQUEST, out=tmp_path, execution=Execution())
    assert (done.computed, len(done.failures)) == (5, 1)
    assert {verdict.reason for verdict in done.verdicts} == {"not measured: 1 of 6 runs of its study are not complete"}


def test_runs_whose_files_are_missing_are_left_out_unless_asked_for(subject, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPLIMIT_DATA", str(tmp_path / "nothing"))
    run = TrainingRun((FullyConnected(784, (3,), 10),), Images("mnist"), SGD(0.1), 1, (Loss(),), dtype="float32")
    digits = dataclasses.replace(study("digits", claim()), tasks=lambda settings: [run])
    whole = dataclasses.replace(subject, studies=(*subject.studies, digits))
    done = carry_out(whole, REQUEST, out=tmp_path / "a", execution=Execution())
    assert (done.computed, done.failures) == (6, [])
    assert done.notes == ["left out, because files of mnist are missing (deeplimit data fetch mnist): digits"]
    assert done.verdicts[-1].ruling == "undecided"
    asked = dataclasses.replace(REQUEST, only=("digits",))
    (failure,) = carry_out(whole, asked, out=tmp_path / "b", execution=Execution()).failures
    assert "deeplimit data fetch mnist" in failure.error


def test_complete_runs_are_not_said_to_be_left_out(subject, tmp_path, monkeypatch):
    task = plan(subject.studies, REQUEST).jobs[0].task
    monkeypatch.setattr(type(task), "lacking", "mnist", raising=False)
    planned = plan(subject.studies, REQUEST)
    assert carry_out(subject, REQUEST, out=tmp_path, execution=Execution()).computed == 0
    with Store(tmp_path) as store:
        sweep(planned.jobs, Execution(), store=store, reporter=Silent())
    done = carry_out(subject, REQUEST, out=tmp_path, execution=Execution())
    assert (done.computed, done.reused, done.notes) == (0, 6, [])


def test_the_scorecard_is_answered_from_the_record(subject, tmp_path):
    seen = []

    def scorecard(record):
        seen.append([run["seeds"] for run in record["runs"]])
        return [ScoreRow("code", "Yes", "Yes", "here")]

    carry_out(dataclasses.replace(subject, scorecard=scorecard), REQUEST, out=tmp_path, execution=Execution())
    assert seen == [[[2], [1000]] * 3]


def test_the_record_holds_complete_runs_only(subject, tmp_path):
    planned = plan(subject.studies, REQUEST)
    assert gather_record(planned, Store(tmp_path), request=REQUEST)["runs"] == []


def test_a_directory_that_cannot_be_used_is_refused_before_work(subject, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="files of something else"):
        carry_out(subject, REQUEST, out=tmp_path, execution=Execution())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_verdicts_stand_as_they_were_reached():
    verdict = judge(claim(), ROWS, tier="quick")
    assert isinstance(verdict, Verdict)
    assert unexpected([]) == []
