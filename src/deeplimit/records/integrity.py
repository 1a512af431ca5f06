"""Whether what lies in an output directory is what was written there: formats, fields, and a checksum of every file of a run.

A checksum finds what was damaged, edited or mixed up; it is no signature, and somebody who computes it anew can write any rows.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from deeplimit.checks import InputError
from deeplimit.records.rows import schema

if TYPE_CHECKING:
    from pydantic import TypeAdapter

#: Number of the layout of an output directory: of its marker, its runs and its checkpoints.
FORMAT = 2
#: The files of a run; what names the run and holds the checksums of the others is written last.
ROWS, RECORD, WEIGHTS, CHECKSUMS = "rows.parquet", "run.json", "weights.safetensors", "checksums.json"

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Layout:
    """What a file of every format says: its number."""

    format: int


@dataclass(frozen=True)
class Checksums:
    """Of which run files are, and the SHA-256 of each by its name."""

    format: int
    id: str
    files: dict[str, str]


@dataclass(frozen=True)
class Record:
    """What the record of a run says at least; more may stand there."""

    id: str
    name: str
    spec: dict[str, Any]
    labels: dict[str, Any]
    seeds: list[Any]
    dtype: Any
    diverged: list[Any]
    rows: int
    seconds: float
    provenance: dict[str, Any]


def flaw(folder: Path) -> str:
    """Why the directory of a run cannot be used, in words; empty for one that is as it was written.

    Args:
        folder: the directory, under the name of its run.
    """
    try:
        _check(folder)
    except InputError as problem:
        return str(problem)
    except OSError as problem:
        return f"{Path(problem.filename or folder).name} cannot be read ({problem.strerror})"
    return ""


def checksums(run: str, files: Mapping[str, bytes]) -> bytes:
    """The file that names a run and holds the checksums of its others."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return text({"format": FORMAT, "id": run, "files": digests}).encode()


def text(content: object) -> str:
    """JSON for reading; what JSON does not know stands there as text."""
    return json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"


def read(kind: type[Kind], path: Path) -> Kind:
    """The content of a JSON file as a dataclass.

    Raises:
        InputError: it is no file, no JSON, or has other fields.
        OSError: it cannot be read.
    """
    return parsed(kind, regular(path).read_bytes(), name=path.name)


def parsed(kind: type[Kind], content: bytes, *, name: str) -> Kind:
    """JSON as a dataclass; fields that it does not have are passed over.

    Raises:
        InputError: it is no JSON or has other fields; the message starts with `name`.

    >>> parsed(Layout, b'{"format": 2}', name="marker")
    Layout(format=2)
    >>> parsed(Layout, b'[]', name="marker")
    Traceback (most recent call last):
    deeplimit.checks.InputError: marker is not as deeplimit writes it (Input should be an object)
    """
    from pydantic import ValidationError

    adapter: TypeAdapter[Kind] = _adapter(cast("Any", kind))
    try:
        found = adapter.validate_json(content, strict=True)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise InputError(f"{name} is not as deeplimit writes it ({where}{first['msg']})") from problem
    return found


def regular(path: Path) -> Path:
    """The path, if a file is there that ends: not a pipe, which would be waited for.

    Raises:
        InputError: there is something else, or nothing.
    """
    if not path.exists():
        raise InputError(f"{path.name} is missing")
    if not path.is_file():
        raise InputError(f"{path.name} is no file")
    return path


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What validates a dataclass; made once, as that takes longer than its work."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _check(folder: Path) -> None:
    """Compare a directory with its checksums.

    Raises:
        InputError: it is not the run of its name, as it was written.
        OSError: something cannot be read.
    """
    if not folder.is_dir():
        raise InputError("expected a directory, found something else")
    expected = _expected(folder)
    for name, digest in expected.items():
        with regular(folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise InputError(f"{name} was altered")
    if WEIGHTS not in expected and (folder / WEIGHTS).exists():
        raise InputError(f"{WEIGHTS} is of another run")
    if read(Record, folder / RECORD).id != folder.name:
        raise InputError(f"{RECORD} is of another run")
    _check_columns((folder / ROWS).read_bytes())


def _expected(folder: Path) -> dict[str, str]:
    """The checksums of a run's files, by name.

    Raises:
        InputError: there are none, or they are of another run or format.
    """
    path = folder / CHECKSUMS
    if not path.exists():
        raise InputError(f"{CHECKSUMS} is missing (runs of older versions have none)")
    number = read(Layout, path).format
    if number != FORMAT:
        raise InputError(f"it is of format {number}, where this version has {FORMAT}")
    found = read(Checksums, path)
    if found.id != folder.name:
        raise InputError(f"it is the run {found.id} under another name")
    if not {ROWS, RECORD} <= found.files.keys() <= {ROWS, RECORD, WEIGHTS}:
        raise InputError(f"{CHECKSUMS} was altered")
    return found.files


def _check_columns(content: bytes) -> None:
    """Require the fixed columns of rows, with their types.

    Raises:
        InputError: one is missing or of another type, or these are no rows.
    """
    import polars as pl

    try:
        found = pl.read_parquet_schema(io.BytesIO(content))
    except pl.exceptions.PolarsError as problem:
        raise InputError(f"{ROWS} is no table ({str(problem).partition(chr(10))[0]})") from problem
    for name, kind in schema().items():
        if found.get(name) != kind:
            raise InputError(f"{ROWS}: expected a column {name} of {kind}, found {found.get(name, 'none')}")
