"""Whose code draws a report again."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from deeplimit.checks import InputError
from deeplimit.study import Execution, Request, carry_out, load_file, subject_of_file

FLOW = Path(__file__).parents[1] / "studies" / "flow.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a study file in it, its output directory, and the request."""
    folder = tmp_path_factory.mktemp("made")
    file = folder / "mine.py"
    file.write_text(FLOW.read_text())
    request = Request("file", str(file), seeds=0, folder=str(folder))
    carry_out(load_file(file), request, out=folder / "out", execution=Execution())
    return folder, request


def test_the_file_that_is_named_is_run_wherever_it_lies(made, tmp_path):
    folder, request = made
    shutil.copy(folder / "mine.py", tmp_path)
    for file in (folder / "mine.py", tmp_path / "mine.py", folder / "out" / "study" / "mine.py"):
        subject = subject_of_file(folder / "out", request, file=file)
        assert carry_out(subject, request, out=folder / "out").reused == 3


def test_without_a_name_nothing_is_run_and_the_command_is_said(made, monkeypatch):
    folder, request = made
    monkeypatch.chdir(folder)
    (folder / "out" / "study" / "mine.py").write_text("raise SystemExit('the copy was run')")
    expected = "out: expected --study FILE, .* found none; it was made by: deeplimit report out --study mine.py$"
    with pytest.raises(InputError, match=expected):
        subject_of_file(Path("out"), request, file=None)


@pytest.mark.parametrize("place", ["", "nowhere", "out/study"])
def test_a_file_that_is_gone_or_the_directorys_own_is_not_proposed(made, place):
    folder, request = made
    lies = dataclasses.replace(request, folder=str(folder / place), name="absent.py" if not place else "mine.py")
    with pytest.raises(InputError, match=r"is not there any more, .*out/study/\w+\.py is a copy of it: read it"):
        subject_of_file(folder / "out", lies, file=None)


def test_another_study_is_refused(made, tmp_path):
    folder, request = made
    (tmp_path / "other.py").write_text(
        FLOW.read_text()
        .replace("np.sin(x)", "np.cos(x)")
        .replace("revision: ClassVar[int] = 1", "revision: ClassVar[int] = 9")
    )
    with pytest.raises(
        InputError,
        match=rf"other\.py: expected the study that {folder}/out was made by, found one of whose 3 runs none",
    ):
        subject_of_file(folder / "out", request, file=tmp_path / "other.py")
    os.mkdir(tmp_path / "empty")
    assert subject_of_file(tmp_path / "empty", request, file=tmp_path / "other.py").name == "other"
