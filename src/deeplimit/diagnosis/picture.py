"""A table of numbers as an image, with nothing but NumPy and the standard library."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplimit import checks

_COLOURS = np.array([[20, 24, 72], [33, 90, 140], [42, 157, 143], [181, 205, 92], [252, 240, 170]], dtype=np.float64)
"""From small to large, evenly spaced and ever lighter."""

_MISSING = (200, 30, 60)  # what is not finite, red: in none of the colours above

_SIDE = 256  # pixels of each side, at least


def colours(table: NDArray[Any]) -> NDArray[np.uint8]:
    """`[rows, columns]` to `[height, width, 3]`: dark is small, light is large, red is not finite; each number a rectangle of pixels.

    Raises:
        InputError: there are no numbers.

    >>> colours(np.array([[0.0, 1.0]])).shape
    (256, 256, 3)
    """
    if not table.size:
        raise checks.InputError(f"picture: expected numbers, found a table of {table.shape[0]} x {table.shape[1]}")
    finite = np.isfinite(table)
    low, high = (table[finite].min(), table[finite].max()) if finite.any() else (0.0, 0.0)
    place = np.where(finite, table - low, 0.0) / (high - low if high > low else 1.0) * (len(_COLOURS) - 1)
    channels = [np.interp(place, range(len(_COLOURS)), channel) for channel in _COLOURS.T]
    image = np.where(finite[..., None], np.stack(channels, axis=-1), _MISSING).round().astype(np.uint8)
    high, wide = (-(-_SIDE // length) for length in table.shape)
    return image.repeat(high, axis=0).repeat(wide, axis=1)


def png(image: NDArray[np.uint8]) -> bytes:
    r"""`[height, width, 3]` as a PNG file.

    Reference: ISO/IEC 15948, the PNG specification: 8 bits a channel, truecolour, rows without a filter.

    >>> png(np.zeros((1, 1, 3), np.uint8))[:4]
    b'\x89PNG'
    """
    height, width, _ = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    return b"\x89PNG\r\n\x1a\n" + _part(b"IHDR", header) + _part(b"IDAT", zlib.compress(rows)) + _part(b"IEND", b"")


def _part(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
