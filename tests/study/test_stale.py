"""What a dry run says of the runs in a folder: through the command line, from a study with a helper module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deeplimit.records import Store, frame
from deeplimit.study import Request, load_file, plan
from deeplimit.study.stale import OTHERWISE, Kept, differences, stale

STUDY = """
from dataclasses import dataclass, field
from typing import ClassVar
import helper
from deeplimit.records import Cost
from deeplimit.study import Study

@dataclass(frozen=True)
class Power:
    revision: ClassVar[int] = 1
    depth: int
    rate: float = 0.5
    seeds: tuple = (0,)
    dtype: str = "float64"
    labels: dict = field(default_factory=dict)

    def run(self, context):
        value = helper.f(self.depth) + sum(helper.table())
        yield {"depth": self.depth, "seed": 0, "iteration": 0, "quantity": "x", "value": value}

    def cost(self):
        return Cost(1.0)

    def probe(self, context):
        return 0.1

study = Study("power", tasks=lambda settings: [Power(d) for d in (1, 2, 3)])
"""

HELPER = """
import functools
SCALE = 2.0

def f(x, n=3):
    return SCALE * x ** n

@functools.cache
def table():
    with open("data.csv") as file:
        return [float(word) for word in file.read().split()]
"""


@pytest.fixture
def folder(tmp_path):
    for name, text in (("mine.py", STUDY), ("helper.py", HELPER), ("data.csv", "1 2 3")):
        (tmp_path / name).write_text(text)
    return tmp_path


def command(folder: Path, *more: str, file: str = "mine.py", seed: str = "0") -> list[str]:
    """What the study prints that is about runs."""
    line = [sys.executable, "-m", "deeplimit", "study", file, "--out", "out", "--workers", "1", *more]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "300"}
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, env=environment, check=True)
    starts = ("runs:", "stale:", "kept:", "not followed:")
    return [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(starts)]


def edit(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_an_edit_of_a_helper_is_computed_again_and_a_dry_run_says_why(folder):
    assert command(folder)[0] == "runs: 3 to compute, 0 complete"
    assert command(folder, "--dry-run", seed="1") == []
    edit(folder / "helper.py", ("\ndef f", "\n# The law.\n\ndef f"))
    (folder / "mine.py").rename(folder / "yours.py")
    assert command(folder, file="yours.py", seed="2")[0] == "runs: 0 to compute, 3 complete"

    edit(folder / "helper.py", ("SCALE = 2.0", "SCALE = 2.5"), ("n=3", "n=4"))
    edit(folder / "yours.py", ("(1, 2, 3)", "(2, 3)"))
    assert command(folder, "--dry-run", file="yours.py") == [
        "stale: 2 runs of study power, because helper.SCALE: 2.0 → 2.5, default of n of helper.f: 3 → 4",
        "kept: 1 run in out that nothing here asks for now",
    ]
    assert command(folder, file="yours.py")[0] == "runs: 2 to compute, 0 complete"


def test_a_changed_data_file_is_computed_again_also_behind_a_cache(folder):
    command(folder)
    records = dict(Store(folder / "out").records())
    assert [list(record["provenance"]["files"]) for record in records.values()] == [[str(folder / "data.csv")]] * 3
    (folder / "data.csv").write_text("4 5 6 7")
    reason = f"stale: 3 runs of study power, because {folder / 'data.csv'} was changed"
    assert command(folder, "--dry-run") == [reason]
    assert command(folder)[0] == "runs: 3 to compute, 0 complete"
    assert command(folder)[0] == "runs: 0 to compute, 3 complete"
    (folder / "data.csv").write_text("1 2 3")
    assert command(folder)[0] == "runs: 0 to compute, 3 complete"  # the runs of then
    (folder / "data.csv").unlink()
    assert command(folder, "--dry-run")[0].endswith("data.csv is gone")


def test_what_cannot_be_followed_is_printed_and_kept(folder):
    edit(folder / "helper.py", ("return SCALE", "import os\n    return len(os.environ['HOME']) * SCALE"))
    note = "helper.f reads the environment (os.environ)"
    assert command(folder, "--dry-run") == [f"not followed: {note}"]
    command(folder)
    records = [record for _, record in Store(folder / "out").records()]
    assert [record["unfollowed"] for record in records] == [[note]] * 3


def test_a_new_revision_and_other_settings_are_said(folder):
    command(folder)
    edit(folder / "mine.py", ("ClassVar[int] = 1", "ClassVar[int] = 2"), ("rate: float = 0.5", "rate: float = 0.25"))
    assert command(folder, "--dry-run") == [
        "stale: 3 runs of study power, because rate: 0.5 → 0.25, revision 1 → 2, Power.rate: 0.5 → 0.25"
    ]


# ---------------------------------------------------------------------------------------------------------- the pieces


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"fields": {"a": [1, {"b": 2}]}}, {"fields": {"a": [1, {"b": 3}]}}, ["a[1].b: 2 → 3"]),
        ({"fields": {"a": [1]}}, {"fields": {"a": [1, 2]}}, ["a: [1] → [1, 2]"]),
        ({"fields": {"a": {"kind": "A"}}}, {"fields": {"a": {"kind": "B"}}}, ["a: A → B"]),
        ({"kind": "A", "revision": 1}, {"kind": "B", "revision": 2}, ["the task: A → B"]),
        ({"fields": {"n": {"kind": "N", "revision": 1}}}, {"fields": {"n": {"kind": "N", "revision": 2}}}, ["revision 1 → 2 of n"]),
        ({"code": {"f": {"source": "1"}}}, {"code": {"f": {"source": "2"}}}, ["f was edited"]),
        ({"code": {"T": {"sha256": "1"}}}, {"code": {"T": {"value": 2}}}, ["T was changed"]),
        ({"code": {"f": {"closure": {"n": 1}}}}, {"code": {"f": {"closure": {"n": 2}}}}, ["n in f: 1 → 2"]),
        ({"code": {"A": {"bases": [{"named": "a"}]}}}, {"code": {"A": {}}}, ["the bases of A were changed"]),
        ({"code": {"f": {"uses": {"g": {"named": "a.b"}}}}}, {"code": {"f": {"uses": {"g": {"named": "a.c"}}}}}, ["g in f: a.b → a.c"]),
        ({"code": {"f": {}}}, {"code": {"g": {}}}, ["g is used now", "f is used no more"]),
        ({"fields": {"f": {"code": "f"}}}, {"fields": {"f": {"code": "g"}}}, ["f: f → g"]),
        ({}, {"code": {"g": {}}}, ["g is used now"]),
    ],
)  # fmt: skip
def test_differences_in_words(old, new, words):
    assert list(differences(old, new)) == words
    assert list(differences(new, new)) == []


ABOUT: dict[str, object] = {
    "name": "",
    "spec": {},
    "labels": {},
    "seeds": [],
    "dtype": None,
    "diverged": [],
    "rows": 0,
    "seconds": 0.0,
    "provenance": {},
}


def keep(out: Path, run: str, **record) -> None:
    with Store(out) as store:
        store.write_run(run, frame(()), record={"id": run, **ABOUT, **record})


def test_a_run_is_the_one_whose_files_are_what_they_were(tmp_path):
    data = tmp_path / "data"
    keep(tmp_path / "out", "old", base="old", provenance={"date": "1", "files": {str(data): "0"}})
    keep(tmp_path / "out", "new", base="old", provenance={"date": "2", "files": {str(data): "1"}})
    keep(tmp_path / "out", "plain", provenance={"date": "1"})
    kept = Kept(Store(tmp_path / "out"))
    assert kept.run("plain") == "plain"
    assert kept.run("absent") == "absent"
    anew = kept.run("old")
    assert anew not in ("old", "new")
    assert anew == kept.run("old")
    assert kept.run("old", exact=False) == "new"
    data.write_text("")
    assert kept.run("old") not in ("old", "new", anew)


def test_records_that_cannot_be_read_are_left_out(tmp_path):
    keep(tmp_path, "good", name="a")
    for run, text in (("broken", "{"), ("list", "[]"), (".aside", "{}")):
        (tmp_path / "runs" / run).mkdir()
        (tmp_path / "runs" / run / "run.json").write_text(text)
    assert [run for run, _ in Store(tmp_path).records()] == ["good"]


def test_a_run_of_the_same_description_under_another_id_was_computed_otherwise(tmp_path):
    flow = Path(__file__).parents[1] / "studies" / "flow.py"
    planned = plan(load_file(flow).studies, Request("file", str(flow)))
    job = planned.jobs[0]
    assert job.identity is not None
    keep(tmp_path, "other", name=job.name, spec=json.loads(job.identity.spec))
    assert stale(planned, Store(tmp_path)) == [f"stale: 1 run of study flow, because {OTHERWISE}"]
    assert stale(planned, Store(tmp_path / "none")) == []
