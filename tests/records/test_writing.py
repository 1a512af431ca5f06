from __future__ import annotations

import json
import os

import pytest

from deeplimit.records import write_bytes, write_json, write_text
from deeplimit.records.writing import aside, discard, settle, sweep_leftovers, write_through


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
    for name in ("c.part", ".mine.part", ".video.mp4.part"):
        write_text(tmp_path / "runs" / name, "kept")
    (tmp_path / "elsewhere").mkdir()
    write_through(aside(tmp_path / "elsewhere" / "d"), b"half")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere")
    aside(tmp_path / "runs" / "e").symlink_to(tmp_path / "runs")
    sweep_leftovers(tmp_path / "runs")
    assert len(os.listdir(tmp_path / "elsewhere")) == 1
    sweep_leftovers(tmp_path)
    settle(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "runs"]
    assert os.listdir(tmp_path / "elsewhere") == []
    assert sorted(os.listdir(tmp_path / "runs")) == [".mine.part", ".video.mp4.part", "c.part", "link"]


def test_whatever_is_there_is_discarded(tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("folder", "file", "link", "nothing"):
        discard(tmp_path / name)
    assert os.listdir(tmp_path) == ["kept"]


def test_a_name_that_no_text_can_say_is_written_all_the_same(tmp_path):
    write_json(tmp_path / "a.json", {"file": "b\udcff.py"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"file": "b?.py"}
