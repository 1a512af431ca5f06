"""A small MNIST of random images in place of the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplimit.data.sets import SETS
from tests.data.fakes import tiny_mnist


def use_tiny_mnist(monkeypatch: pytest.MonkeyPatch, folder: Path, *, train: int, test: int) -> None:
    """Until the test ends."""
    monkeypatch.setenv("DEEPLIMIT_DATA", str(folder))
    monkeypatch.setitem(SETS, "mnist", tiny_mnist(folder, train, test))
