"""Image sets of a few images, in the formats of the real ones, and the real ones where they are there."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from deeplimit.data.files import data_directory, status
from deeplimit.data.sets import CIFAR_10, MNIST, SETS, File, ImageSet


def idx_bytes(numbers: np.ndarray) -> bytes:
    """Bytes as an IDX file."""
    lengths = b"".join(length.to_bytes(4, "big") for length in numbers.shape)
    return bytes([0, 0, 8, numbers.ndim]) + lengths + numbers.astype(np.uint8).tobytes()


def digits(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images `[n, 28, 28]` and labels `[n]`."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, 28, 28), np.uint8), generator.integers(0, 10, count, np.uint8)


def tiny_mnist(root: Path, train: int = 7, test: int = 3) -> ImageSet:
    """MNIST with a few random images, written into the data directory `root`."""
    contents = [idx_bytes(array) for seed, count in enumerate((train, test)) for array in digits(count, seed)]
    return _written(root, MNIST, contents, {"train": train, "test": test})


def tiny_cifar(root: Path, batch: int = 2, *, telling: bool = False) -> ImageSet:
    """CIFAR-10 with a few random images in each batch, written into the data directory `root`; `telling` ones are brighter by label."""
    generator = np.random.default_rng(0)
    records = generator.integers(0, 256, (6, batch, 3073), np.uint8)
    records[:, :, 0] %= 10
    if telling:
        records[:, :, 1:] = records[:, :, 1:] // 10 + 25 * records[:, :, :1]
    return _written(root, CIFAR_10, [r.tobytes() for r in records], {"train": 5 * batch, "test": batch})


def _written(root: Path, like: ImageSet, contents: list[bytes], counts: dict[str, int]) -> ImageSet:
    folder = root / like.folder
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for file, content in zip(like.files, contents, strict=True):
        (folder / file.name).write_bytes(content)
        files.append(File(file.name, len(content), hashlib.sha256(content).hexdigest()))
    n = len(like.train)
    return dataclasses.replace(
        like, train=tuple(files[:n]), test=tuple(files[n:]), counts=MappingProxyType(dict(counts))
    )


def real(name: str) -> ImageSet:
    """A set as it was published; the test is skipped where its files are not in the data directory."""
    missing = status(SETS[name], data_directory()).missing
    if missing:
        pytest.skip(f"needs the files of {name}: deeplimit data fetch {name}, or DEEPLIMIT_DATA")
    return SETS[name]
