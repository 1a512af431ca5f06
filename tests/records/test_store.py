from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from deeplimit.checks import InputError
from deeplimit.records import Store, frame, output_folder
from deeplimit.records.integrity import CHECKSUMS, FORMAT
from deeplimit.records.store import FILES, FOLDERS, LOCK, MARKER
from deeplimit.records.writing import aside

ROWS = frame([{"quantity": "loss", "value": 0.1, "depth": 4}, {"quantity": "loss", "value": float("nan")}])
RUN = "0123456789abcdef"


def record(run: str = RUN, **more: object) -> dict[str, object]:
    """A record with everything that one must say."""
    about: dict[str, object] = {
        "id": run,
        "name": "flow",
        "spec": {},
        "labels": {},
        "seeds": [1],
        "dtype": None,
        "diverged": [],
    }
    return {**about, "rows": ROWS.height, "seconds": 1.5, "provenance": {}, **more}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "out") as opened:
        yield opened


def test_a_run_comes_back_as_it_was_written(store):
    assert not store.is_complete(RUN)
    store.write_run(RUN, ROWS, record=record(), weights={"V": np.arange(6.0).reshape(2, 3).T})
    assert store.is_complete(RUN)
    assert store.load_rows(RUN).equals(ROWS, null_equal=True)
    assert store.load_record(RUN) == record()
    assert load_file(store.run_dir(RUN) / "weights.safetensors")["V"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_run_without_weights_has_no_file_of_them(store):
    store.write_run(RUN, ROWS, record=record())
    assert {path.name for path in store.run_dir(RUN).iterdir()} == {"rows.parquet", "run.json", CHECKSUMS}


def test_equal_rows_are_equal_files(store):
    store.write_run("a", ROWS, record=record("a"))
    store.write_run("b", ROWS.clone(), record=record("b"))
    assert (store.run_dir("a") / "rows.parquet").read_bytes() == (store.run_dir("b") / "rows.parquet").read_bytes()


def test_a_complete_run_ends_its_checkpoint_and_its_failure(store):
    store.checkpoint(RUN).save({}, {})
    file = store.write_failure(RUN, {"error": "no"})
    assert file.exists()
    store.write_run(RUN, ROWS, record=record())
    assert store.checkpoint(RUN).load() is None
    assert not file.exists()


def test_a_run_is_never_replaced(store):
    store.write_run(RUN, ROWS, record=record(first=True))
    store.write_run(RUN, ROWS, record=record(first=False))
    assert store.load_record(RUN)["first"] is True
    assert [path.name for path in store.run_dir(RUN).parent.iterdir()] == [RUN]


def test_a_writer_killed_before_the_renaming_leaves_no_run(store, monkeypatch):
    def kill(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(type(store.out), "rename", kill)
        with pytest.raises(KeyboardInterrupt):
            store.write_run(RUN, ROWS, record=record())
    assert not store.is_complete(RUN)
    store.__exit__(None, None, None)
    with Store(store.out):
        assert list((store.out / "runs").iterdir()) == []


def test_the_next_writer_sweeps_up(store):
    store.write_run(RUN, ROWS, record=record())
    store.checkpoint(RUN).save({}, {})
    store.checkpoint("unfinished").save({}, {})
    aside(store.out / "checkpoints" / "x.safetensors").write_bytes(b"half")
    store.__exit__(None, None, None)
    with Store(store.out) as again:
        assert [path.name for path in (again.out / "checkpoints").iterdir()] == ["unfinished.safetensors"]


def test_the_marker_remembers(store):
    assert store.request() is None
    store.remember({"name": "marion2024"}, ["a", "b"])
    assert Store(store.out).request() == store.request() == {"name": "marion2024"}
    marker = Store(store.out).marker
    assert marker is not None
    assert marker.studies == ("a", "b")


def test_a_table_beside_the_runs(store):
    store.write_frame("rows.parquet", ROWS)
    assert pl.read_parquet(store.out / "rows.parquet").equals(ROWS, null_equal=True)


# What is refused ---------------------------------------------------------------------------------------------------


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"found files of something else \(thesis\.tex\)"):
        Store(tmp_path)


def test_an_empty_directory_and_one_of_a_writer_killed_at_once_are_not(tmp_path):
    (tmp_path / LOCK).write_text("1 here")
    (tmp_path / f".{MARKER}.1.part").write_text("half")
    (tmp_path / LOCK).write_text("")
    with Store(tmp_path) as store:
        assert (store.out / MARKER).exists()
        assert not list(tmp_path.glob(".*.part"))


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="expected a directory, found a file"):
        Store(tmp_path / "out")


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a directory that can be written, found: Not a directory"):
        Store(tmp_path / "file" / "out").__enter__()


