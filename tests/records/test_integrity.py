from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from deeplimit.checks import InputError
from deeplimit.records import Store, frame
from deeplimit.records.integrity import FORMAT, Layout, Record, checksums, flaw, parsed, read, regular, text

ROWS = frame([{"quantity": "loss", "value": 0.1, "depth": 4}, {"quantity": "loss", "value": float("nan")}])
RUN, OTHER = "0123456789abcdef", "fedcba9876543210"
NAMES = ("rows.parquet", "run.json", "weights.safetensors", "checksums.json")


def record(run: str) -> dict[str, object]:
    about: dict[str, object] = {
        "id": run,
        "name": "flow",
        "spec": {},
        "labels": {},
        "seeds": [1],
        "dtype": None,
        "diverged": [],
    }
    return {**about, "rows": ROWS.height, "seconds": 1.5, "provenance": {"numbers": [float("nan"), 10**30]}}


@pytest.fixture
def runs(tmp_path):
    """A folder with two sound runs."""
    with Store(tmp_path) as store:
        for k, run in enumerate((RUN, OTHER)):
            store.write_run(run, ROWS[k:], record=record(run), weights={"V": np.full(50, float(k))})
    return tmp_path / "runs"


def test_a_run_as_it_was_written_has_no_flaw(runs):
    assert flaw(runs / RUN) == flaw(runs / OTHER) == ""


def test_what_is_put_beside_a_run_is_no_flaw(runs):
    (runs / RUN / ".DS_Store").write_text("")
    (runs / RUN / "notes").mkdir()
    assert flaw(runs / RUN) == ""


