"""A file that the command line is told to write: looked at before any work, and put in place in one step at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deeplimit.checks import InputError
from deeplimit.records.writing import aside, settle, write_through

_HEAD = 2000  # bytes in which a page says what made it


def mark(maker: str) -> str:
    """What stands in the head of a page, so that the program that made it knows it again.

    >>> mark("deeplimit diagnose")
    '<meta name="generator" content="deeplimit diagnose">'
    """
    return f'<meta name="generator" content="{maker}">'


@dataclass(frozen=True)
class Page:
    """A page that the user wants at a path. Nothing that is there is overwritten but an older page by the same maker.

    Args:
        option: that names the path, for errors.
        text: the path, as the user wrote it.
        maker: which command makes it.
        inputs: files and folders that the command reads; none of them is overwritten, by no means.
        force: overwrite another file, too.

    Raises:
        InputError: nothing can or should be written there.
    """

    option: str
    text: str
    maker: str
    inputs: Sequence[Path] = ()
    force: bool = False

    def __post_init__(self) -> None:
        """Look at the path before any work."""
        self._check()

    @property
    def path(self) -> Path:
        """Where the page goes, links followed."""
        return Path(os.path.realpath(self.text))

    def write(self, content: str) -> None:
        """Put the page in place, if nothing else came there in the meantime."""
        self._check()
        part = aside(self.path)
        with self._in_words():
            try:
                write_through(part, content.encode())
                os.replace(part, self.path)
                settle(self.path.parent)
            finally:
                part.unlink(missing_ok=True)

    def _check(self) -> None:
        if self.text.strip() in ("", "-"):
            raise self._error("the name of a file", repr(self.text))
        with self._in_words():
            path = self.path
            if self.text.endswith(os.sep) or path.is_dir():
                raise self._error("a file", f"the folder {self.text}")
            if not path.parent.is_dir():
                raise self._error("a folder that is there (none is made)", f"no {path.parent}")
            if any(_is_of(path, read) for read in self.inputs):
                raise self._error("a file that this command does not read", f"{self.text}, which is one or lies in one")
            if os.path.lexists(path):
                self._check_old(path)
            if not os.access(path.parent, os.W_OK):
                raise self._error("a folder that can be written", str(path.parent))

    def _check_old(self, path: Path) -> None:
        """Refuse a file that should not be replaced."""
        if not path.is_file() or not os.access(path, os.W_OK):
            raise self._error("a plain file that can be written", f"{self.text}, which is none")
        if not self.force and not _is_page(path, self.maker):
            note = f"(the word after {self.option} is the file to write; --force overwrites it)"
            raise self._error(f"a new file or a page of {self.maker}", f"{self.text}, which is neither {note}")

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as problem:  # a name that is too long, or no name
            if isinstance(problem, InputError):
                raise
            raise self._error("a file that can be written", str(problem)) from problem

    def _error(self, expected: str, found: str) -> InputError:
        return InputError(f"{self.option}: expected {expected}, found {found}")


def _is_page(file: Path, maker: str) -> bool:
    """Whether a file begins as the pages of that maker do."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    return head.lstrip().lower().startswith(b"<!doctype html>") and mark(maker).encode() in head


def _is_of(path: Path, read: Path) -> bool:
    """Whether a path is that of a file, under whatever name, or lies in a folder or is that of a file in it."""
    if read.is_dir():
        inside = (Path(folder, name) for folder, _, names in os.walk(read) for name in names)
        is_below = path.is_relative_to(os.path.realpath(read))
        return is_below or (path.exists() and any(_is_same(path, file) for file in inside))
    return path == Path(os.path.realpath(read)) or _is_same(path, read)


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there
        return False