def test_looking_writes_nothing(tmp_path):
    assert not Store(tmp_path / "out").is_complete(RUN)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="expected an output directory of deeplimit"):
        Store(tmp_path / "out").request()


def test_a_run_that_is_absent_or_damaged_has_no_rows_and_no_record(store):
    for load in (store.load_rows, store.load_record):
        with pytest.raises(InputError, match=f"{RUN}: expected a complete run, found that it is absent"):
            load(RUN)
    store.write_run(RUN, ROWS, record=record())
    (store.run_dir(RUN) / "run.json").write_text("nonsense")
    again = Store(store.out)
    for load in (again.load_rows, again.load_record):
        with pytest.raises(InputError, match=r"expected a complete run, found that run\.json was altered"):
            load(RUN)


@pytest.mark.parametrize("name", ["rows.parquet", "run.json"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("nonsense")])
def test_what_is_altered_once_it_was_found_sound_is_said_in_words(store, name, damage):
    store.write_run(RUN, ROWS, record=record())
    assert store.is_complete(RUN)
    damage(store.run_dir(RUN) / name)
    with pytest.raises(InputError, match=f"{name}: expected a file that stays as it is"):
        (store.load_rows if name == "rows.parquet" else store.load_record)(RUN)


def test_a_record_that_could_not_be_read_again_is_not_written(store):
    with pytest.raises(InputError, match=f"record of run {RUN} is not as deeplimit writes it .seconds: Field required"):
        store.write_run(RUN, ROWS, record={name: value for name, value in record().items() if name != "seconds"})
    assert not store.run_dir(RUN).exists()


def test_a_damaged_run_stays_until_the_new_one_is_whole(store, monkeypatch):
    store.write_run(RUN, ROWS, record=record())
    (store.run_dir(RUN) / "rows.parquet").write_text("damaged")
    again = Store(store.out)
    assert again.flaw(RUN) == "rows.parquet was altered"
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            again.write_run(RUN, ROWS, record=record())
    assert (store.run_dir(RUN) / "rows.parquet").read_text() == "damaged"
    again.write_run(RUN, ROWS, record=record())
    assert again.is_complete(RUN)
    assert Store(store.out).is_complete(RUN)
    assert Store(store.out).load_rows(RUN).equals(ROWS, null_equal=True)
    assert [path.name for path in (store.out / "runs").iterdir()] == [RUN]


# The marker --------------------------------------------------------------------------------------------------------

MARKERS = {
    "newer": (f'{{"format": {FORMAT + 1}, "new": 1}}', f"{MARKER} is of format {FORMAT + 1}, of another version"),
    "zero": ('{"format": 0, "version": "0", "request": null}', f"{MARKER} is of format 0"),
    "list": ("[]", "not as deeplimit writes it .Input should be an object"),
    "text": ("nonsense", "not as deeplimit writes it .Invalid JSON"),
    "empty": ("", "not as deeplimit writes it .Invalid JSON"),
    "deep": ("[" * 100_000, "not as deeplimit writes it .Invalid JSON: recursion limit"),
    "no format": ('{"version": "0", "request": null}', "format: Field required"),
    "no request": (f'{{"format": {FORMAT}, "version": "0"}}', "request: Field required"),
    "request of text": (f'{{"format": {FORMAT}, "version": "0", "request": "x"}}', "request: Input should be"),
}


@pytest.mark.parametrize("name", MARKERS)
def test_a_directory_whose_marker_is_newer_or_not_ours_is_refused_unchanged(tmp_path, name):
    content, message = MARKERS[name]
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(InputError, match=rf"output .*{message}.*; use another --out") as refused:
        Store(tmp_path)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]
    assert (tmp_path / MARKER).read_text() == content


def test_a_marker_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / MARKER)  # reading it would wait for ever
    with pytest.raises(InputError, match=f"found that {MARKER} is no file"):
        Store(tmp_path)


def test_a_marker_of_an_older_version_is_read_and_renewed(tmp_path):
    (tmp_path / MARKER).write_text('{"format": 1, "version": "0.1", "request": {"kind": "paper"}}')
    with Store(tmp_path) as store:
        assert store.request() == {"kind": "paper"}
        store.remember({"kind": "file"})
    assert json.loads((tmp_path / MARKER).read_text())["format"] == FORMAT


# Paths -------------------------------------------------------------------------------------------------------------

NAMES = ["ex[1]", "*", "?", "a b", "~", "a\nb", "-x", "--out", "λ…", "{a,b}", "$HOME", "%s", "x" * 150, "\udcff"]


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_is_text_and_never_a_pattern(tmp_path, name):
    for decoy in ("ex1", "other"):
        with Store(tmp_path / decoy) as store:
            store.write_run(RUN, ROWS, record=record(decoy=True))
    out = tmp_path / name
    with Store(out) as store:
        store.write_run(RUN, ROWS, record=record())
        store.checkpoint("unfinished").save({}, {})
        aside(out / "checkpoints" / "x").write_bytes(b"half")
        store.write_frame("rows.parquet", ROWS)
    with Store(out) as store:
        assert store.load_record(RUN) == record()
        assert store.load_rows(RUN).equals(ROWS, null_equal=True)
        assert [path.name for path in (out / "checkpoints").iterdir()] == ["unfinished.safetensors"]
    assert sorted(os.listdir(tmp_path)) == sorted(["ex1", "other", name])


