"""What is said of a failure."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from deeplimit.checks import InputError, positive_int
from deeplimit.failures import INTERNAL, UsersCodeError, told, users_code
from deeplimit.loading import load_function


def error_of(action: Callable[[], object]) -> BaseException:
    """What a call raises, without this file in its traceback: it is no code of a user's."""
    try:
        action()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    raise AssertionError


@pytest.fixture(autouse=True)
def _temporary(tmp_path, monkeypatch):
    """Tracebacks of these tests go where their other files are."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def mine(tmp_path):
    """A function that loads `f` of a module of the user's."""

    def load(body: str):
        (tmp_path / "mine.py").write_text(f"import sys, torch\ndef g(): {body}\ndef f():\n    return g()\n")
        return load_function(f"{tmp_path / 'mine.py'}:f")

    return load


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise MemoryError", "MemoryError"),
        ("g()", "RecursionError: maximum recursion depth exceeded"),
        ("torch.ones(2) @ torch.ones(3)", "RuntimeError: inconsistent tensor size"),
        ("raise OSError(28, 'full')", "OSError: [Errno 28] full"),
    ],
)
def test_of_the_users_code_the_line_that_failed_is_shown_and_the_rest_is_in_a_file(mine, body, said):
    error = error_of(users_code("mine:f")(mine(body)))
    assert isinstance(error, UsersCodeError)
    text, status = told(error)
    first, source, file = text.splitlines()
    assert status == 2
    assert first.startswith(f"mine:f: {said}")
    assert first.endswith("(mine.py, line 2)")
    assert source == f"    def g(): {body}"
    trace = Path(file.removeprefix("  traceback: ")).read_text()
    assert "in f" in trace
    assert body in trace


def test_users_code_is_known_without_being_announced(mine):
    text, status = told(error_of(mine("{}['depth']")))
    assert text.startswith("KeyError: 'depth'\n    def g(): {}['depth']\n  traceback: ")
    assert status == 2


def test_what_cannot_be_compiled_is_shown(tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\ndef f(:\n")
    text, status = told(error_of(partial(load_function, f"{tmp_path / 'mine.py'}:f")))
    assert text.splitlines()[0].endswith("(mine.py, line 2)")
    assert text.splitlines()[1] == "    def f(:"
    assert status == 2


def test_what_this_program_objects_to_itself_is_no_fault_of_the_users_code(mine):
    said = "seeds: expected an integer of at least 1, found 0"
    assert told(error_of(users_code("mine:f")(partial(positive_int, "seeds", 0)))) == (said, 2)
    through = mine("__import__('deeplimit.checks').checks.positive_int('seeds', 0)")
    text, _ = told(error_of(through))
    assert text.splitlines()[0] == said
    assert len(text.splitlines()) == 3


def test_code_of_a_package_that_the_user_named_is_his():
    first, file = told(error_of(users_code("json:loads")(partial(json.loads, "{"))))[0].splitlines()
    assert first.startswith("json:loads: JSONDecodeError: Expecting property name")
    assert file.startswith("  traceback: ")


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (InputError("two\nlines, \x1b[31mred"), "two lines, ?[31mred", 2),
        (InputError("x" * 1000), "x" * 499 + "…", 2),
        (OSError(errno.ENOSPC, "No space left on device"), "[Errno 28] No space left on device", 1),
        (MemoryError("Unable to allocate 3 TiB"), "expected more memory than there is, found MemoryError: Unable to allocate 3 TiB", 1),
        (RuntimeError("can't allocate memory"), "expected more memory than there is, found RuntimeError: can't allocate memory", 1),
    ],
)  # fmt: skip
def test_a_failure_is_one_line(error, said, status):
    assert told(error) == (said, status)


def test_a_fault_of_this_program_names_the_file_with_the_traceback(tmp_path, monkeypatch):
    text, status = told(KeyError("x"))
    assert status == INTERNAL
    assert text == f"internal error: KeyError: 'x'; traceback: {next(tmp_path.iterdir())}"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    assert "traceback: could not be written" in told(KeyError("x"))[0]
