"""The name of a run: a hash of what is computed, the same in every process and on every machine.

A specification becomes canonical JSON. Classes of this package stand by their name and the revision number of their code; functions and
the user's own classes stand by their source as well, with the module-level constants, functions and classes of the user's that they use, so
that an edit of the user's file makes a new run and an edit of anything else does not.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import json
import math
import numbers
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deeplimit.checks import InputError
from deeplimit.records.rows import ROW_FORMAT

PACKAGE = __name__.partition(".")[0]
ACCEPTED = (
    "numbers, text, None, tuples, lists, dicts with text keys, enum members, frozen dataclasses, arrays, classes, and functions whose "
    "source lies in a file; hand a module or another live object over as a function that builds it"
)

#: Metadata of a dataclass field that came after runs were kept: at its default it is no part of a description, so that their ids stay.
LATER = {"later": True}

Json = Any
Describer = Callable[[Any, str], Json]


def canonical(spec: object) -> str:
    """The canonical JSON of a specification: equal for equal specifications, in every process.

    Raises:
        InputError: it holds something that has no description; the message says where and what is accepted.

    >>> canonical({"depth": 4, "beta": 1.0})
    '{"beta":1.0,"depth":4}'
    """
    try:
        description = describe(spec)
    except RecursionError as cycle:
        raise InputError("spec: expected a description without cycles, found one that contains itself") from cycle
    return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_id(task: object) -> str:
    """16 hexadecimal digits that name a task: its kind, revision and fields without `labels`, and the row format."""
    spec = {"task": task_spec(task), "row_format": ROW_FORMAT}
    return _digest(canonical(spec).encode())[:16]


def task_spec(task: object) -> dict[str, Json]:
    """The description of a task without its labels, which name rows and change nothing in them."""
    spec: dict[str, Json] = describe(task, "task")
    spec["fields"].pop("labels", None)
    return spec


def describe(value: object, where: str = "spec") -> Json:
    """What `canonical` writes, as plain dicts, lists, numbers and text; `where` is the place named in errors."""
    for accepts, describer in DESCRIBERS:
        if accepts(value):
            return describer(value, where)
    raise InputError(f"{where}: expected {ACCEPTED}; found {type(value).__module__}.{type(value).__qualname__}")


def _number(value: Any, where: str) -> Json:
    """A number of Python or NumPy; what JSON cannot hold goes by name."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return {"kind": "float", "value": repr(plain)}
    if isinstance(plain, int | float):
        return plain
    raise InputError(f"{where}: expected a real number, found {plain!r}")


def _mapping(value: Mapping[object, object], where: str) -> Json:
    """A dict by its keys, whatever their order."""
    for key in value:
        if not isinstance(key, str):
            raise InputError(f"{where}: expected text as the keys of a dict, found {key!r}")
    return {str(key): describe(item, f"{where}[{key!r}]") for key, item in value.items()}


def _sequence(value: tuple[object, ...] | list[object], where: str) -> Json:
    """A tuple or list: the two mean the same."""
    return [describe(item, f"{where}[{i}]") for i, item in enumerate(value)]


def _array(value: Any, where: str) -> Json:
    """An array or tensor by the checksum of its numbers."""
    import numpy as np

    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, order="C")
    if array.dtype.hasobject:
        raise InputError(f"{where}: expected an array of numbers, found dtype {array.dtype}")
    return {"kind": "array", "dtype": str(array.dtype), "shape": list(array.shape), "sha256": _digest(array.tobytes())}


def _dataclass(value: Any, where: str) -> Json:
    """A frozen dataclass: its class, the revision of its code, its fields, without those of `LATER` at their default."""
    cls = type(value)
    if not cls.__dataclass_params__.frozen:
        raise InputError(
            f"{where}: expected a frozen dataclass, found {cls.__qualname__}, which can change after it was described"
        )
    said = [f for f in dataclasses.fields(value) if not ("later" in f.metadata and getattr(value, f.name) == f.default)]
    fields = {f.name: describe(getattr(value, f.name), f"{where}.{f.name}") for f in said}
    revision = getattr(cls, "revision", None)
    number = {"revision": revision} if isinstance(revision, int) else {}
    return {"kind": cls.__qualname__.rpartition(".")[2], **_source_of_users(cls, where), **number, "fields": fields}


def _class(value: type, where: str) -> Json:
    """A class, by name; the user's own by its source too."""
    return {"kind": "class", "name": f"{value.__module__}:{value.__qualname__}", **_source_of_users(value, where)}


def _function(value: types.FunctionType, where: str) -> Json:
    """A function: its name, its source, and every value that it carries along."""
    carried = {"defaults": value.__defaults__, "keyword_defaults": value.__kwdefaults__, "closure": _closure(value)}
    described = {name: describe(item, f"{where}.{name}") for name, item in carried.items() if item}
    name = f"{value.__module__}:{value.__qualname__}"
    uses = _uses(value, where) if _is_users(value) else {}
    return {"kind": "function", "name": name, "source": _source(value, where), **_column(value), **described, **uses}


def _method(value: types.MethodType, where: str) -> Json:
    """A bound method: the object and the function."""
    return {"kind": "method", "of": describe(value.__self__, where), "function": describe(value.__func__, where)}


