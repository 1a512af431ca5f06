from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from deeplimit.checks import InputError
from deeplimit.records import Store, frame
from deeplimit.records.store import LOCK, MARKER
from deeplimit.records.writing import aside, write_text

ROWS = frame([{"quantity": "loss", "value": 0.1, "depth": 4}, {"quantity": "loss", "value": float("nan")}])
RUN = "0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "out") as opened:
        yield opened


def test_a_run_comes_back_as_it_was_written(store):
    assert not store.is_complete(RUN)
    store.write_run(RUN, ROWS, record={"id": RUN, "seconds": 1.5}, weights={"V": np.arange(6.0).reshape(2, 3).T})
    assert store.is_complete(RUN)
    assert store.load_rows(RUN).equals(ROWS, null_equal=True)
    assert store.load_record(RUN) == {"id": RUN, "seconds": 1.5}
    assert load_file(store.run_dir(RUN) / "weights.safetensors")["V"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_run_without_weights_has_no_file_of_them(store):
    store.write_run(RUN, ROWS, record={})
    assert {path.name for path in store.run_dir(RUN).iterdir()} == {"rows.parquet", "run.json"}


def test_equal_rows_are_equal_files(store):
    store.write_run("a", ROWS, record={})
    store.write_run("b", ROWS.clone(), record={})
    assert (store.run_dir("a") / "rows.parquet").read_bytes() == (store.run_dir("b") / "rows.parquet").read_bytes()


def test_a_complete_run_ends_its_checkpoint_and_its_failure(store):
    store.checkpoint(RUN).save({}, {})
    file = store.write_failure(RUN, {"error": "no"})
    assert file.exists()
    store.write_run(RUN, ROWS, record={})
    assert store.checkpoint(RUN).load() is None
    assert not file.exists()


def test_a_run_is_never_replaced(store):
    store.write_run(RUN, ROWS, record={"first": True})
    store.write_run(RUN, ROWS, record={"first": False})
    assert store.load_record(RUN) == {"first": True}
    assert [path.name for path in store.run_dir(RUN).parent.iterdir()] == [RUN]


def test_a_writer_killed_before_the_renaming_leaves_no_run(store, monkeypatch):
    def kill(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(type(store.out), "rename", kill)
        with pytest.raises(KeyboardInterrupt):
            store.write_run(RUN, ROWS, record={})
    assert not store.is_complete(RUN)
    store.__exit__(None, None, None)
    with Store(store.out):
        assert list((store.out / "runs").iterdir()) == []


def test_the_next_writer_sweeps_up(store):
    write_text(store.out / "runs" / RUN / "run.json", "{}")
    store.checkpoint(RUN).save({}, {})
    store.checkpoint("unfinished").save({}, {})
    aside(store.out / "checkpoints" / "x.safetensors").write_bytes(b"half")
    store.__exit__(None, None, None)
    with Store(store.out) as again:
        assert [path.name for path in (again.out / "checkpoints").iterdir()] == ["unfinished.safetensors"]


def test_the_marker_remembers(store):
    assert store.request() is None
    store.remember({"name": "marion2024"})
    assert Store(store.out).request() == {"name": "marion2024"}


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


@pytest.mark.parametrize("name", ["rows.parquet", "run.json"])
def test_a_damaged_run_is_named(store, name):
    store.write_run(RUN, ROWS, record={})
    (store.run_dir(RUN) / name).write_text("nonsense")
    with pytest.raises(InputError, match=name):
        (store.load_rows if name == "rows.parquet" else store.load_record)(RUN)


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
    store.write_run(RUN, ROWS, record={"λ": [1, 2]})
    assert json.loads((store.run_dir(RUN) / "run.json").read_text()) == {"λ": [1, 2]}
