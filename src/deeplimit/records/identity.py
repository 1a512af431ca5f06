"""The name of a run: a hash of what is computed, the same in every process and on every machine.

A specification becomes canonical JSON. Classes of this package stand by their name and the revision number of their code, what libraries
have by its name, and the user's own code by all of it that counts (`records.code`), so that an edit of what a run depends on makes a new
run and an edit of anything else does not.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import inspect
import json
import logging
import math
import numbers
import re
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from deeplimit.checks import InputError
from deeplimit.records.code import (
    CACHED,
    Code,
    Item,
    closure,
    default_values,
    digest,
    edge,
    is_ours,
    is_users,
    normal_form,
    wrapped_in,
)
from deeplimit.records.rows import ROW_FORMAT

ACCEPTED = (
    "numbers, text, None, tuples, lists, dicts with text keys, enum members, frozen dataclasses, arrays, classes, and functions whose "
    "source lies in a file; hand a module or another live object over as a function that builds it"
)

#: Metadata of a dataclass field that came after runs were kept: at its default it is no part of a description, so that their ids stay.
LATER = {"later": True}

Json = Any


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a task is known by.

    Args:
        id: 16 hexadecimal digits that name its run.
        spec: the description as JSON text, with one entry for each piece of the user's code under `code`.
        unfollowed: what its rows may depend on that cannot be followed, in words.
        packages: the installed packages that the user's code names.
        keeps: whether its code may hand on to the next task of the process what it read.
    """

    id: str
    spec: str
    unfollowed: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    keeps: bool = False


def canonical(spec: object) -> str:
    """The canonical JSON of a specification: equal for equal specifications, in every process.

    Raises:
        InputError: it holds something that has no description; the message says where and what is accepted.

    >>> canonical({"depth": 4, "beta": 1.0})
    '{"beta":1.0,"depth":4}'
    """
    reading = Reading()
    text, code, _ = _written(reading.read(spec, "spec"), _by_number)
    return f'{{"code":{_joined(code)},"spec":{text}}}' if code else text


def run_id(task: object) -> str:
    """16 hexadecimal digits that name a task: its kind, revision, fields without `labels`, the user's code, and the row format."""
    return Reading().identity(task).id


def task_spec(task: object) -> dict[str, Json]:
    """The description of a task without its labels, which name rows and change nothing in them."""
    spec: dict[str, Json] = json.loads(Reading().identity(task).spec)
    return spec


