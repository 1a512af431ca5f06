"""However a command ends, the user reads one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

FLOW = str(Path(__file__).parent / "studies" / "flow.py")
STOP = "import os, signal, time\n{}os.kill(os.getpid(), signal.SIGINT); time.sleep(60)\n"
CONVERTED = STOP.format("try: ") + "except KeyboardInterrupt: raise ImportError('numpy is broken')\n"
LOST = STOP.format("class A:\n def __del__(self): ") + "A()\ntime.sleep(60)\n"


def run(
    *words: str, folder: Path | None = None, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, in `folder`, whose modules come before all others."""
    first = {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"} if folder else {}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120, **options}
    command = [sys.executable, "-m", "deeplimit", *words]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, cwd=folder, env={**os.environ, **first, **(env or {})}, check=False, **options
    )
    return done


@pytest.fixture
def modules(tmp_path):
    """A function that writes a module and returns its folder."""

    def write(name: str, text: str) -> object:
        (tmp_path / f"{name}.py").write_text(text)
        return tmp_path

    return write


def test_the_module_is_the_program_and_a_wrong_command_line_is_one_line():
    done = run("nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"deeplimit: No such command 'nothing'.* \(deeplimit --help says more\)\n", done.stderr)
    done = run("study", "--tier")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"deeplimit: Option '--tier' requires an argument. \(deeplimit --help says more\)\n", done.stderr
    )


def test_no_command_at_all_shows_what_there_is():
    done = run()
    assert done.returncode == 2
    assert "reproduce" in done.stderr + done.stdout


@pytest.mark.parametrize("module", ["typer", "numpy"])
@pytest.mark.parametrize("text", [STOP.format(""), CONVERTED, LOST], ids=["plain", "converted", "in a destructor"])
def test_ctrl_c_while_something_is_imported_is_one_line(modules, module, text):
    done = run("study", FLOW, "--out", "never", folder=modules(module, text))
    assert (done.returncode, done.stdout) == (130, "")
    assert re.fullmatch(r"stopped; what is complete is kept\. To go on from here: deeplimit study .*\n", done.stderr)


def test_ctrl_c_where_there_is_nothing_to_go_on_with_says_stopped(modules):
    done = run("study", FLOW, "--dry-run", folder=modules("numpy", STOP.format("")))
    assert (done.returncode, done.stderr) == (130, "stopped\n")


BROKEN = """
import sys
import deeplimit.papers
from deeplimit.__main__ import main
deeplimit.papers.load = {}.__getitem__
sys.argv = ["deeplimit", "list", "not\\nthere"]
main()
"""


def test_an_error_of_this_program_is_one_line_with_a_file(tmp_path):
    def broken(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"TMPDIR": str(tmp_path)} | variables
        words = [sys.executable, "-c", BROKEN]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    done = broken()
    assert (done.returncode, done.stdout) == (70, "")
    found = re.fullmatch(r"deeplimit: internal error: KeyError: 'not\\nthere'; traceback: (.*)\n", done.stderr)
    assert found
    assert Path(found[1]).parent == tmp_path
    assert "Traceback (most recent call last)" in Path(found[1]).read_text()
    assert "Traceback (most recent call last)" in broken(DEEPLIMIT_TRACEBACK="1").stderr
    done = broken(TMPDIR="/dev/null/none", HOME="/dev/null/none")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_hears_nothing():
    words = [sys.executable, "-m", "deeplimit", "list", "marion2024", "--claims"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, as outside Linux")
def test_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = run("list", stdout=full)
    assert (done.returncode, done.stderr) == (1, "deeplimit: [Errno 28] No space left on device\n")


def test_what_a_terminal_cannot_show_is_no_failure():
    done = run("list", "marion2024", "--claims", env={"PYTHONIOENCODING": "iso8859-1"}, encoding="iso8859-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2212" in done.stdout
