"""What is said of a failure: one line; of the user's own code also the line of it that failed, and where the whole traceback is."""

from __future__ import annotations

import linecache
import os
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeplimit.checks import InputError

#: Status of a failure that is a fault of this program, that of sysexits.h: 1 is an answer of some commands.
INTERNAL = 70
#: Set to anything, it shows whole tracebacks.
VARIABLE = "DEEPLIMIT_TRACEBACK"
_LONGEST = 500
_ALLOCATION = ("allocate memory", "out of memory")  # PyTorch says so in errors that are no MemoryError


class UsersCodeError(InputError):
    """Code of the user's own failed; the cause of this error is what it raised."""


@contextmanager
def users_code(what: str) -> Iterator[None]:
    """Turn what code of the user's own raises into a `UsersCodeError`, whose message says where.

    What this program itself objects to, without that code calling it, is passed on.

    Args:
        what: names the code.

    >>> with users_code("training:train"):
    ...     int("x")
    Traceback (most recent call last):
    deeplimit.failures.UsersCodeError: training:train: ValueError: invalid literal for int() with base 10: 'x'
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        place = _place(error)
        if isinstance(error, InputError) and place is None:
            raise
        where = f" ({Path(place[0]).name}, line {place[1]})" if place else ""
        raise UsersCodeError(f"{what}: {_kind(error)}{where}") from error


def told(error: BaseException) -> tuple[str, int]:
    """What is said of an error, and the exit status: 2 for what cannot be used, 1 for what the system refuses, or `INTERNAL`."""
    cause = error.__cause__ if isinstance(error, UsersCodeError) else error
    place = _place(cause) if cause else None
    if isinstance(error, UsersCodeError) or place:
        said = str(error) if isinstance(error, InputError) else _kind(error)
        return "\n".join([_one_line(said), *_source(place), f"  {_kept(cause or error)}"]), 2
    if isinstance(error, InputError):
        return _one_line(str(error)), 2
    if isinstance(error, OSError):
        return _one_line(str(error)), 1
    if isinstance(error, MemoryError) or any(words in str(error) for words in _ALLOCATION):
        return _one_line(f"expected more memory than there is, found {_kind(error)}"), 1
    return f"{_one_line(f'internal error: {_kind(error)}')}; {_kept(error)}", INTERNAL


def _source(place: tuple[str, int] | None) -> list[str]:
    """The line of the user's code at a place, where it can be read."""
    line = linecache.getline(*place).strip() if place else ""
    return [f"    {_one_line(line)}"] if line else []


def _one_line(text: str) -> str:
    """A text as one line that a terminal can show."""
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _kind(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _place(error: BaseException) -> tuple[str, int] | None:
    """File and line of the user's code at which it failed: the last one that is neither of this program nor of an installed package."""
    if isinstance(error, SyntaxError) and error.filename and _is_users(error.filename):
        return error.filename, error.lineno or 0
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else None


def _is_users(file: str) -> bool:
    """Whether a file is neither this program's, nor Python's, nor an installed package's."""
    known = [Path(__file__).parent, *map(Path, (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))]
    path = Path(file)
    return not file.startswith("<") and not any(path.is_relative_to(folder) for folder in known)


def _kept(error: BaseException) -> str:
    """Where the traceback is: in a file of its own, or here if it is asked for."""
    text = "".join(traceback.format_exception(error))
    if os.environ.get(VARIABLE):
        return text
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="deeplimit-", suffix=".txt", delete=False, errors="replace"
        ) as file:
            file.write(text)
    except OSError as problem:
        return f"traceback: could not be written ({problem})"
    return f"traceback: {file.name}"