class Reading:
    """Describes tasks, each piece of the user's code once for all of them; not to be kept longer than a plan."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self.code = Code(self.describe)
        self.loose = False
        self._describers: dict[tuple[type, bool], Describer] = {}

    def identity(self, task: object) -> Identity:
        """Name and specification of a task.

        Raises:
            InputError: it holds something that has no description.
        """
        described = self.read(task, "task")
        described["fields"].pop("labels", None)
        text, code, items = _written(described, _by_number)
        content = f'{{"code":{_joined(code)},"row_format":{ROW_FORMAT},"task":{text}}}'
        if items:
            text, code, _ = _written(described, _by_name)
            text = f'{text[:-1]},"code":{_joined(code)}}}'
        notes = sorted({note for item in items for note in item.notes})
        packages = sorted({name for item in items for name in item.packages})
        return Identity(digest(content)[:16], text, tuple(notes), tuple(packages), any(item.keeps for item in items))

    def read(self, value: object, where: str) -> Json:
        """The description of a value, the code in it as items that are described too."""
        try:
            described = self.describe(value, where)
            self.loose = True
            self.code.complete()
        except RecursionError as cycle:
            raise InputError(
                f"{where}: expected a description without cycles, found one that contains itself"
            ) from cycle
        finally:
            self.loose = False
        return described

    def describe(self, value: Any, where: str) -> Json:
        """Plain dicts, lists, numbers, text and items; `where` is the place named in errors."""
        key = (type(value), self.loose)
        known = self._describers.get(key)
        if known is None:
            known = next((d for accepts, d in self._table() if accepts(value)), None)
            if known is None:
                raise InputError(
                    f"{where}: expected {ACCEPTED}; found {type(value).__module__}.{type(value).__qualname__}"
                )
            if not inspect.isbuiltin(value):  # one of these may be bound to a live object and another not
                self._describers[key] = known
        if self.loose and self.code.current and isinstance(value, HOLDING):
            self.code.current.keeps = True
        return known(self, value, where)

    def _table(self) -> Table:
        return (*OF_CODE, *DESCRIBERS) if self.loose else DESCRIBERS


# ------------------------------------------------------------------------------------------------------------ writing


def _written(described: Json, naming: Callable[[Item, int], str]) -> tuple[str, dict[str, str], list[Item]]:
    """A description as JSON, and the items in it and in each other: the JSON of each by its name, and themselves."""
    names: dict[Item, str] = {}

    def refer(item: Item) -> Json:
        if item not in names:
            name, number = naming(item, len(names)), 2
            taken = set(names.values())
            while name in taken:
                name, number = f"{naming(item, 0)} ({number})", number + 1
            names[item] = name
            items.append(item)
        return {"code": names[item]}

    items: list[Item] = []
    text = _json(described, refer)
    code = {}
    for item in items:  # grows while it is gone through
        code[names[item]] = _json(item.own, refer)
    return text, code, items


def _json(described: Json, refer: Callable[[Item], Json]) -> str:
    """Canonical JSON, where `refer` says what stands for an item."""
    return json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False, default=refer)


def _joined(code: Mapping[str, str]) -> str:
    """A JSON object of items by name, from the JSON of each."""
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in code.items()) + "}"


def _by_number(_item: Item, number: int) -> str:
    """Names that no renamed file changes: the order in which the items are reached."""
    return str(number)


def _by_name(item: Item, _number: int) -> str:
    """Names for people."""
    return item.name


# --------------------------------------------------------------------------------------------------- describing values


def _plain(_: Reading, value: Any, _where: str) -> Json:
    """What JSON holds as it is."""
    return value


def _text(_: Reading, value: str, _where: str) -> Json:
    """Text."""
    return str(value)


def _number(_: Reading, value: Any, where: str) -> Json:
    """A number of Python or NumPy; what JSON cannot hold goes by name."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return {"kind": "float", "value": repr(plain)}
    if isinstance(plain, int | float):
        return plain
    raise InputError(f"{where}: expected a real number, found {plain!r}")


def _mapping(reading: Reading, value: Mapping[object, object], where: str) -> Json:
    """A dict by its keys, whatever their order."""
    for key in value:
        if not isinstance(key, str):
            raise InputError(f"{where}: expected text as the keys of a dict, found {key!r}")
    return {str(key): reading.describe(item, f"{where}[{key!r}]") for key, item in value.items()}


def _sequence(reading: Reading, value: tuple[object, ...] | list[object], where: str) -> Json:
    """A tuple or list: the two mean the same."""
    return [reading.describe(item, f"{where}[{i}]") for i, item in enumerate(value)]


def _array(_: Reading, value: Any, where: str) -> Json:
    """An array or tensor by the checksum of its numbers."""
    import numpy as np

    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, order="C")
    if array.dtype.hasobject:
        raise InputError(f"{where}: expected an array of numbers, found dtype {array.dtype}")
    checksum = hashlib.sha256(array.tobytes()).hexdigest()
    return {"kind": "array", "dtype": str(array.dtype), "shape": list(array.shape), "sha256": checksum}


def _member(reading: Reading, value: enum.Enum, where: str) -> Json:
    """A member of an enum; the user's own by the enum's code, which has the values."""
    return {"kind": type(value).__name__, **_users_class(reading, value, where), "member": value.name}


def _dataclass(reading: Reading, value: Any, where: str) -> Json:
    """A frozen dataclass: its class, the revision of its code, its fields, without those of `LATER` at their default."""
    cls = type(value)
    if not cls.__dataclass_params__.frozen and not reading.loose:
        raise InputError(
            f"{where}: expected a frozen dataclass, found {cls.__qualname__}, which can change after it was described"
        )
    said = [f for f in dataclasses.fields(value) if not ("later" in f.metadata and getattr(value, f.name) == f.default)]
    fields = {f.name: reading.describe(getattr(value, f.name), f"{where}.{f.name}") for f in said}
    revision = getattr(cls, "revision", None)
    number = {"revision": revision} if isinstance(revision, int) else {}
    kind = {"kind": cls.__qualname__.rpartition(".")[2]}
    if reading.code.current and not cls.__dataclass_params__.frozen:
        reading.code.current.keeps = True
    return {**kind, **_users_class(reading, value, where), **number, "fields": fields}


