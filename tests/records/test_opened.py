from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from deeplimit.records import opened
from deeplimit.records.opened import changed, checksum, files_read


@pytest.fixture(autouse=True)
def _nothing_before(monkeypatch):
    monkeypatch.setattr(opened, "_before", {})


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.txt"
    path.write_text("1 2 3")
    return path


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "read",
    [
        lambda path: path.read_text(),
        lambda path: os.close(os.open(path, os.O_RDONLY)),
        lambda path: np.loadtxt(path),
        lambda path: open(os.path.relpath(path), encoding="utf-8").close(),
        lambda path: np.memmap(path, mode="r"),
    ],
)
def test_a_file_that_is_read_is_noted_with_its_checksum(data, read):
    with files_read() as files:
        read(data)
    assert files == {str(data): sha(data)}
    with files_read() as files:
        pass
    assert files == {}


def test_nothing_is_noted_after_the_block_even_if_it_fails(data):
    with pytest.raises(RuntimeError, match="fails"), files_read() as files:
        raise RuntimeError("fails")
    data.read_text()
    assert files == {}


def test_what_is_no_input_is_left_out(data, tmp_path):
    import json.tool  # a module of Python

    (tmp_path / "store").mkdir()
    own = tmp_path / "store" / "checkpoint"
    own.write_text("")
    with files_read([tmp_path / "store"]) as files:
        own.read_text()
        Path(json.tool.__file__).read_text()
        Path(__file__).read_text()  # a module that is imported
        Path(np.__file__).with_name("version.py").read_text()
        Path("/proc/self/stat").read_text()
        written = tmp_path / "written"
        written.write_text("a")
        written.read_text()
        gone = tmp_path / "gone"
        gone.write_text("")
        gone.unlink()
        with pytest.raises(FileNotFoundError):
            (tmp_path / "absent").read_text()
    assert files == {}


def test_a_file_that_changes_while_it_is_used_is_equal_to_nothing(data):
    with files_read() as files:
        data.read_text()
        os.utime(data, ns=(1, 1))
    assert files == {str(data): ""}
    assert changed(files) == {str(data): sha(data)}


def test_what_a_cache_may_hand_on_counts_for_the_tasks_after(data):
    with files_read():
        data.read_text()
    before = sha(data)
    with files_read(kept=True) as files:
        pass
    assert files == {str(data): before}
    data.write_text("4 5 6 7")
    with files_read(kept=True) as files:
        pass
    assert files == {str(data): before}  # the content that the cache holds
    with files_read(kept=True) as files:
        data.read_text()
    assert files == {str(data): ""}


def test_what_changed_is_named_with_what_it_is_now(data, tmp_path):
    files = {str(data): sha(data), str(tmp_path / "gone"): "0"}
    assert changed(files) == {str(tmp_path / "gone"): None}
    data.write_text("7 8 9!")
    assert changed(files) == {str(data): sha(data), str(tmp_path / "gone"): None}
    assert checksum(str(tmp_path)) is None
