"""The files of a data directory: where it is, what is there, and whether it is the original."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from deeplimit.checks import InputError
from deeplimit.data.decoding import Bytes, decode
from deeplimit.data.sets import File, ImageSet

VARIABLE = "DEEPLIMIT_DATA"

_verified: set[tuple[Path, int, int, str]] = set()
"""Files whose checksum this process has found right: path, size, time of the last change, checksum."""


def data_directory(given: Path | None = None) -> Path:
    """The data directory: `given`, else what `DEEPLIMIT_DATA` says, else a folder of the user's cache."""
    if given is not None:
        return given
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    import pooch

    return Path(pooch.os_cache("deeplimit"))


def use_directory(given: Path | None) -> None:
    """Make `given` the data directory of this process and of those that it starts from now on; None changes nothing."""
    if given is not None:
        os.environ[VARIABLE] = os.path.abspath(given)


def load(known: ImageSet, part: str) -> tuple[Bytes, Bytes]:
    """All images `[n, channels, height, width]` and labels `[n]` of a part, in the order of the files.

    Raises:
        InputError: a file is missing or is not the original.
    """
    directory = data_directory()
    return decode(known, [read(known, file, directory=directory) for file in known.part(part)])


def find(known: ImageSet, file: File, *, directory: Path) -> Path | None:
    """Where the file lies, uncompressed or as `.gz`; None where it does not."""
    path = directory / known.folder / file.name
    return next((found for found in (path, path.with_name(f"{file.name}.gz")) if found.is_file()), None)


def read(known: ImageSet, file: File, *, directory: Path) -> bytes:
    """The uncompressed content of a file, verified once by each process.

    Raises:
        InputError: it is missing, cut off, or not the original.
    """
    path = find(known, file, directory=directory)
    if path is None:
        raise InputError(
            f"{known.name}: expected {file.name} or {file.name}.gz in {directory / known.folder}, found neither; "
            f"deeplimit data fetch {known.name} downloads it, --data-dir or {VARIABLE} names another directory"
        )
    stamp = path.stat()
    key = (path.resolve(), stamp.st_size, stamp.st_mtime_ns, file.sha256)
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = unzipped(content, str(path))
    if key not in _verified:
        verify(content, file, where=str(path))
        _verified.add(key)
    return content


def unzipped(content: bytes, where: str) -> bytes:
    """What a gzip file holds.

    Raises:
        InputError: it is none, or is cut off.
    """
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{where}: expected a whole gzip file, found {error}") from error


def verify(content: bytes, file: File, *, where: str) -> None:
    """Check size and SHA-256.

    Raises:
        InputError: the content is not that of the original.
    """
    if len(content) != file.size:
        raise InputError(f"{where}: expected {file.size} bytes, found {len(content)}")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise InputError(f"{where}: expected SHA-256 {file.sha256}, found {found}")


@dataclass(frozen=True)
class SetStatus:
    """What of a set is there: names of files."""

    name: str
    title: str
    folder: str
    there: tuple[str, ...]
    missing: tuple[str, ...]
    home: str
    terms: str


@dataclass(frozen=True)
class FileStatus:
    """What is wrong with a file; empty where nothing is."""

    set: str
    file: str
    problem: str


def status(known: ImageSet, directory: Path) -> SetStatus:
    """Which files of a set are there; nothing is read."""
    there = tuple(file.name for file in known.files if find(known, file, directory=directory))
    missing = tuple(file.name for file in known.files if file.name not in there)
    return SetStatus(known.name, known.title, str(directory / known.folder), there, missing, known.home, known.terms)


def check(known: ImageSet, directory: Path) -> tuple[FileStatus, ...]:
    """Every file of a set, read and compared with its checksum."""
    return tuple(FileStatus(known.name, file.name, problem(known, file, directory=directory)) for file in known.files)


def problem(known: ImageSet, file: File, *, directory: Path) -> str:
    """Why a file cannot be used; empty where it can."""
    if find(known, file, directory=directory) is None:
        return f"missing in {directory / known.folder}"
    try:
        read(known, file, directory=directory)
    except InputError as error:
        return str(error)
    return ""
