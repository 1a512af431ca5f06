"""The user's own functions, by name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from deeplimit import checks
from deeplimit.failures import users_code


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
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise checks.InputError(f"function: expected a module {place}, found no such file")
    with users_code(place), beside(path.resolve().parent if is_file else Path.cwd()):
        return _executed(path) if is_file else _found(place)


def _executed(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _found(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name and f"{name}.".startswith(f"{problem.name}."):
            raise checks.InputError(f"function: expected a module {name}, found none of that name") from problem
        raise


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Let modules be imported from a folder, for as long as this lasts and no longer."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have removed it
            sys.path.remove(str(folder))