def test_a_link_to_a_directory_is_that_directory(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    with Store(tmp_path / "out") as store:
        store.write_run(RUN, ROWS, record=record())
    assert Store(tmp_path / "disk").is_complete(RUN)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "output: expected the path of a directory, found ''"),
        ("-", "output: expected the path of a directory, found '-'"),
        ("no/such", r"output no/such: expected a folder to make it in, found none at no$"),
        ("file/out", "found none at file"),
        ("~/out", "found none at ~"),
        ("results/a/b", "found none at results/a"),
        ("x" * 5000, "found: File name too long"),
    ],
)
def test_an_output_that_cannot_be_made_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=message):
        output_folder(name)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["out", "./out", "results/out", "there", "there/", ".", "..", "-x", "ex[1]"])
def test_an_output_that_can_be_made_is_taken(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert output_folder(name) == Path(name)


def test_paths_that_would_be_too_long_inside_are_refused_before_work(tmp_path):
    out = tmp_path
    while len(str(out)) < 3850:
        out /= "x" * 100
    out /= "x" * (4050 - len(str(out)) - 1)
    with pytest.raises(InputError, match="File name too long"):
        Store(out)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("what", ["file", "link"])
def test_something_else_in_the_place_of_a_folder_of_ours_is_refused(tmp_path, name, what):
    with Store(tmp_path / "out") as store:
        pass
    (tmp_path / "pictures").mkdir()
    if (store.out / name).exists():
        (store.out / name).rmdir()
    (store.out / name).write_text("") if what == "file" else (store.out / name).symlink_to(tmp_path / "pictures")
    with pytest.raises(InputError, match=f"expected a folder {name} in it, found a file or a link"):
        Store(store.out)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_of_ours_is_refused(tmp_path, name):
    with Store(tmp_path / "out") as store:
        (store.out / name).mkdir()
    with pytest.raises(InputError, match=f"expected a file {name} in it, found a folder"):
        Store(store.out)


def test_a_lock_that_is_a_link_empties_no_file(tmp_path):
    with Store(tmp_path / "out") as store:
        pass
    (tmp_path / "mine").write_text("1")
    (store.out / LOCK).unlink()
    (store.out / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="symbolic links"):
        store.__enter__()
    assert (tmp_path / "mine").read_text() == "1"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_refused(tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(InputError, match=r"can be written, found: Permission denied"):
        Store(tmp_path / "out").__enter__()


# One writer --------------------------------------------------------------------------------------------------------

HOLD = """
import sys
from deeplimit.records import Store
with Store(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes the directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_and_told_who_writes(holder, tmp_path):
    with pytest.raises(InputError, match=f"found process {holder.pid} on {platform.node()}; wait for it"):
        Store(tmp_path / "out").__enter__()


def test_reading_needs_no_lock(holder, tmp_path):
    assert not Store(tmp_path / "out").is_complete(RUN)


def test_the_lock_of_a_killed_writer_is_taken_over(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / "out" / LOCK).read_text().startswith(str(holder.pid))
    with Store(tmp_path / "out"):
        assert (tmp_path / "out" / LOCK).read_text() == f"{os.getpid()} {platform.node()}\n"
    assert (tmp_path / "out" / LOCK).read_text() == ""


def test_without_locks_in_the_file_system_the_process_named_in_the_file_counts(holder, tmp_path, monkeypatch):
    def unknown(file, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with pytest.raises(InputError, match=f"found process {holder.pid}"):
        Store(tmp_path / "out").__enter__()
    holder.kill()
    holder.wait()
    with Store(tmp_path / "out") as store:
        assert (store.out / LOCK).read_text().startswith(str(os.getpid()))


def test_the_lock_of_a_killed_writer_on_another_host_is_left_to_a_person(tmp_path):
    with Store(tmp_path / "out"):
        pass
    (tmp_path / "out" / LOCK).write_text("77 elsewhere\n")
    with pytest.raises(InputError, match=rf"process 77 on elsewhere; remove .*{LOCK} if that process is dead"):
        Store(tmp_path / "out").__enter__()


def test_the_record_is_json(store):
    store.write_run(RUN, ROWS, record=record(λ=[1, 2], dtype=np.dtype("float32")))
    assert json.loads((store.run_dir(RUN) / "run.json").read_text()) == record(λ=[1, 2], dtype="float32")
