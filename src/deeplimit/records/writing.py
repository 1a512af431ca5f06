"""Files that are there complete or not at all: written aside in the same directory, flushed to the disk, renamed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

SUFFIX = ".part"


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
    """Put a UTF-8 text file in place in one step."""
    write_bytes(path, text.encode())


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


def sweep_leftovers(directory: Path) -> None:
    """Remove what killed writers left under aside names, in a directory and in its immediate subdirectories."""
    for part in [*directory.glob(f".*{SUFFIX}"), *directory.glob(f"*/.*{SUFFIX}")]:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
