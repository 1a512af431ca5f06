"""The files that a task reads, noted while it runs: their checksums stand in its record, and a run whose files changed is stale.

Seen is what this process opens through Python. What compiled code opens by itself, and what other processes open, is not.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deeplimit.records.code import is_installed

HOME = str(Path(__file__).resolve().parent.parent)
#: Folders of the system, and by a part of their path those where compilers and drawing libraries keep what they make.
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/run")
CACHES = ("__pycache__", "torchinductor", "torch_extensions", ".triton", "matplotlib", "fontconfig", ".nv")

Stamp = tuple[int, int]


class _Noted:
    """What is open for reading and for writing while a task runs: for files that are read their size and time of change."""

    def __init__(self) -> None:
        self.read: dict[str, Stamp | None] = {}
        self.written: set[str] = set()

    def note(self, name: object, flags: object) -> None:
        """Note a file; a number is one that is open already."""
        if not isinstance(name, str | bytes | os.PathLike) or not isinstance(flags, int):
            return
        path = os.path.abspath(os.fsdecode(name))
        if flags & (os.O_WRONLY | os.O_RDWR):
            self.written.add(path)
        elif path not in self.read:
            self.read[path] = _stamp(path)


_noting: _Noted | None = None


@functools.cache
def _listen() -> None:
    """Have Python tell what it opens, from now on; it does not forget who listens."""

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and _noting is not None:
            _noting.note(arguments[0], arguments[2])

    sys.addaudithook(hear)


#: What tasks of this process read, and each file's checksum then.
_before: dict[str, str] = {}


@contextmanager
def files_read(apart: Iterable[Path] = (), *, kept: bool = False) -> Iterator[dict[str, str]]:
    """Note which files are read inside the block: path -> SHA-256, there once the block has ended.

    Left out are the files of Python and of installed packages, modules, what is written inside the block too, and what is gone at its end.
    A file that changed while it was used has the checksum "", which nothing is equal to.

    Args:
        apart: folders whose files are left out.
        kept: whether the code keeps what it reads, in a cache for instance: then what earlier blocks read counts too.
    """
    global _noting
    found: dict[str, str] = {}
    outer, noted = _noting, _Noted()
    _listen()
    _noting = noted
    try:
        yield found
    finally:
        _noting = outer
    found |= _checksums(noted, [*SYSTEM, HOME, *(os.path.abspath(folder) for folder in apart)])
    earlier = dict(_before)
    _before.update(found)
    if kept:
        found |= {path: before if found.get(path, before) == before else "" for path, before in earlier.items()}


def _checksums(noted: _Noted, folders: Sequence[str]) -> dict[str, str]:
    """The checksums of the files that count."""
    modules = {
        os.path.abspath(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))
    }
    found = {}
    for path, stamp in sorted(noted.read.items()):
        if stamp is None or path in noted.written | modules or _is_apart(path, folders):
            continue
        now = checksum(path)
        if now is not None:
            found[path] = now if _stamp(path) == stamp else ""
    return found


def _is_apart(path: str, folders: Iterable[str]) -> bool:
    """Whether a file belongs to the system, to an installed package, or to a folder."""
    parts = Path(path).parts
    cached = any(part.startswith(CACHES) for part in parts)
    return cached or is_installed(path) or any(Path(path).is_relative_to(folder) for folder in folders)


def _stamp(path: str) -> Stamp | None:
    """Size and time of change of a file; None for what is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def checksum(path: str) -> str | None:
    """SHA-256 of a file, read once as long as it does not change; None where there is none."""
    stamp = _stamp(path)
    try:
        return None if stamp is None else _checksum(path, stamp)
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _checksum(path: str, _stamp: Stamp) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed(files: Mapping[str, str]) -> dict[str, str | None]:
    """The files that are not any more what they were: path -> SHA-256 of now, None for one that is gone."""
    now = {path: checksum(path) for path in files}
    return {path: now[path] for path, before in files.items() if now[path] != before}
