"""The user's own functions, by name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from deeplimit import checks


def load_function(text: str) -> Callable[..., Any]:
    """The function of `MODULE:function`; a module is a name that Python imports from here, or a file that ends in .py.

    Raises:
        InputError: the text has no colon, there is no such module, it fails, or has no such function.
    """
    place, colon, name = text.rpartition(":")
    if not (colon and place and name):
        raise checks.InputError(f"function: expected MODULE:function, such as training:train, found {text!r}")
    module = _imported(place)
    found = getattr(module, name, None)
    if not callable(found):
        raise checks.InputError(f"function: expected a function {name} in {place}, found {found!r}")
    function: Callable[..., Any] = found
    return function


def _imported(place: str) -> ModuleType:
    """The module of a name or a file."""
    path = Path(place)
    folder = path.resolve().parent if path.suffix == ".py" else Path.cwd()
    sys.path.insert(0, str(folder))  # its own modules lie beside it
    try:
        if path.suffix != ".py":
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except Exception as error:
        raise checks.InputError(f"function: expected a module {place}; {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(folder))
    return module
