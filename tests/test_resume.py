"""A run killed at any moment goes on where it was: the rows are those of an undisturbed run, bit for bit.

`pytest tests/test_resume.py --kills 50` kills more often than the three times of the suite.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from safetensors.numpy import load_file

STUDIES = Path(__file__).parent / "studies"
#: In one process, in two, and training with PyTorch.
KINDS = {
    "flow": ["flow.py", "--tier", "paper"],
    "workers": ["flow.py", "--tier", "paper", "--workers", "2"],
    "training": ["training.py"],
}


def start(kind: str, out: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, with a checkpoint every few milliseconds of work."""
    file, *options = KINDS[kind]
    words = [sys.executable, "-m", "deeplimit", "study", str(STUDIES / file), "--out", str(out), *options]
    environment = os.environ | {"DEEPLIMIT_CHECKPOINT_SECONDS": "0.02", "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def finish(kind: str, out: Path) -> str:
    """Run to the end; what was printed."""
    process = start(kind, out)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return printed


def rows(out: Path) -> dict[str, bytes]:
    """The row files of all runs and of the whole, by their place."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("rows.parquet")}


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".parquet": pl.read_parquet,
    ".safetensors": load_file,
}
ENDS = {".html": b"</html>", ".svg": b"</svg>", ".pdf": b"%%EOF"}


def check_whole(out: Path) -> None:
    """Every file under a final name is a whole one; a run directory has all of its files."""
    for path in out.rglob("*"):
        if any(part.startswith(".") for part in path.relative_to(out).parts) or path.is_dir():
            continue
        if path.suffix in READERS:
            READERS[path.suffix](path)
        elif path.suffix in ENDS:
            assert ENDS[path.suffix] in path.read_bytes()[-64:], path
    for run in (out / "runs").glob("[!.]*"):
        assert {path.name for path in run.iterdir()} == {
            "run.json",
            "rows.parquet",
            "weights.safetensors",
            "checksums.json",
        }


def shares(kills: int) -> dict[str, int]:
    """How often each kind is killed, so that it makes `kills` together."""
    names = list(KINDS)
    return {name: len(range(i, kills, len(names))) for i, name in enumerate(names)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on(kind, tmp_path, request):
    kills = shares(request.config.getoption("--kills"))[kind]
    began = time.perf_counter()
    finish(kind, tmp_path / "undisturbed")
    whole = time.perf_counter() - began
    expected = rows(tmp_path / "undisturbed")
    moments = random.Random(kind)
    done, round_ = 0, 0
    while done < kills:
        out = tmp_path / str(round_)
        round_ += 1
        while done < kills and kill_at(moments.uniform(0.0, whole), start(kind, out)):
            done += 1
            check_whole(out)
        finish(kind, out)
        check_whole(out)
        assert rows(out) == expected
        assert not list(out.glob("checkpoints/*"))
        assert not list(out.rglob(".*.part"))


def kill_at(moment: float, process: subprocess.Popen[str]) -> bool:
    """Kill a process after some seconds; False where it was through before."""
    with process:
        try:
            process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(timeout=30)  # to the end of the streams, which its workers have too
            return True
    assert process.returncode == 0
    return False


def test_the_same_command_computes_nothing_twice(tmp_path):
    finish("flow", tmp_path)
    before = rows(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    assert "runs: 0 computed, 6 complete before, 0 failed" in finish("flow", tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == stamps
    assert rows(tmp_path) == before


@pytest.mark.parametrize(("kind", "line"), [("flow", 2), ("workers", 1), ("workers", 2), ("workers", 4)])
@pytest.mark.parametrize("whole_group", [False, True], ids=["process", "group"])
def test_ctrl_c_says_how_to_go_on_and_nothing_else(kind, line, whole_group, tmp_path):
    process = start(kind, tmp_path)
    assert process.stderr is not None
    for _ in range(line):  # "runs: 6 to compute", "[1/6] …"
        assert process.stderr.readline()
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    *progress, last = errors.splitlines()
    command = shlex.join(["deeplimit", *map(str, process.args[3:])])  # type: ignore[index]
    assert last == f"stopped; what is complete is kept. To go on from here: {command}"
    assert all(text.startswith("[") for text in progress)
    assert (process.returncode, printed) == (130, "")
    check_whole(tmp_path)
    assert "computed" in finish(kind, tmp_path)