def _users_class(reading: Reading, value: object, where: str) -> dict[str, Json]:
    """The class of a value where it is the user's."""
    return {"class": reading.code.item(type(value), where)} if is_users(type(value)) else {}


def _class(reading: Reading, value: type, where: str) -> Json:
    """A class, by name; the user's own by its code."""
    return reading.code.item(value, where) if is_users(value) else {"kind": "class", **edge(value)}


def _function(reading: Reading, value: types.FunctionType, where: str) -> Json:
    """A function: the user's by its code, one of a library by name, one of this package by its source and the values that it carries."""
    if is_users(value):
        return reading.code.item(value, where)
    named = {"kind": "function", **edge(value)}
    inner = [reading.code.item(part, where) for part in wrapped_in(value)]
    if not is_ours(value):
        return {**named, **({"wraps": inner} if inner else {})}
    carried = {"defaults": default_values(value), "closure": closure(value)}
    described = {name: reading.describe(values, f"{where}.{name}") for name, values in carried.items() if values}
    return {**named, "source": digest(normal_form(value, where)), **described}


def _method(reading: Reading, value: types.MethodType, where: str) -> Json:
    """A bound method: the object and the function."""
    of, function = (reading.describe(part, where) for part in (value.__self__, value.__func__))
    return {"kind": "method", "of": of, "function": function}


def _partial(reading: Reading, value: functools.partial[Any], where: str) -> Json:
    """A function with some of its arguments set."""
    parts = {"function": value.func, "args": value.args, "keywords": value.keywords}
    return {"kind": "partial", **{name: reading.describe(part, f"{where}.{name}") for name, part in parts.items()}}


def _cached(reading: Reading, value: Any, where: str) -> Json:
    """A function with a cache."""
    return {"kind": "cached", "function": reading.describe(value.__wrapped__, where)}


def _builtin(reading: Reading, value: Any, where: str) -> Json:
    """A compiled function, by name; one of the user's by the file that it was compiled to."""
    name = getattr(value, "__module__", None) or ""
    module = sys.modules.get(name)
    if module is not None and is_users(module):
        return {"kind": "builtin", "name": value.__name__, "module": reading.code.item(module, where)}
    return {"kind": "builtin", "name": f"{name}:{getattr(value, '__qualname__', value.__name__)}"}


def _is_builtin(value: object) -> bool:
    """Whether it is a compiled function that is bound to no live object (`math.tanh`, `torch.tanh`, `numpy.tanh`)."""
    unbound = inspect.isbuiltin(value) and isinstance(value.__self__, types.ModuleType | type | None)
    return unbound or type(value).__name__ in ("ufunc", "_ArrayFunctionDispatcher")


def _torch_name(_: Reading, value: object, _where: str) -> Json:
    """A dtype or device of PyTorch, which its text names in full."""
    return {"kind": "torch", "value": str(value)}


def _is_torch_name(value: object) -> bool:
    return type(value).__module__ == "torch" and type(value).__name__ in ("dtype", "device")


def _users_plain(reading: Reading, value: Any, where: str) -> Json:
    """A number, text or collection with a class of the user's, such as a named tuple."""
    base = next(kind for kind in PLAIN if isinstance(value, kind))
    return {**_users_class(reading, value, where), "value": reading.describe(base(value), where)}


def _is_users_plain(value: object) -> bool:
    return isinstance(value, PLAIN) and not isinstance(value, type | enum.Enum) and is_users(type(value))


