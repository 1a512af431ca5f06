"""Files that are there complete or not at all: written aside in the same directory, flushed to the disk, renamed."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

SUFFIX = ".part"
#: Names that `aside` gives.
ASIDE = re.compile(rf"\..+\.\d+{re.escape(SUFFIX)}", re.DOTALL)


def aside(path: Path) -> Path:
    """The name beside `path` under which this process writes it; hidden, and known to `sweep_leftovers`.

    >>> aside(Path("runs/rows.parquet")).name.startswith(".rows.parquet.")
    True
    """
    return path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")


def write_bytes(path: Path, content: bytes) -> None:
    """Put a file in place in one step: at every moment `path` is absent, the old file, or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = aside(path)
    write_through(part, content)
    os.replace(part, path)
    settle(path.parent)


def write_text(path: Path, text: str) -> None:
    """Put a UTF-8 text file in place in one step; what no UTF-8 can say, such as bytes of a file's name, becomes `?`."""
    write_bytes(path, text.encode(errors="replace"))


def write_json(path: Path, content: object) -> None:
    """Put a JSON file in place in one step, indented for reading."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_through(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def settle(directory: Path) -> None:
    """Wait until the disk knows the names in a directory."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def discard(path: Path) -> None:
    """Remove what is there, if anything is: a file, a directory with all in it, of a link the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep_leftovers(directory: Path) -> None:
    """Remove what killed writers left under aside names, in a directory and in its immediate subdirectories."""
    folders = [entry for entry in directory.iterdir() if entry.is_dir() and not entry.is_symlink()]
    for folder in (*folders, directory):
        for entry in folder.iterdir():
            if ASIDE.fullmatch(entry.name):
                discard(entry)