def _partial(value: functools.partial[Any], where: str) -> Json:
    """A function with some of its arguments set."""
    parts = {"function": value.func, "args": value.args, "keywords": value.keywords}
    return {"kind": "partial", **{name: describe(part, f"{where}.{name}") for name, part in parts.items()}}


def _builtin(value: Any, where: str) -> Json:
    """A compiled function, by name."""
    return {
        "kind": "builtin",
        "name": f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', value.__name__)}",
    }


def _is_builtin(value: object) -> bool:
    """Whether it is a compiled function that is bound to no live object (`math.tanh`, `torch.tanh`, `numpy.tanh`)."""
    unbound = inspect.isbuiltin(value) and isinstance(value.__self__, types.ModuleType | type | None)
    return unbound or type(value).__name__ in ("ufunc", "_ArrayFunctionDispatcher")


def _is_torch_name(value: object) -> bool:
    """Whether it is a dtype or device of PyTorch, which its text names in full."""
    return type(value).__module__ == "torch" and type(value).__name__ in ("dtype", "device")


#: In this order: an enum member may be a number, a class may look like an array.
DESCRIBERS: tuple[tuple[Callable[[Any], bool], Describer], ...] = (
    (lambda v: v is None or isinstance(v, bool), lambda v, _: v),
    (lambda v: isinstance(v, enum.Enum), lambda v, _: {"kind": type(v).__name__, "member": v.name}),
    (lambda v: isinstance(v, str), lambda v, _: str(v)),
    (lambda v: isinstance(v, numbers.Number), _number),
    (lambda v: isinstance(v, Mapping), _mapping),
    (lambda v: isinstance(v, tuple | list), _sequence),
    (lambda v: isinstance(v, type), _class),
    (dataclasses.is_dataclass, _dataclass),
    (inspect.isfunction, _function),
    (inspect.ismethod, _method),
    (lambda v: isinstance(v, functools.partial), _partial),
    (_is_builtin, _builtin),
    (_is_torch_name, lambda v, _: {"kind": "torch", "value": str(v)}),
    (lambda v: hasattr(v, "__array__") and hasattr(v, "shape"), _array),
)


def _digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _source(value: Callable[..., object] | type, where: str) -> str:
    """Checksum of the source text.

    Raises:
        InputError: there is no file with the source.
    """
    try:
        # Of the code object, because `getsource` of a decorated function looks through to the function that was decorated.
        text = inspect.getsource(value.__code__ if isinstance(value, types.FunctionType) else value)
    except (OSError, TypeError) as missing:
        raise InputError(f"{where}: expected a function or class defined in a file, found {value!r}") from missing
    return _digest(textwrap.dedent(text).encode())


def _column(function: types.FunctionType) -> dict[str, int]:
    """Where a lambda stands in its line: two of one line have the same source."""
    if function.__name__ != "<lambda>":
        return {}
    # The instruction that enters a function has no width.
    columns = [column for _, _, column, end in function.__code__.co_positions() if column is not None and end]
    return {"column": min(columns, default=0)}


def _closure(function: types.FunctionType) -> dict[str, object]:
    """Names and values of the enclosing function that this one uses; itself, where it is recursive, left out."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell.cell_contents is not function}


def _source_of_users(cls: type, where: str) -> dict[str, Json]:
    """Source and uses of a class of the user's own; nothing for one of this package or of a library."""
    return {"source": _source(cls, where), **_uses(cls, where)} if _is_users(cls) else {}


def _is_users(value: Any) -> bool:
    """Whether a class or function is the user's own code: not this package's, not an installed library's."""
    module = value.__module__ or ""
    file = getattr(sys.modules.get(module), "__file__", None)
    if module.partition(".")[0] == PACKAGE or file is None:
        return False
    libraries = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    return not any(Path(file).is_relative_to(library) for library in libraries)


def _uses(value: types.FunctionType | type, where: str) -> dict[str, Json]:
    """What the user's code uses of its module, directly or through its other functions: sources and constants, by name."""
    found: dict[str, Json] = {}
    pending = [value]
    while pending:
        for name, item in _used_by(pending.pop()):
            if name in found or item is value or isinstance(item, types.ModuleType):
                continue
            if not isinstance(item, type | types.FunctionType):
                found[name] = describe(item, f"{where}: the module-level name {name}")
            elif _is_users(item):
                found[name] = _source(item, where)
                pending.append(item)
    return {"uses": found} if found else {}


def _used_by(value: types.FunctionType | type) -> Iterator[tuple[str, object]]:
    """Module-level names that the code of a function, or of a class's methods, refers to, and a class's bases."""
    for base in getattr(value, "__bases__", ()):
        yield f"{base.__module__}:{base.__qualname__}", base
    functions = [value] if inspect.isfunction(value) else _methods(value)
    for function in functions:
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                yield f"{function.__module__}:{name}", function.__globals__[name]


def _methods(cls: object) -> list[types.FunctionType]:
    """The functions written in a class's body, those behind properties and class methods included."""
    members = [inspect.unwrap(m) if callable(m) else m for m in vars(cls).values()]
    behind = [
        getattr(m, "fget", None) or getattr(m, "__func__", None) or getattr(m, "func", None) or m for m in members
    ]
    return [function for function in behind if inspect.isfunction(function)]


def _names(code: types.CodeType) -> set[str]:
    """Global names that code reads, that of the functions inside it included."""
    own = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return own.union(*(_names(part) for part in inner))