#: What code may put something into.
HOLDING = (list, dict, set, bytearray, CACHED)
#: What a class of the user's may be a kind of.
PLAIN = (str, int, float, tuple, list, dict)
Describer = Callable[[Reading, Any, str], Json]
Table = tuple[tuple[Callable[[Any], bool], Describer], ...]
#: In this order: an enum member may be a number, a class may look like an array.
DESCRIBERS: Table = (
    (lambda v: v is None or isinstance(v, bool), _plain),
    (lambda v: isinstance(v, enum.Enum), _member),
    (_is_users_plain, _users_plain),
    (lambda v: isinstance(v, str), _text),
    (lambda v: isinstance(v, numbers.Number), _number),
    (lambda v: isinstance(v, Mapping), _mapping),
    (lambda v: isinstance(v, tuple | list), _sequence),
    (lambda v: isinstance(v, type), _class),
    (dataclasses.is_dataclass, _dataclass),
    (inspect.isfunction, _function),
    (inspect.ismethod, _method),
    (lambda v: isinstance(v, functools.partial), _partial),
    (lambda v: isinstance(v, CACHED), _cached),
    (_is_builtin, _builtin),
    (_is_torch_name, _torch_name),
    (lambda v: hasattr(v, "__array__") and hasattr(v, "shape"), _array),
)


# --------------------------------------------------------------- what code may hold besides: the constants of a module


def _said(_: Reading, value: object, _where: str) -> Json:
    """A value that its text names in full."""
    return {"kind": type(value).__name__, "value": str(value)}


def _pattern(_: Reading, value: re.Pattern[Any], _where: str) -> Json:
    """A regular expression."""
    return {"kind": "pattern", "value": repr(value.pattern), "flags": value.flags}


def _bytes(_: Reading, value: bytes, _where: str) -> Json:
    """Bytes, by their checksum."""
    return {"kind": "bytes", "sha256": hashlib.sha256(value).hexdigest()}


def _pairs(reading: Reading, value: Mapping[object, object], where: str) -> Json:
    """A dict in its order, which code that goes through it sees; keys may be anything."""
    items = [[reading.describe(part, f"{where}[{key!r}]") for part in (key, item)] for key, item in value.items()]
    return {"kind": "dict", "items": items}


def _set(reading: Reading, value: set[object], where: str) -> Json:
    """A set in an order that is always the same."""
    items = [reading.describe(item, where) for item in value]
    return {"kind": "set", "items": sorted(items, key=lambda item: _json(item, lambda part: part.name))}


def _sentinel(_: Reading, value: object, _where: str) -> Json:
    """A bare object, which only is or is not another, and a logger, which changes no row."""
    return {"kind": type(value).__name__}


def _module(reading: Reading, value: types.ModuleType, where: str) -> Json:
    """A module as a value: the user's as a whole, a library's by name."""
    return reading.code.item(value, where) if is_users(value) else {"named": value.__name__}


def _instance(reading: Reading, value: Any, where: str) -> Json:
    """An object of a class of the user's: the class and what the object holds."""
    if reading.code.current:
        reading.code.current.keeps = True
    slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ()) if hasattr(value, name)]
    held = {
        **{name: getattr(value, name) for name in slots if not name.startswith("__")},
        **getattr(value, "__dict__", {}),
    }
    state = {name: reading.describe(item, f"{where}.{name}") for name, item in held.items()}
    return {"kind": type(value).__qualname__, **_users_class(reading, value, where), "state": state}


#: Before the others: a complex number is a number, a module-level dict has an order.
OF_CODE: Table = (
    (lambda v: isinstance(v, PurePath | complex | decimal.Decimal | fractions.Fraction | range | slice), _said),
    (lambda v: isinstance(v, datetime.date | datetime.time | datetime.timedelta | types.EllipsisType), _said),
    (lambda v: type(v).__module__ in ("typing", "types") or isinstance(v, types.GenericAlias | types.UnionType), _said),
    (
        lambda v: type(v).__module__.partition(".")[0] == "numpy" and hasattr(v, "itemsize") and hasattr(v, "names"),
        _said,
    ),
    (lambda v: isinstance(v, re.Pattern), _pattern),
    (lambda v: isinstance(v, bytes | bytearray), _bytes),
    (lambda v: isinstance(v, set | frozenset), _set),
    (lambda v: type(v) is object or isinstance(v, logging.Logger), _sentinel),
    (lambda v: isinstance(v, types.ModuleType), _module),
    (lambda v: isinstance(v, Mapping) and not is_users(type(v)), _pairs),
    (
        lambda v: is_users(type(v)) and not (dataclasses.is_dataclass(v) or isinstance(v, (*PLAIN, type, enum.Enum))),
        _instance,
    ),
)
