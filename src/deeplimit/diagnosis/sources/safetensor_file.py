"""Networks in safetensors files, which hold numbers and run no code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit import checks, machine
from deeplimit.diagnosis.sources.reading import LONGEST, bad, computable, listed, parsed, short
from deeplimit.diagnosis.sources.source import Source

if TYPE_CHECKING:
    from torch import Tensor

_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")


@dataclass(frozen=True)
class Entry:
    """One tensor of a header: its type, its shape, and its bytes `[begin, end)` after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsSource(Source):
    """The tensors of one safetensors file.

    The header is checked in full before anything is read. The file is mapped into memory anew for each tensor, so that what was read does
    not stay there once the tensor is gone.

    Raises:
        InputError: the header is not as the format says.
    """

    def __init__(self, file: Path) -> None:
        self.title, self._file = str(file), file
        header = self._header = read_header(file)
        self._shapes = {name: entry.shape for name, entry in header.items() if entry.dtype in _FLOATS}
        others = [name for name in header if name not in self._shapes]
        if others:
            self.notes = (f"{file.name}: tensors that hold no floating-point numbers are left out: {listed(others)}",)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shapes

    def read(self, name: str) -> Tensor:
        return self.read_at(name)

    def read_at(self, name: str, *index: int) -> Tensor:
        import torch
        from safetensors import SafetensorError, safe_open

        checks.one_of(f"{self.title}: tensor", name, self._shapes)
        entry = self._header[name]
        size = (entry.end - entry.begin) / max(1, math.prod(entry.shape[: len(index)]))
        machine.check_memory(f"{self.title}: {short(name)}", 2.0 * size)  # as it is, and in float32
        try:
            with safe_open(self._file, framework="pt") as file:
                tensor: Tensor = file.get_slice(name)[index] if index else file.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as problem:
            raise bad(self.title, f"the numbers of {short(name)}", problem) from problem
        return computable(torch.as_tensor(tensor))


def read_header(file: Path) -> dict[str, Entry]:
    """What a safetensors file holds, by name.

    8 bytes say how long the header is; the header is a JSON object name -> {dtype, shape, data_offsets}; the numbers follow without gaps.

    Reference: https://github.com/huggingface/safetensors, "Format".

    Raises:
        InputError: the file is not so.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST):
            found = f"{size} bytes" if size < 8 else f"a header of {length} bytes in a file of {size}"
            raise bad(file, f"8 bytes and a safetensors header of at most {LONGEST} bytes", found)
        content = parsed(stream.read(length), file)
    content.pop("__metadata__", None)
    entries = {name: _entry(row, f"{file}: {short(name)}") for name, row in content.items()}
    _check_layout(file, entries, size - 8 - length)
    return entries


def _entry(row: Any, where: str) -> Entry:
    """One row of the header, checked by itself."""
    if not isinstance(row, dict) or not {"dtype", "shape", "data_offsets"} <= row.keys():
        raise bad(where, "dtype, shape and data_offsets", repr(row))
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise bad(where, f"a dtype among {', '.join(_BITS)}", repr(dtype))
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise bad(where, "sizes and two offsets of at least 0", f"{shape!r} and {offsets!r}")
    bits, (begin, end) = math.prod(shape) * _BITS[dtype], offsets
    if bits != 8 * (end - begin):
        raise bad(where, f"{bits // 8} bytes for {dtype} {tuple(shape)}", f"offsets {begin} to {end}")
    return Entry(dtype, tuple(shape), begin, end)


def _counts(values: Any) -> bool:
    """Whether these are whole numbers from 0 to 2⁶³ − 1: sizes that PyTorch can hold."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _check_layout(file: Path, entries: Mapping[str, Entry], size: int) -> None:
    """The tensors follow each other without overlap or gap, up to the end of the file."""
    reached = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != reached:
            raise bad(f"{file}: {short(name)}", f"numbers from offset {reached} on", f"offset {entry.begin}")
        reached = entry.end
    if reached != size:
        raise bad(file, f"{reached} bytes of numbers after its header", f"{size}")
