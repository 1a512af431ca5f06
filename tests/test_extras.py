"""What needs a library that is not installed says which command installs it."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize("library", ["lightning", "transformers"])
@pytest.mark.parametrize("place", ["training.l2", "diagnosis.watching"])
def test_a_callback_without_its_library_names_the_command(library, place, monkeypatch):
    name = f"deeplimit.{place}.{library}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    for part in (library, f"{library}.pytorch"):
        monkeypatch.setitem(sys.modules, part, None)
    with pytest.raises(
        ImportError, match=rf"expected the library {library} \(pip install 'deeplimit\[{library}\]'\), found none"
    ):
        importlib.import_module(name)
