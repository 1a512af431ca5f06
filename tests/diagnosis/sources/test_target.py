"""One text names a network, whatever it is, and no file does harm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources import open_target
from deeplimit.diagnosis.sources.target import open_file
from tests.diagnosis.sources.hostile import network

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.bin", "plain", "a.onnx"])
def test_the_content_of_a_file_decides(tmp_path, name):
    for kind in ("safetensors", "zip", "old"):
        file = tmp_path / name
        if kind == "safetensors":
            save_file(network(), file)
        else:
            torch.save(network(), file, _use_new_zipfile_serialization=kind == "zip")
        source = open_target(str(file))
        assert source.title == str(file)
        assert dict(source.shapes) == {name: tuple(tensor.shape) for name, tensor in network().items()}
        assert all(torch.equal(source.read(name), tensor) for name, tensor in network().items())


def test_a_file_of_no_format_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(InputError, match=r"a\.txt: expected a safetensors file, .* found none of them"):
        open_file(tmp_path / "a.txt")
    (tmp_path / "net.py").write_text("def net(): ...")
    with pytest.raises(InputError, match=r"expected .*net\.py:FUNCTION, a function that returns a module"):
        open_target(str(tmp_path / "net.py"))
    with pytest.raises(InputError, match=r"no\.safetensors: expected a file, found no such file"):
        open_target(str(tmp_path / "no.safetensors"))


def test_stacked_files_and_folders_are_opened_as_blocks(tmp_path):
    save_file({"V": torch.arange(24.0).reshape(4, 3, 2), "initial.V": torch.zeros(4, 3, 2)}, tmp_path / "a.safetensors")
    for target in (tmp_path / "a.safetensors", tmp_path):
        source = open_target(str(target))
        assert list(source.shapes) == [f"blocks.{k}.V" for k in range(4)]
        assert source.read("blocks.3.V").tolist() == [[18, 19], [20, 21], [22, 23]]


def test_names_are_told_from_functions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from torch import nn\ndef net(): return nn.Linear(2, 3)\n")
    assert dict(open_target("mine.py:net").shapes) == {"weight": (3, 2), "bias": (3,)}
    with pytest.raises(InputError, match="expected a file, a folder, MODULE:function"):
        open_target("no-such-thing-anywhere")
    with pytest.raises(InputError, match="expected"):
        open_target("a\0b")


def hostile(folder: Path, *arguments: str) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.diagnosis.sources.hostile", str(folder), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_no_hostile_file_runs_code_takes_memory_or_gives_a_traceback(tmp_path):
    found = hostile(tmp_path, "0", "2000")
    assert found["different"] == 2000
    assert found["strange"] == {}
    assert found["run"] == []
    assert found["grown"] < 200e6  # type: ignore[operator]
    ends = found["ends"]
    assert ends["read"] > 100  # type: ignore[index]
    assert ends["refused"] > 1500  # type: ignore[index]


def test_the_hostile_files_would_run_code_where_they_are_trusted(tmp_path):
    assert len(hostile(tmp_path, "0", "60", "trusting")["run"]) >= 3  # type: ignore[arg-type]
