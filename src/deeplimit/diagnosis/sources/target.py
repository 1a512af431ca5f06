"""One text that names a trained network, whatever it is."""

from __future__ import annotations

import os
from pathlib import Path

from deeplimit.diagnosis.sources.folder import FolderSource
from deeplimit.diagnosis.sources.named import LIBRARIES, from_function, from_name, from_timm, from_transformers
from deeplimit.diagnosis.sources.onnx_file import OnnxSource
from deeplimit.diagnosis.sources.reading import LONGEST, bad
from deeplimit.diagnosis.sources.safetensor_file import SafetensorsSource
from deeplimit.diagnosis.sources.source import Source
from deeplimit.diagnosis.sources.stacked import StackedSource, is_stacked
from deeplimit.diagnosis.sources.torch_file import PICKLE, ZIP, StateDictSource

_KINDS: dict[str, type[SafetensorsSource | StateDictSource | OnnxSource]] = {
    ".safetensors": SafetensorsSource,
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt", ".tar", ".pkl"), StateDictSource),
    ".onnx": OnnxSource,
}


def open_target(text: str, *, download: bool = False) -> Source:
    """The tensors of a trained network.

    What is there decides: an existing file, by its content; an existing folder of a model; `MODULE:function`, or `FILE.py:function`, that
    returns a module; `timm:NAME`, `transformers:NAME`, or a name that one of them knows.

    Args:
        text: what the user names.
        download: whether a library may fetch what is not in its local cache.

    Raises:
        InputError: there is no such network, or it cannot be read.
    """
    path = Path(text)
    try:
        if path.is_file():
            return unstacked(open_file(path))
        if path.is_dir():
            return unstacked(FolderSource(path, open_file))
    except OSError as problem:
        raise bad(text, "a file that can be read", problem) from problem
    if path.suffix in _KINDS:
        raise bad(text, "a file", "no such file")
    library, colon, name = text.partition(":")
    if library in LIBRARIES and colon:
        return (from_timm if library == "timm" else from_transformers)(name, download=download)
    return from_function(text) if colon else from_name(text, download=download)


def files_of(text: str) -> list[Path]:
    """What a target names in the file system, also as `FILE.py:function`, `MODULE:function` or `transformers:FOLDER`; empty where nothing.

    >>> files_of("no-such-thing:at-all")
    []
    """
    (before, _, _), (_, _, after) = text.rpartition(":"), text.partition(":")
    names = (text, before, before.replace(".", os.sep) + ".py", after)
    return [
        Path(name) for name in names if name and os.path.exists(name)
    ]  # which takes any name, as Path.exists does not


def open_file(file: Path) -> Source:
    """The tensors of one file, whose format its first bytes tell, or its name where they do not.

    Raises:
        InputError: it is of none of the formats, or broken.
    """
    kind = _kind_of_content(file) or _KINDS.get(file.suffix.lower())
    if kind is None and file.suffix == ".py":
        raise bad(file, f"{file}:FUNCTION, a function that returns a module", "no name of a function")
    if kind is None:
        raise bad(file, "a safetensors file, a state dict of PyTorch or an ONNX file", "none of them")
    return kind(file)


def unstacked(source: Source) -> Source:
    """The source, block by block where it holds weights that are stacked over depth."""
    return StackedSource(source) if is_stacked(source) else source


def _kind_of_content(file: Path) -> type[SafetensorsSource | StateDictSource | OnnxSource] | None:
    with file.open("rb") as stream:
        start = stream.read(9)
    # First: the length of a header may begin with the byte that a pickle begins with.
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST:
        return SafetensorsSource
    return StateDictSource if start.startswith((ZIP, PICKLE)) else None