# Every file × every damage -----------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def exchanged(path: Path, place: Path) -> None:
    aside = path.with_name("aside")
    for old, new in ((path, aside), (place, path), (aside, place)):
        old.rename(new)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a bit flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "deleted": Path.unlink,
    "a folder": lambda path: replaced(path, Path.mkdir),
    "a pipe": lambda path: replaced(path, os.mkfifo),
    "a device": lambda path: replaced(path, lambda link: link.symlink_to("/dev/zero")),
    "a link to nowhere": lambda path: replaced(path, lambda link: link.symlink_to("nowhere")),
    "a link to itself": lambda path: replaced(path, lambda link: link.symlink_to(link.name)),
    "a link to another file": lambda path: replaced(path, lambda link: link.symlink_to(__file__)),
    "that of another run": lambda path: exchanged(path, path.parent.with_name(OTHER) / path.name),
    "a list": lambda path: path.write_bytes(b"[]"),
    "an object": lambda path: path.write_bytes(b"{}"),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_a_flaw_in_one_line(runs, name, damage):
    DAMAGES[damage](runs / RUN / name)
    found = flaw(runs / RUN)
    # Of checksums that fit no more, the file that they do not fit is named, or the run that they are of.
    fitting = {"that of another run": OTHER, "a bit flipped": "was altered"} if name == "checksums.json" else {}
    assert fitting.get(damage, name) in found
    assert "\n" not in found
    assert bool(flaw(runs / OTHER)) is (damage == "that of another run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_may_not_be_read_is_a_flaw(runs, name):
    (runs / RUN / name).chmod(0)
    assert flaw(runs / RUN) == f"{name} cannot be read (Permission denied)"


def test_what_the_system_cannot_read_is_a_flaw(runs, monkeypatch):
    def broken(self, *args, **options):
        raise OSError(5, "Input/output error", str(self))

    monkeypatch.setattr(Path, "open", broken)
    assert flaw(runs / RUN) == "checksums.json cannot be read (Input/output error)"


# The directory -----------------------------------------------------------------------------------------------------


def test_exchanged_directories_are_flaws(runs):
    exchanged(runs / RUN, runs / OTHER)
    assert flaw(runs / RUN) == f"it is the run {OTHER} under another name"
    assert flaw(runs / OTHER) == f"it is the run {RUN} under another name"


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_something_else_in_the_place_of_a_run_is_a_flaw(runs, make):
    shutil.rmtree(runs / RUN)
    make(runs / RUN)
    assert flaw(runs / RUN) in (
        "expected a directory, found something else",
        "checksums.json is missing (runs of older versions have none)",
    )


def test_a_run_that_was_moved_elsewhere_behind_a_link_is_sound(runs, tmp_path):
    (runs / RUN).rename(tmp_path / "disk")
    (runs / RUN).symlink_to(tmp_path / "disk")
    assert flaw(runs / RUN) == ""


def test_weights_that_a_run_did_not_keep_are_a_flaw(runs):
    with Store(runs.parent) as store:
        store.write_run("bare", ROWS, record=record("bare"))
    shutil.copy(runs / RUN / "weights.safetensors", runs / "bare")
    assert flaw(runs / "bare") == "weights.safetensors is of another run"


# Checksums that fit, around what cannot be used --------------------------------------------------------------------


def table(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()


def without(name: str) -> bytes:
    return text({key: value for key, value in record(RUN).items() if key != name}).encode()


FITTING = {
    "a list": ({"run.json": b"[]"}, "run.json is not as deeplimit writes it (Input should be an object)"),
    "no id": ({"run.json": without("id")}, "(id: Field required)"),
    "no provenance": ({"run.json": without("provenance")}, "(provenance: Field required)"),
    "seconds of text": ({"run.json": text(record(RUN) | {"seconds": "1"}).encode()}, "(seconds: Input should be a"),
    "another id": ({"run.json": text(record(OTHER)).encode()}, "run.json is of another run"),
    "no table": ({"rows.parquet": b"nonsense"}, "rows.parquet is no table"),
    "no column": (
        {"rows.parquet": table(ROWS.drop("depth"))},
        "rows.parquet: expected a column depth of Int64, found none",
    ),
    "another type": (
        {"rows.parquet": table(ROWS.cast({"value": pl.Float32}))},
        "rows.parquet: expected a column value of Float64, found Float32",
    ),
}


@pytest.mark.parametrize("name", FITTING)
def test_what_lacks_fields_or_columns_is_a_flaw_whatever_its_checksum(runs, name):
    changed, message = FITTING[name]
    files = {"rows.parquet": table(ROWS), "run.json": text(record(RUN)).encode(), **changed}
    shutil.rmtree(runs / RUN)
    (runs / RUN).mkdir()
    for file, content in {**files, "checksums.json": checksums(RUN, files)}.items():
        (runs / RUN / file).write_bytes(content)
    assert message in flaw(runs / RUN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": FORMAT + 1, "files": 3}, f"it is of format {FORMAT + 1}, where this version has {FORMAT}"),
        ({"format": FORMAT - 1}, f"it is of format {FORMAT - 1}"),
        ({"format": True}, "checksums.json is not as deeplimit writes it (format: Input"),
        ({"id": OTHER}, f"it is the run {OTHER} under another name"),
        ({"files": {}}, "checksums.json was altered"),
        ({"files": {"rows.parquet": "0"}}, "checksums.json was altered"),
        ({"files": {"rows.parquet": "0", "run.json": "0", "../../x": "0"}}, "checksums.json was altered"),
        ({"files": {"rows.parquet": "0", "run.json": "0"}}, "rows.parquet was altered"),
        ({"files": {"rows.parquet": 0, "run.json": "0"}}, "files: rows.parquet: Input should be a valid string"),
    ],
)
def test_other_checksums_are_a_flaw(runs, changes, message):
    path = runs / RUN / "checksums.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert message in flaw(runs / RUN)


# Reading -----------------------------------------------------------------------------------------------------------


def test_a_file_is_read_as_a_dataclass_and_what_it_says_more_is_passed_over(runs, tmp_path):
    assert read(Record, runs / RUN / "run.json").seconds == 1.5
    assert parsed(Layout, b'{"format": 7, "more": []}', name="x") == Layout(7)
    with pytest.raises(
        InputError, match=r"^x is not as deeplimit writes it \(format: Input should be a valid integer\)$"
    ):
        parsed(Layout, b'{"format": "7"}', name="x")
    assert regular(runs / RUN / "run.json").name == "run.json"
    with pytest.raises(InputError, match=r"^none is missing$"):
        regular(tmp_path / "none")
