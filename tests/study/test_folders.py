from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from deeplimit.__main__ import main
from deeplimit.checks import InputError
from deeplimit.records import Store
from deeplimit.records.integrity import FORMAT
from deeplimit.study import Execution, Request, Study, Subject, carry_out, foresee, load_file, plan
from deeplimit.study.folders import changes, damages, refuse_other
from deeplimit.sweeps import Silent, sweep

FLOW = Path(__file__).parents[1] / "studies" / "flow.py"
#: One claim and no figure, which would take most of the time.
REQUEST = Request("file", str(FLOW), folder=str(FLOW.parent), seeds=0, only=("1.end",))
STUDY = ("study", FLOW, "--seeds", 0, "--workers", 1, "--only", "1.end")


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """An output directory with the three runs of the study of the sine, made once."""
    out = tmp_path_factory.mktemp("computed") / "out"
    carry_out(load_file(FLOW), REQUEST, out=out, execution=Execution())
    return out


@pytest.fixture
def out(computed, tmp_path):
    """A copy of that directory, to be damaged."""
    return shutil.copytree(computed, tmp_path / "out")


@pytest.fixture
def call(monkeypatch, capsys):
    """A function that runs a command line and returns (exit status, stdout, stderr)."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deeplimit", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(end.value.code or 0), captured.out, captured.err

    return run


def content(out: Path) -> dict[str, bytes]:
    """The rows and weights of all runs, and the rows of the whole, by their place."""
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.suffix in (".parquet", ".safetensors")}


def everything(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


# Damaged runs, by the command line ---------------------------------------------------------------------------------


def first(out: Path) -> Path:
    """The directory of the run of depth 8."""
    return out / "runs" / plan(load_file(FLOW).studies, REQUEST).jobs[0].id


def rows_by_hand(run: Path) -> None:
    rows = pl.read_parquet(run / "rows.parquet")
    rows.with_columns(pl.lit(1e6).alias("value")).write_parquet(run / "rows.parquet")


def exchange(run: Path) -> None:
    other, aside = next(path for path in run.parent.iterdir() if path != run), run.with_name("aside")
    for old, new in ((run, aside), (other, run), (aside, other)):
        old.rename(new)


def in_place(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(run: Path) -> None:
        (run / name).unlink()
        make(run / name)

    return damage


def replaced(run: Path, make: Callable[[Path], object]) -> None:
    shutil.rmtree(run)
    make(run)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "rows by hand": (rows_by_hand, "rows.parquet was altered"),
    "weights cut": (lambda run: os.truncate(run / "weights.safetensors", 90), "weights.safetensors was altered"),
    "record a list": (lambda run: (run / "run.json").write_text("[]"), "run.json was altered"),
    "rows deleted": (lambda run: os.unlink(run / "rows.parquet"), "rows.parquet is missing"),
    "rows a folder": (in_place("rows.parquet", Path.mkdir), "rows.parquet is no file"),
    "of an older version": (lambda run: os.unlink(run / "checksums.json"), "checksums.json is missing"),
    "emptied": (lambda run: replaced(run, Path.mkdir), "checksums.json is missing"),
    "two exchanged": (exchange, "under another name"),
    "a file": (lambda run: replaced(run, Path.touch), "expected a directory"),
    "a link to nowhere": (lambda run: replaced(run, lambda link: link.symlink_to("nowhere")), "expected a directory"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_named_and_computed_again(call, computed, out, name):
    damage, reason = DAMAGES[name]
    run = first(out)
    damage(run)
    status, printed, errors = call(*STUDY, "--out", out)
    assert status == 0
    assert f"note: run {run.name} (flow depth=8 part=authors)" in errors
    assert reason in errors
    assert ": computed again" in errors
    count = 2 if name == "two exchanged" else 1
    assert f"runs: {count} computed, {3 - count} complete before, 0 failed" in printed
    assert content(out) == content(computed)
    assert sorted(os.listdir(out / "runs")) == sorted(os.listdir(computed / "runs"))
    _, printed, errors = call(*STUDY, "--out", out)
    assert "runs: 0 computed, 3 complete before" in printed
    assert "note:" not in errors


@pytest.mark.parametrize("name", DAMAGES)
def test_what_does_not_compute_names_a_damaged_run_and_uses_none_of_it(call, out, name):
    damage, reason = DAMAGES[name]
    run = first(out)
    damage(run)
    before = everything(out / "runs")
    for words in (("report", out, "--study", FLOW), (*STUDY, "--out", out, "--dry-run")):
        status, _, errors = call(*words)
        assert status == 0
        assert f" {run.name} (flow depth=8 part=authors)" in errors
        assert reason in errors
        assert ": not used" in errors
    assert 8 not in pl.read_parquet(out / "rows.parquet")["depth"].to_list()
    assert run.name not in {row["id"] for row in json.loads((out / "record.json").read_text())["runs"]}
    assert {row["verdict"] for row in json.loads((out / "verdicts.json").read_text())} == {"undecided"}
    assert everything(out / "runs") == before


def test_many_runs_of_one_flaw_are_one_note(tmp_path):
    planned = plan(load_file(FLOW).studies, dataclasses.replace(REQUEST, seeds=1))
    with Store(tmp_path) as store:
        for job in planned.jobs:
            store.run_dir(job.id).mkdir()
    (note,) = damages(planned, Store(tmp_path), then="not used")
    assert note.startswith(f"runs {planned.jobs[0].id} (flow depth=8 part=authors), ")
    assert note.endswith(" and 1 more: checksums.json is missing (runs of older versions have none): not used")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda one, two: one.write_bytes(one.read_bytes()[:-8]), "safetensors"),
        (lambda one, two: one.write_bytes(two.read_bytes()), "it is of the run"),
        (lambda one, two: (one.unlink(), one.mkdir()), "is no file"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_its_run_starts_again(
    call, computed, tmp_path, monkeypatch, caplog, damage, reason
):
    monkeypatch.setenv("DEEPLIMIT_CHECKPOINT_SECONDS", "0")

    class Stopped(Silent):
        def advance(self, job, fraction):
            if fraction > 1 / 2:
                raise KeyboardInterrupt

    jobs, out = plan(load_file(FLOW).studies, REQUEST).jobs, tmp_path / "out"
    for job in jobs[:2]:
        with Store(out) as store, pytest.raises(KeyboardInterrupt):
            sweep([job], Execution(), store=store, reporter=Stopped())
    one, two = (store.checkpoint(job.id).path for job in jobs[:2])
    damage(one, two)
    monkeypatch.delenv("DEEPLIMIT_CHECKPOINT_SECONDS")
    status, printed, _ = call(*STUDY, "--out", out)
    assert (status, "3 computed" in printed) == (0, True)
    (message,) = caplog.messages
    assert message.startswith(f"checkpoint {one} cannot be used (")
    assert reason in message
    assert content(out) == content(computed)


# Whose directory it is ---------------------------------------------------------------------------------------------


def copy(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """The study of the sine in another file."""
    text = FLOW.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


OTHER_RUNS = ("revision: ClassVar[int] = 1", "revision: ClassVar[int] = 2")
OTHER_STUDY = ('name="flow"', 'name="stream"')


def test_another_study_is_refused_before_work_and_nothing_is_changed(call, out, tmp_path):
    before = everything(out)
    for name, changed in (("other.py", [OTHER_RUNS]), ("flow.py", [OTHER_RUNS, OTHER_STUDY])):
        path = copy(tmp_path, name, *changed)
        for more in ((), ("--dry-run",)):
            status, printed, errors = call("study", path, "--seeds", 0, "--out", out, *more)
            assert (status, printed) == (2, "")
            assert f"output {out}: expected the directory of the file {name} (studies: " in errors
            assert "found that of the file flow.py (studies: flow); use another --out" in errors
            assert "to compute" not in errors
    assert everything(out) == before


def test_the_same_study_goes_on_wherever_it_lies_and_whatever_it_is_called(out, tmp_path):
    edited = load_file(copy(tmp_path, "flow.py", OTHER_RUNS))
    planned = plan(edited.studies, REQUEST)
    moved = dataclasses.replace(REQUEST, name=str(tmp_path / "flow.py"))
    more = dataclasses.replace(edited, studies=(*edited.studies, Study("more", tasks=lambda settings: [])))
    for subject in (edited, more):
        refuse_other(subject, moved, planned=planned, store=Store(out))
    with pytest.raises(InputError, match="use another --out"):
        refuse_other(edited, dataclasses.replace(moved, name="renamed.py"), planned=planned, store=Store(out))
    # Its runs are there: a new name of the file, or of the study, is a name and nothing else.
    same = load_file(FLOW)
    planned = plan(same.studies, REQUEST)
    renamed = dataclasses.replace(same, studies=(dataclasses.replace(same.studies[0], name="stream"),))
    refuse_other(renamed, dataclasses.replace(moved, name="renamed.py"), planned=planned, store=Store(out))


def test_a_paper_has_its_directory_to_itself(tmp_path, out):
    subject = Subject("one", "One", studies=load_file(FLOW).studies)
    paper, planned = Request("paper", "one"), plan(subject.studies, REQUEST)
    refuse_other(subject, paper, planned=planned, store=Store(tmp_path / "new"))
    with pytest.raises(
        InputError, match=r"directory of the paper one, found that of the file flow\.py \(studies: flow\);"
    ):
        refuse_other(subject, paper, planned=planned, store=Store(out))
    with Store(tmp_path / "paper") as store:
        store.remember(dataclasses.asdict(paper), ["flow"])
    refuse_other(subject, dataclasses.replace(paper, tier="full"), planned=planned, store=store)
    two = dataclasses.replace(paper, name="two")
    for other in (two, REQUEST):
        with pytest.raises(InputError, match=r"found that of the paper one; use another --out"):
            refuse_other(subject, other, planned=planned, store=store)


def test_a_directory_of_an_older_version_goes_on_and_its_runs_are_computed_again(call, computed, out):
    for path in out.glob("runs/*/checksums.json"):
        path.unlink()
    marker = json.loads((out / "deeplimit.json").read_text())
    (out / "deeplimit.json").write_text(json.dumps({"format": 1, "version": "0.1", "request": marker["request"]}))
    status, printed, errors = call(*STUDY, "--out", out)
    assert status == 0
    assert "runs of older versions have none): computed again" in errors
    assert "3 computed, 0 complete before" in printed
    assert content(out) == content(computed)
    assert json.loads((out / "deeplimit.json").read_text())["format"] == FORMAT


@pytest.mark.parametrize(
    "marker", ["[]", "", '{"format": 99}', '{"format": 2, "version": "1", "request": {"kind": "x"}}']
)
def test_a_directory_that_is_newer_or_not_ours_is_refused_by_every_command(call, out, marker):
    (out / "deeplimit.json").write_text(marker)
    before = everything(out)
    for words in (
        ("study", FLOW, "--out", out),
        ("study", FLOW, "--out", out, "--dry-run"),
        ("report", out, "--study", FLOW),
    ):
        status, printed, errors = call(*words)
        assert (status, printed) == (2, "")
        assert errors.startswith(f"deeplimit: output {out}: expected ")
        assert errors.count("\n") == 1
    assert everything(out) == before


def test_other_options_than_before_are_said(out):
    store = Store(out)
    assert changes(REQUEST, store) == []
    (note,) = changes(dataclasses.replace(REQUEST, tier="paper", seeds=1), store)
    assert note == "the report was of --tier quick --seeds 0 --only 1.end before; the runs of both are kept"
    subject, other = load_file(FLOW), dataclasses.replace(REQUEST, only=("2.wrong",))
    done = carry_out(subject, other, out=out, execution=Execution())
    assert (done.computed, done.notes) == (0, [note])
    assert carry_out(subject, other, out=out, execution=Execution()).notes == []


def test_nothing_is_said_of_a_new_directory(tmp_path):
    subject, store = load_file(FLOW), Store(tmp_path / "new")
    planned = plan(subject.studies, REQUEST, store=store)
    assert foresee(subject, REQUEST, planned=planned, store=store) == []
    assert os.listdir(tmp_path) == []


# Paths, by the command line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ex[1]/o", "*", "a b?", "~", "a\nb", "-x", "λ", "{a}"])
def test_an_output_is_text(call, computed, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    status, printed, _ = call(*STUDY, f"--out={name}")
    assert (status, "3 computed" in printed) == (0, True)
    assert content(Path(name)) == content(computed)
    assert call("report", "--study", FLOW, "--", name)[0] == 0
    assert os.listdir(tmp_path) == [Path(name).parts[0]]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("", "expected the path of a directory, found ''"),
        ("-", "expected the path of a directory, found '-'"),
        ("no/such", "expected a folder to make it in, found none at no"),
        ("taken", "expected a directory, found a file"),
        ("taken/out", "found none at taken"),
        ("x" * 300, "File name too long"),
    ],
)
@pytest.mark.parametrize("command", [("study", FLOW), ("reproduce", "marion2024"), ("reproduce", "all")])
def test_an_output_that_cannot_be_is_refused_before_work(call, tmp_path, monkeypatch, command, out, message):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    for more in ((), ("--dry-run",)):
        status, printed, errors = call(*command, "--out", out, *more)
        assert (status, printed, errors.count("\n")) == (2, "", 1)
        assert message in errors
    assert os.listdir(tmp_path) == ["taken"]
