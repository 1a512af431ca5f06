"""A batch of inputs from a file, which runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile
from zlib import error

from deeplimit.checks import InputError
from deeplimit.machine import check_memory

if TYPE_CHECKING:
    from torch import Tensor

NUMPY = (".npy", ".npz")


def read_batch(file: Path) -> Tensor | dict[str, Tensor]:
    """What a network takes, from a safetensors file, an .npy or an .npz file.

    Returns:
        The tensor where there is one alone: the positional argument; else name -> tensor: keyword arguments.

    Raises:
        InputError: the file is not there, is of another kind, holds no tensor of numbers, or more of them than fit into memory.
    """
    if not file.is_file():
        raise InputError(f"{file}: expected a file with a batch, found none")
    # Read, and once more where its numbers are turned into those of another kind.
    check_memory(f"{file}", 2.0 * _unpacked(file), remedy="fewer inputs")
    found = _arrays(file) if file.suffix in NUMPY else _tensors(file)
    if not found:
        raise InputError(f"{file}: expected at least one tensor, found none")
    return next(iter(found.values())) if len(found) == 1 else found


def _unpacked(file: Path) -> int:
    """Bytes of a file once it is read: entries of an archive may be packed to a thousandth of what they are."""
    try:
        with ZipFile(file) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (BadZipFile, ValueError, OSError, NotImplementedError):
        return file.stat().st_size


def _tensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as problem:
        raise InputError(f"{file}: expected a safetensors, .npy or .npz file, found {problem}") from problem


def _arrays(file: Path) -> dict[str, Tensor]:
    import numpy as np
    import torch

    try:
        with file.open("rb") as stream:
            loaded: Any = np.load(stream, allow_pickle=False)
            arrays = dict(loaded.items()) if file.suffix == ".npz" else {"": loaded}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    except (
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        OSError,
        MemoryError,
        SyntaxError,
        BadZipFile,
        error,
    ) as problem:
        raise InputError(f"{file}: expected arrays of numbers, found {problem}") from problem
