"""What readers of files share: numbers as this project computes with them, small files of JSON, files that lie beside others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor

LONGEST = 100_000_000
"""Bytes of JSON at most: the limit of the safetensors format."""

_SHOWN = 80  # characters of a name that an error shows


def bad(file: object, expected: str, found: object) -> checks.InputError:
    r"""The error of a file that is not as expected, in one line.

    >>> bad("a.onnx", "a graph", ValueError("none\nat all"))
    InputError('a.onnx: expected a graph, found ValueError: none at all')
    """
    text = f"{type(found).__name__}: {found}" if isinstance(found, BaseException) else str(found)
    return checks.InputError(f"{file}: expected {expected}, found {short(' '.join(text.split()), 300)}")


def short(text: str, longest: int = _SHOWN) -> str:
    """A text of a file as it can stand in an error: printable, and not endless."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first names, and how many more there are.

    >>> listed("abc", 2)
    'a, b and 1 more'
    """
    every = [short(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def computable(tensor: Tensor) -> Tensor:
    """The tensor, in float32 where it has 8 bits, with which nothing can be computed."""
    return tensor.float() if tensor.dtype.itemsize == 1 else tensor


def parsed(text: bytes, file: object) -> dict[str, Any]:
    """The object that a JSON text holds.

    Raises:
        InputError: it is no JSON, no object, or names something twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"a name twice: {next(name for name in found if names.count(name) > 1)!r}")
        return found

    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as problem:
        raise bad(file, "a JSON object", problem) from problem
    if not isinstance(content, dict):
        raise bad(file, "a JSON object", type(content).__name__)
    return content


def json_file(file: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        InputError: it is too long, or as `parsed`.
    """
    size = file.stat().st_size
    if size > LONGEST:
        raise bad(file, f"at most {LONGEST} bytes of JSON", f"{size} bytes")
    return parsed(file.read_bytes(), file)


def beside(file: Path, name: object) -> Path:
    """The file that `file` names as lying beside or below it.

    A link is followed where it stays in the folder of `file`, or in that where `file` itself is linked to, as in the cache of Hugging Face.

    Raises:
        InputError: the name is no such name, leads elsewhere, or nothing is there.
    """
    expected = "the name of a file in its folder"
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        raise bad(file, expected, repr(name))
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise bad(file, expected, repr(name))
    found = file.parent / path
    if not found.is_file():
        raise bad(file, f"{short(name)} beside it", "no such file")
    homes = (file.parent.resolve(), file.resolve().parent)
    if not any(found.resolve().is_relative_to(home) for home in homes):
        raise bad(file, expected, f"{name!r}, a link that leaves it")
    return found
