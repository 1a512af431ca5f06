"""The bytes of the original files as arrays: IDX, and the binary version of CIFAR-10."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeplimit.checks import InputError
from deeplimit.data.sets import CLASSES, ImageSet

Bytes = NDArray[np.uint8]

UNSIGNED_BYTES = 8
"""The code of IDX for numbers of one byte, 0 … 255; the only type that the sets have."""


def decode(known: ImageSet, contents: Sequence[bytes]) -> tuple[Bytes, Bytes]:
    """Images `[n, channels, height, width]` and labels `[n]` of one part of a set.

    Args:
        known: whose files.
        contents: of the files of the part, in the order of the set.

    Raises:
        InputError: the bytes are not what the format says; the message names the set.
    """
    where = f"{known.name}"
    if known.format == "idx":
        images, labels = (idx(content, rank, where=where) for content, rank in zip(contents, (3, 1), strict=True))
        images = images[:, None]
    else:
        parts = [cifar(content, known.shape, where=where) for content in contents]
        images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _checked(images, labels, known)


def idx(content: bytes, rank: int, *, where: str) -> Bytes:
    """An array of bytes in the IDX format: two zeros, the type, the number of axes, their lengths, the numbers.

    Lengths are big-endian integers of four bytes. Reference: the description of the format on the first page of MNIST.

    Args:
        content: of the file.
        rank: number of axes that it must have.
        where: named in errors.

    Raises:
        InputError: another type or rank, or more or fewer numbers than the lengths say.

    >>> idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]), 1, where="two numbers")
    array([5, 7], dtype=uint8)
    """
    magic, start = bytes([0, 0, UNSIGNED_BYTES, rank]), 4 + 4 * rank
    if content[:4] != magic or len(content) < start:
        raise InputError(
            f"{where}: expected IDX that starts with {magic.hex()}, found {content[:4].hex() or 'nothing'}"
        )
    lengths = np.frombuffer(content, ">u4", rank, 4).tolist()
    if len(content) - start != math.prod(lengths):
        raise InputError(f"{where}: expected {math.prod(lengths)} numbers for {lengths}, found {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(lengths)


def cifar(content: bytes, shape: tuple[int, int, int], *, where: str) -> tuple[Bytes, Bytes]:
    """Images and labels of a batch of records: a byte for the label, then all red, all green, all blue bytes by rows.

    Reference: the description of the binary version on the page of CIFAR-10.

    Raises:
        InputError: there is no whole number of records.
    """
    length = 1 + math.prod(shape)
    if not content or len(content) % length:
        raise InputError(f"{where}: expected records of {length} bytes, found {len(content)} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, length)
    return records[:, 1:].reshape(-1, *shape), records[:, 0]


def _checked(images: Bytes, labels: Bytes, known: ImageSet) -> tuple[Bytes, Bytes]:
    """Both as they are, where they fit each other and the set."""
    if images.shape[1:] != known.shape or len(images) != len(labels):
        raise InputError(
            f"{known.name}: expected images {known.shape} and as many labels, found {images.shape} and {labels.shape}"
        )
    if labels.size and labels.max() >= CLASSES:
        raise InputError(f"{known.name}: expected labels 0 … {CLASSES - 1}, found {labels.max()}")
    return images, labels
