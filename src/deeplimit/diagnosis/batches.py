"""A batch of inputs from a file, which runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile
from zlib import error

from deeplimit.checks import InputError

if TYPE_CHECKING:
    from torch import Tensor

NUMPY = (".npy", ".npz")


def read_batch(file: Path) -> Tensor | dict[str, Tensor]:
    """What a network takes, from a safetensors file, an .npy or an .npz file.

    Returns:
        The tensor where there is one alone: the positional argument; else name -> tensor: keyword arguments.

    Raises:
        InputError: the file is not there, is of another kind, or holds no tensor of numbers.
    """
    if not file.is_file():
        raise InputError(f"{file}: expected a file with a batch, found none")
    found = _arrays(file) if file.suffix in NUMPY else _tensors(file)
    if not found:
        raise InputError(f"{file}: expected at least one tensor, found none")
    return next(iter(found.values())) if len(found) == 1 else found


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
