"""Calls in other processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial

import pytest

from deeplimit.workers import answers


def call(function, *arguments: object) -> bytes:
    return pickle.dumps(partial(function, *arguments))


def test_answers_come_from_so_many_other_processes(tmp_path):
    found = list(answers([call(os.getpid)] * 6, 2, environment={}))
    assert len(found) == 6
    assert os.getpid() not in found
    assert 1 <= len(set(found)) <= 2
    assert list(answers([call(abs, -3)], 5, environment={})) == [3]
    assert list(answers([], 2, environment={})) == []


def test_a_short_call_is_answered_before_a_long_one_that_began_earlier():
    assert list(answers([call(time.sleep, 1.0), call(abs, -3)], 2, environment={})) == [3, None]


def test_workers_have_the_variables_and_the_path_of_their_parent(monkeypatch, tmp_path):
    (tmp_path / "beside.py").write_text("def f(): return 5")
    monkeypatch.syspath_prepend(tmp_path)
    import beside  # type: ignore[import-not-found]

    (found,) = answers([call(os.getenv, "OF_A_WORKER")], 1, environment={"OF_A_WORKER": "yes"})
    assert found == "yes"
    assert "OF_A_WORKER" not in os.environ
    assert list(answers([call(beside.f)], 1, environment={})) == [5]


def test_what_a_call_raises_is_raised(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="invalid literal for int"):
        list(answers([call(int, "x")], 1, environment={}))
    with pytest.raises(TypeError, match="cannot pickle"):
        list(answers([call(threading.Lock)], 1, environment={}))
    (tmp_path / "stubborn.py").write_text("class E(Exception): __reduce__ = None\ndef f(): raise E('will not travel')")
    monkeypatch.syspath_prepend(tmp_path)
    import stubborn  # type: ignore[import-not-found]

    with pytest.raises(RuntimeError, match="E: will not travel"):
        list(answers([call(stubborn.f)], 1, environment={}))


def test_a_worker_that_is_killed_is_an_error():
    with pytest.raises(ChildProcessError, match="a process was killed"):
        list(answers([call(os._exit, 9), call(abs, 1)], 1, environment={}))


def test_who_stops_asking_leaves_no_process_behind():
    found = answers([call(os.getpid), call(time.sleep, 600)], 1, environment={})
    began = time.monotonic()
    with closing(found):
        process = next(found)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert time.monotonic() - began < 60


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
WORKER = """
import os, threading
from deeplimit.workers import attend
attend(os.getppid())
print("ready", flush=True)
threading.Event().wait()
"""


def test_a_worker_does_not_heed_ctrl_c_and_ends_when_its_parent_is_killed():
    words = [sys.executable, "-c", PARENT, WORKER]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        os.kill(int(parent.stdout.readline()), signal.SIGINT)
        parent.kill()
        # The worker has this stream too, so that it ends when both have; a trace of an interrupt would stand in it.
        assert parent.communicate(timeout=30)[1] == b""
