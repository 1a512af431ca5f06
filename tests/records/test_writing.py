from __future__ import annotations

import json
import os

import pytest

from deeplimit.records import write_bytes, write_json, write_text
from deeplimit.records.writing import aside, settle, sweep_leftovers, write_through


def test_the_file_is_there_and_nothing_else(tmp_path):
    write_bytes(tmp_path / "new" / "a", b"1")
    write_text(tmp_path / "new" / "a", "λ")
    assert (tmp_path / "new" / "a").read_text() == "λ"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_json_is_readable(tmp_path):
    write_json(tmp_path / "a.json", {"λ": 1.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"λ": 1.5}
    assert "λ" in (tmp_path / "a.json").read_text()


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_text(path, "old")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            write_text(path, "new")
    assert path.read_text() == "old"


def test_leftovers_are_swept_and_nothing_else(tmp_path):
    write_through(aside(tmp_path / "a"), b"half")
    (tmp_path / "runs").mkdir()
    aside(tmp_path / "runs" / "b").mkdir()
    write_through(aside(tmp_path / "runs" / "b") / "rows", b"half")
    write_text(tmp_path / "runs" / "c.part", "kept")
    sweep_leftovers(tmp_path)
    settle(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["c.part", "runs"]
