from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from deeplimit.checks import InputError
from deeplimit.claims import Lack
from deeplimit.records import Store
from deeplimit.records.rows import COLUMNS
from deeplimit.study import Execution, Request, Study, expectations, gather, load_file, plan, seconds_of
from deeplimit.sweeps import Silent, sweep
from tests.studies.flow import Flow

FLOW = Path(__file__).parents[1] / "studies" / "flow.py"
REQUEST = Request("file", str(FLOW))


@pytest.fixture
def study():
    return load_file(FLOW).studies[0]


def relabelled(study: Study, **labels) -> Study:
    """The same computations under another name and other labels."""
    original: Any = study.tasks

    def tasks(settings):
        return [dataclasses.replace(task, labels=labels) for task in original(settings)]

    return Study("again", tasks=tasks, replicates=study.replicates)


def test_a_run_that_two_studies_share_is_planned_once(study):
    both = plan([study, relabelled(study, sign=1)], REQUEST)
    assert len(both.entries) == 12
    assert len(both.jobs) == 6
    assert both.ids("flow") == both.ids("again") == [job.id for job in both.jobs]
    assert both.jobs[0].name == "flow depth=8 part=authors"
    assert [job.work for job in both.jobs[::2]] == [2400.0, 4800.0, 9600.0]


def test_studies_that_are_not_run_at_the_tier_are_left_out(study):
    rare = dataclasses.replace(study, name="rare", tiers=("paper",))
    assert {entry.study for entry in plan([study, rare], REQUEST).entries} == {"flow"}
    with pytest.raises(InputError, match="tier: expected one of paper; found 'quick'"):
        plan([rare], REQUEST)


@dataclasses.dataclass(frozen=True)
class OnImages(Flow):
    """A run whose files are not there."""

    lacking: ClassVar[str] = "mnist"


def test_what_is_absent_says_what_would_bring_it(study, tmp_path):
    images = Study("images", tasks=lambda settings: [OnImages(8, 3)])
    rare = dataclasses.replace(study, name="rare", tiers=("paper",))
    planned = plan([study, images, rare], REQUEST)
    with Store(tmp_path) as store:
        assert planned.absent(study, store) == Lack("not measured: 6 of 6 runs of its study are not complete")
        sweep(planned.jobs[:-1], Execution(), store=store, reporter=Silent())
        assert planned.absent(study, store) is None
        found, later = planned.absent(images, store), planned.absent(rare, store)
    assert found is not None
    assert later is not None
    assert (found.why, found.needs, "files of mnist are missing" in found.reason) == ("files", "mnist", True)
    assert (later.why, later.needs) == ("tier", "paper")


def test_rows_have_the_columns_of_all_studies_in_the_order_of_the_plan(study, tmp_path):
    both = plan([relabelled(study, sign=1, depth=99), study], REQUEST)
    with Store(tmp_path) as store:
        sweep(both.jobs, Execution(), store=store, reporter=Silent())
        rows = gather(both, store)
        seconds = seconds_of(both, store)
        records = [store.load_record(job.id)["seconds"] for job in both.jobs]
    assert rows.columns == ["study", *COLUMNS, "part", "sign"]
    assert rows["study"].unique(maintain_order=True).to_list() == ["again", "flow"]
    flow = rows.filter(pl.col("study") == "flow")
    assert flow["depth"].unique(maintain_order=True).to_list() == [8, 16, 32]
    assert flow["part"].unique(maintain_order=True).to_list() == ["authors", "more"]
    assert flow["sign"].null_count() == flow.height
    # What a row says itself, no label replaces.
    assert rows.filter(pl.col("study") == "again")["depth"].unique().sort().to_list() == [8, 16, 32]
    assert seconds == {"again": pytest.approx(sum(records)), "flow": pytest.approx(sum(records))}


def test_columns_are_there_before_the_runs_are(study, tmp_path):
    chosen = plan([study], REQUEST)
    rows = gather(chosen, Store(tmp_path))
    assert rows.height == 0
    assert rows.columns == ["study", *COLUMNS, "part"]
    assert chosen.absent(study, Store(tmp_path)) is not None
    other = dataclasses.replace(study, name="other")
    assert chosen.absent(other, Store(tmp_path)) == Lack(
        "not measured: its study is not run at this tier", "tier", "quick"
    )


def test_labels_of_several_types_share_a_column(study, tmp_path):
    chosen = plan([relabelled(study, rate=1), dataclasses.replace(relabelled(study, rate=0.5), name="half")], REQUEST)
    assert gather(chosen, Store(tmp_path)).schema["rate"] == pl.Float64


def test_what_is_expected_counts_what_is_not_complete_and_shared_runs_once(study, tmp_path):
    both = [study, relabelled(study, sign=1)]
    planned, store = plan(both, REQUEST), Store(tmp_path)
    parts = dict(expectations(both, planned, store=store, execution=Execution(workers=2)))
    assert [(name, part.runs) for name, part in parts.items()] == [("flow", 6), ("again", 0), ("in total", 6)]
    work = 2 * 1e-6 * 300 * (8 + 16 + 32)
    assert parts["in total"].seconds == pytest.approx(work / 2)
    assert parts["again"].seconds == 0.0
    assert parts["in total"].memory_bytes == 2 * 8 * 8
    assert parts["in total"].disk_bytes == 6 * 16 * 300
    with Store(tmp_path) as store:
        sweep(plan([study], REQUEST).jobs[:2], Execution(), store=store, reporter=Silent())
    assert dict(expectations(both, planned, store=Store(tmp_path), execution=Execution()))["in total"].runs == 4


def test_what_does_not_fit_into_memory_is_summed_up_and_not_sampled(study, tmp_path, monkeypatch):
    monkeypatch.setattr("deeplimit.machine.memory", lambda device="cpu": 10.0)
    monkeypatch.setattr(sys.modules["deeplimit.study.plan"], "probe", lambda jobs, execution: pytest.fail("sampled"))
    total = expectations(
        [study], plan([study], REQUEST), store=Store(tmp_path / "new"), execution=Execution(workers=2)
    )[-1][1]
    assert (total.runs, total.unknown, total.seconds, total.memory_bytes) == (6, 6, 0.0, 8 * 8)
    assert "memory of flow" in total.lack
    monkeypatch.undo()
    assert (
        expectations([study], plan([study], REQUEST), store=Store(tmp_path / "new"), execution=Execution())[-1][1].lack
        == ""
    )
