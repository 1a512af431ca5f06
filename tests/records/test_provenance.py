from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

from deeplimit import __version__
from deeplimit.records import Context
from deeplimit.records import provenance as whole
from deeplimit.records.provenance import HOME, _commit, machine, package_versions, provenance, source_checksum


@pytest.fixture(autouse=True)
def fresh():
    machine.cache_clear()
    source_checksum.cache_clear()
    yield
    machine.cache_clear()
    source_checksum.cache_clear()


def test_everything_that_the_design_lists_is_there():
    facts = provenance(Context(engine="torch", threads=2, provenance={"engine": "reference", "data": "abc"}))
    assert facts["versions"]["deeplimit"] == __version__
    assert facts["versions"]["numpy"][0].isdigit()
    assert facts["cpu"]["cores"] >= 1
    assert facts["threads"] == 2
    assert facts["device"] == "cpu"
    assert facts["engine"] == "reference"  # the engine that ran, not the one that was asked for
    assert facts["data"] == "abc"
    assert facts["date"].endswith("+00:00")
    assert len(facts["code"]["sha256"]) == 64
    assert json.loads(json.dumps(facts)) == facts


def test_a_machine_without_git_or_gpu_is_no_failure(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert machine()["gpu"] == []
    assert machine()["code"].keys() == {"sha256"}


def test_a_program_that_fails_says_nothing(monkeypatch):
    def fail(*args, **kwargs):
        raise subprocess.TimeoutExpired("git", 20)

    monkeypatch.setattr(subprocess, "run", fail)
    assert _commit() == {}


def test_the_commit_of_a_checkout_and_whether_it_was_edited(tmp_path, monkeypatch):
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    home = tmp_path / "src" / "deeplimit"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")

    def run(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            [git, "-C", str(tmp_path), *who, *words], capture_output=True, text=True, check=True
        ).stdout

    monkeypatch.setattr(whole.__globals__["sys"].modules[provenance.__module__], "HOME", home)
    assert _commit() == {}
    run("init", "-q")
    assert _commit() == {}  # not tracked: the files could be anything
    run("add", ".")
    run("commit", "-q", "-m", "one")
    assert _commit() == {"commit": run("rev-parse", "HEAD").strip(), "edited": False}
    (home / "other.py").write_text("1")
    source_checksum.cache_clear()
    assert _commit()["edited"] is True


def test_the_checksum_is_of_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = source_checksum(tmp_path)
    source_checksum.cache_clear()
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert source_checksum(tmp_path) != first
    assert source_checksum(HOME) == machine()["code"]["sha256"]


def test_versions_of_packages_go_by_what_is_imported_and_pythons_own_have_none():
    assert package_versions(["numpy", "math", "not_there"]) == {"numpy": np.__version__}
