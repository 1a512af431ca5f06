"""The user's code that a value depends on: functions, classes, constants and modules, followed to the edge of installed packages.

Each becomes an `Item`: the normal form of its source, the values that it carries, and what it uses, which may be items again. What cannot
be followed is said in the notes of the item that holds it.
"""

from __future__ import annotations

import ast
import enum
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import json
import re
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplimit.checks import InputError
from deeplimit.records.source import Import, Source, Use, folder_of, keeps_something, source_of, text_of, uses_of

PACKAGE = __name__.partition(".")[0]
#: Modules made from a user's study file; their names do not count.
STUDY_MODULE = "deeplimit_study_"
#: Longest description of a constant that a specification shows; a longer one stands by its checksum.
SHOWN = 200
#: Names of a module that follow from where its file lies.
PLACES = frozenset(
    ["__file__", "__name__", "__path__", "__package__", "__spec__", "__loader__", "__cached__", "__builtins__"]
)
MISSING: Any = object()
CACHED = type(functools.cache(len))
#: Where members of a class keep the function that they were made of.
BEHIND = ("fget", "fset", "fdel", "__func__", "func", "__wrapped__")
#: What code may call that nothing can follow: start of the name, and what is said of it.
OPAQUE = {
    "builtins.exec": "runs text as code",
    "builtins.eval": "runs text as code",
    "builtins.compile": "runs text as code",
    "builtins.__import__": "imports a module by a computed name",
    "importlib.import_module": "imports a module by a computed name",
    "runpy.": "runs a file as code",
    "subprocess.": "runs another program",
    "os.system": "runs another program",
    "os.popen": "runs another program",
    "os.environ": "reads the environment",
    "os.getenv": "reads the environment",
    "ctypes.": "calls compiled code",
    "cffi.": "calls compiled code",
    "polars.read_": "reads files past Python",
    "polars.scan_": "reads files past Python",
    "safetensors.": "reads files past Python",
    "pyarrow.": "reads files past Python",
    "h5py.": "reads files past Python",
    "netCDF4.": "reads files past Python",
    "sqlite3.": "reads files past Python",
    "urllib.request": "reads from the network",
    "requests.": "reads from the network",
    "httpx.": "reads from the network",
    "socket.": "reads from the network",
}

Json = Any


class Item:
    """One piece of the user's code: `own` is its description, in which other items may stand.

    Args:
        value: the object, kept alive so that its `id` stays its own.
        name: for people: `helper.Block.forward`; without a module for what stands in a study file.
        where: what reached it first, for errors.

    `keeps` says whether one task may leave something in it for the next: a cache, a list of the module.
    """

    def __init__(self, value: object, name: str, *, where: str) -> None:
        """Nothing is known of it yet."""
        self.value = value
        self.name = name
        self.where = where
        self.own: Json = None
        self.notes: set[str] = set()
        self.packages: set[str] = set()
        self.keeps = False

    def says(self, what: str) -> None:
        """Note something that cannot be followed."""
        self.notes.add(f"{self.name} {what}")


class Code:
    """The items of some values, each once. Not to be kept longer than a plan, because constants may change.

    Args:
        describe: describes a constant; called with the value and the place that is named in errors.
    """

    def __init__(self, describe: Callable[[Any, str], Json]) -> None:
        """Nothing is reached yet."""
        self.describe = describe
        self.current: Item | None = None
        self._items: dict[object, Item] = {}
        self._pending: list[tuple[Item, Callable[[Item], Json]]] = []

    def item(self, value: Any, where: str) -> Item:
        """The item of a function, class or module of the user's; `complete` describes it."""
        if isinstance(value, types.ModuleType):
            return self._reached(id(value), Item(value, _module_name(value.__name__, "module "), where=where), _module)
        if isinstance(value, type):
            name = _readable(value.__module__, value.__qualname__)
            return self._reached(id(value), Item(value, name, where=where), _class)
        name = _readable(value.__globals__.get("__name__", ""), value.__qualname__)
        return self._reached(id(value), Item(value, name, where=where), _function)

    def constant(self, value: Any, name: str, *, holder: dict[str, Any], where: str) -> Item:
        """The item of a value that stands in a module under a name."""
        readable = _readable(holder.get("__name__", ""), name)
        folder = folder_of(holder["__file__"]) if isinstance(holder.get("__file__"), str) else None
        describe = functools.partial(_constant, folder=folder)
        return self._reached((id(holder), name), Item(value, readable, where=where), describe)

    def _reached(self, key: object, item: Item, describe: Callable[[Code, Item], Json]) -> Item:
        """The item already there, or this one, to be described."""
        known = self._items.setdefault(key, item)
        if known is item:
            self._pending.append((item, functools.partial(describe, self)))
        return known

    def complete(self) -> None:
        """Describe everything that was reached, and what that reaches.

        Raises:
            InputError: a name that the code uses stands for something that has no description.
        """
        while self._pending:
            self.current, describe = self._pending.pop()
            self.current.own = describe(self.current)


# ------------------------------------------------------------------------------------------------------------- edges


def is_users(value: Any) -> bool:
    """Whether a function, class or module is the user's own: not this package's, not an installed library's."""
    if isinstance(value, types.FunctionType):
        return not is_ours(value) and not is_installed(value.__code__.co_filename)
    return _is_users_module(value.__name__ if isinstance(value, types.ModuleType) else value.__module__ or "")


def is_ours(function: types.FunctionType) -> bool:
    """Whether a function is this package's."""
    return (function.__globals__.get("__name__") or "").partition(".")[0] == PACKAGE


def _is_users_module(name: str) -> bool:
    """Whether a module, by its name, is the user's own."""
    if name.partition(".")[0] == PACKAGE:
        return False
    top = name.partition(".")[0]
    file = _file_of(sys.modules.get(name)) or _file_of(sys.modules.get(top))
    return top not in {*sys.stdlib_module_names, ""} if file is None else not is_installed(file)


def _file_of(module: types.ModuleType | None) -> str | None:
    """The file of a module; the folder of a package that has none."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return next((place for place in places if isinstance(place, str)), None)


@functools.cache
def is_installed(file: str) -> bool:
    """Whether a file belongs to Python itself or to an installed package."""
    if file.startswith("<frozen ") or {"site-packages", "dist-packages"} & set(Path(file).parts):
        return True
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders.append(site.getusersitepackages())
    places = {Path(file), Path(file).resolve()}
    return any(place.is_relative_to(Path(folder)) for place in places for folder in folders if folder)


def edge(value: Any) -> Json:
    """What stands for a function or class of an installed package, or of this one: its name, and the revision of one of ours."""
    if isinstance(value, types.FunctionType):
        name = f"{value.__globals__.get('__name__', '')}.{value.__code__.co_qualname}"
    else:
        name = f"{getattr(value, '__module__', None) or 'builtins'}.{getattr(value, '__qualname__', value.__name__)}"
    revision = getattr(value, "revision", None) if isinstance(value, type) else None
    ours = name.startswith(f"{PACKAGE}.") and isinstance(revision, int)
    return {"named": name, "revision": revision} if ours else {"named": name}


def wrapped_in(value: Any) -> Iterator[Any]:
    """The user's functions and classes that a function of a library carries along, as what its decorators return does."""
    cells = [_held_in(cell) for cell in value.__closure__ or ()]
    for held in (getattr(value, "__wrapped__", None), *cells):
        inner = held.values() if isinstance(held, dict | types.MappingProxyType) else [held]
        for part in inner:
            if isinstance(part, types.FunctionType | type) and part is not value and is_users(part):
                yield part


# ------------------------------------------------------------------------------------------------- describing an item


def _constant(code: Code, item: Item, *, folder: str | None) -> Json:
    """A value of a module, without the place where its file lies."""
    value = item.value
    if folder and isinstance(value, str | Path) and Path(value).is_absolute() and Path(value).is_relative_to(folder):
        return {"value": {"beside": Path(value).relative_to(folder).as_posix()}}
    described = code.describe(value, item.where)
    try:
        text = json.dumps(described, sort_keys=True)
    except TypeError:  # it holds items
        return {"value": described}
    return {"value": described} if len(text) <= SHOWN else {"sha256": digest(text)}


def _function(code: Code, item: Item) -> Json:
    """A function: its source without its defaults, these by value, what it closes over, and what it uses."""
    function: types.FunctionType = item.value  # type: ignore[assignment]
    source, node = _definition(function, item.where)
    arguments = node.args
    defaults = frozenset(id(value) for value in (*arguments.defaults, *arguments.kw_defaults))
    cells = closure(function)
    item.keeps |= keeps_something(node)
    carried = {"defaults": default_values(function), "closure": {n: c for n, c in cells.items() if not _is_module(c)}}
    described = {
        kind: {name: code.describe(value, f"{item.where}: {name} of {item.name}") for name, value in values.items()}
        for kind, values in carried.items()
        if values
    }
    space = _Space(function.__globals__, cells)
    uses = _uses(code, item, names=uses_of(node, without=defaults), space=space)
    return {"source": digest(text_of(node, documented=source.documented, without=defaults)), **described, **uses}


def _is_module(value: object) -> bool:
    return isinstance(value, types.ModuleType)


def default_values(function: types.FunctionType) -> dict[str, Any]:
    """The defaults of a function's parameters, by name."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    return {**dict(zip(names, defaults, strict=True)), **(function.__kwdefaults__ or {})}


def _definition(
    function: types.FunctionType, where: str
) -> tuple[Source, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda]:
    """The source that a function stands in, and its definition there.

    Raises:
        InputError: there is none.
    """
    source = source_of(function.__code__.co_filename)
    node = source.function(function.__code__) if source else None
    if source is None or node is None or isinstance(node, ast.ClassDef):
        raise InputError(f"{where}: expected a function or class defined in a file, found {function!r}")
    return source, node


def normal_form(function: types.FunctionType, where: str) -> str:
    """The source of a function without comments, layout and docstrings.

    Raises:
        InputError: it is in no file.
    """
    source, node = _definition(function, where)
    return text_of(node, documented=source.documented)


@dataclass(frozen=True)
class _Space:
    """Where the names of a definition are looked up: in its module, and before that in what it closes over."""

    module: dict[str, Any]
    closure: Mapping[str, Any] = field(default_factory=dict)


def closure(function: types.FunctionType) -> dict[str, Any]:
    """Names and values of the enclosing function that this one uses; itself, where it is recursive, and what is not set yet, left out."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    held = {name: _held_in(cell) for name, cell in cells}
    return {name: value for name, value in held.items() if value is not function and value is not MISSING}


def _held_in(cell: types.CellType) -> Any:
    """What a cell of a closure holds; nothing before it is set."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _class(code: Code, item: Item) -> Json:
    """A class: its bases, its methods, its attributes by value, and what else stands in its body."""
    cls: type = item.value  # type: ignore[assignment]
    functions = _functions(cls)
    item.keeps |= any(isinstance(member, CACHED) for member in vars(cls).values())
    attributes = _attributes(code, item)
    own = {
        "bases": [_base(code, item, base=base) for base in cls.__bases__ if base is not object],
        "metaclass": [code.item(type(cls), item.where)] if is_users(type(cls)) else [],
        "methods": {name: code.item(function, item.where) for name, function in functions.items()},
        "attributes": attributes,
    }
    return {
        **{name: value for name, value in own.items() if value},
        **_body(code, item, functions=functions, attributes=attributes),
    }


def _body(
    code: Code, item: Item, *, functions: Mapping[str, types.FunctionType], attributes: Mapping[str, Json]
) -> Json:
    """What stands in the body of a class besides the functions that are items of their own and the attributes that stand by their value.

    Raises:
        InputError: the body is nowhere, and the class is not one that follows from its attributes.
    """
    cls: type = item.value  # type: ignore[assignment]
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None) or next((f.__code__.co_filename for f in functions.values()), None)
    source = source_of(file) if file else None
    node = source.class_(cls) if source else None
    if source is None or node is None:
        if _is_made_by_a_call(cls):
            return {}
        raise InputError(f"{item.where}: expected a function or class defined in a file, found {cls!r}")
    inside = [f.__code__ for f in functions.values() if source_of(f.__code__.co_filename) is source]
    apart = {id(found) for code_ in inside if (found := source.function(code_)) is not None}
    apart |= {
        id(value) for value in _assigned(node, {name for name, said in attributes.items() if not _is_unknown(said)})
    }
    uses = _uses(code, item, names=uses_of(node, without=frozenset(apart)), space=_Space(vars(module)))
    return {"source": digest(text_of(node, documented=source.documented, without=frozenset(apart))), **uses}


def _assigned(node: ast.ClassDef, names: set[str]) -> Iterator[ast.expr]:
    """The values that a class body gives to names, each alone in its statement."""
    for part in node.body:
        targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
        value = part.value if isinstance(part, ast.Assign | ast.AnnAssign) else None
        if value is not None and len(targets) == 1 and getattr(targets[0], "id", None) in names:
            yield value


def _is_unknown(described: Json) -> bool:
    """Whether a value has no description."""
    return isinstance(described, dict) and "unknown" in described


def _is_made_by_a_call(cls: type) -> bool:
    """Whether a class follows from its attributes: of `namedtuple`, `make_dataclass` or the call of an enum."""
    return hasattr(cls, "_fields") or hasattr(cls, "__dataclass_fields__") or issubclass(cls, enum.Enum)


def _base(code: Code, item: Item, *, base: type) -> Json:
    """A base or metaclass: followed where it is the user's."""
    if is_users(base):
        return code.item(base, item.where)
    return _named(item, edge(base))


def _functions(cls: type) -> dict[str, types.FunctionType]:
    """The functions behind a class's methods, properties, class and static methods; those that `dataclass` and the like write left out."""
    found: dict[str, types.FunctionType] = {}
    for name, member in vars(cls).items():
        for what in ("", *BEHIND):
            function = getattr(member, what, None) if what else member
            if (
                isinstance(function, types.FunctionType)
                and is_users(function)
                and source_of(function.__code__.co_filename)
            ):
                found[f"{name}.{what}" if what in ("fset", "fdel") else name] = function
    return found


def _attributes(code: Code, item: Item) -> dict[str, Json]:
    """The values in a class's body; one that has no description is said, because the body's source stands for it."""
    cls: type = item.value  # type: ignore[assignment]
    if issubclass(cls, enum.Enum):
        members = cls.__members__.items()
        return {name: _tried(code, item, value=member.value, name=name) for name, member in members}
    plain = {name: value for name, value in vars(cls).items() if not _is_machinery(name, value)}
    return {name: _tried(code, item, value=value, name=name) for name, value in sorted(plain.items())}


def _is_machinery(name: str, value: object) -> bool:
    """Whether a member of a class is no value of its own: what Python keeps there, or a function, which `_functions` has."""
    return (
        (name.startswith("__") and name.endswith("__"))
        or name == "_abc_impl"
        or inspect.isroutine(value)
        or (isinstance(value, property | functools.cached_property) or inspect.isdatadescriptor(value))
    )


def _tried(code: Code, item: Item, *, value: object, name: str) -> Json:
    """The description of a value, or a note that it has none."""
    try:
        return code.describe(value, f"{item.where}: {name} of {item.name}")
    except (InputError, RecursionError):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        item.says(f"holds {name}, a {kind} that has no description")
        return {"unknown": kind}


def _module(code: Code, item: Item) -> Json:
    """A module of the user's, used as a whole: its source and everything in it; a compiled one by the bytes of its file."""
    module: types.ModuleType = item.value  # type: ignore[assignment]
    file = getattr(module, "__file__", None)
    if file and not file.endswith(".py"):
        item.says("is compiled: it counts by the bytes of its file, and what it uses is not followed")
        return {"compiled": hashlib.sha256(Path(file).read_bytes()).hexdigest()}
    source = source_of(file) if file else None
    described = {"source": digest(text_of(source.tree, documented=source.documented))} if source else {}
    held = {}
    for name, value in sorted(vars(module).items()):
        if name not in PLACES | {"__doc__", "__annotations__"}:
            held[name] = _held(code, item, name=name, value=value)
    return {**described, **({"uses": held} if held else {})}


def _held(code: Code, item: Item, *, name: str, value: Any) -> Json:
    """Something in a module that is used as a whole."""
    if isinstance(value, types.ModuleType | types.FunctionType | type):
        return _meaning(code, item, value=value, label=name, holder={})
    return _tried(code, item, value=value, name=name)


# --------------------------------------------------------------------------------------------------------------- uses


def _uses(code: Code, item: Item, *, names: list[Use], space: _Space) -> dict[str, Json]:
    """What the names in a definition stand for, by the name with its attributes as far as they lead through modules."""
    found: dict[str, Json] = {}
    for use in names:
        name, rest = use.chain[0], use.chain[1:]
        if use.imported is not None:
            label, described = _imported(code, item, use=use, space=space)
        elif name in space.closure:
            # Values are described with the function; a module is followed here, as one of the file is.
            value = space.closure[name]
            if not isinstance(value, types.ModuleType):
                continue
            label, described = _followed(code, item, value=value, rest=rest, label=name, holder={})
        elif name in space.module:
            value = space.module[name]
            label, described = _followed(code, item, value=value, rest=rest, label=name, holder=space.module)
        else:
            label, described = name, _builtin(code, item, name=name, space=space)
        if described is not None:
            found[label] = described
    return {"uses": found} if found else {}


def _builtin(code: Code, item: Item, *, name: str, space: _Space) -> Json:
    """Nothing for a name of Python's own, but a note for those that run code, and the whole module for `globals`."""
    _named(item, {"named": f"builtins.{name}"})
    module = sys.modules.get(space.module.get("__name__", ""))
    return code.item(module, item.where) if name == "globals" and module is not None and is_users(module) else None


def _imported(code: Code, item: Item, *, use: Use, space: _Space) -> tuple[str, Json]:
    """What a name stands for that an import inside the definition binds. Installed packages are not imported for it."""
    imported = use.imported or Import("")
    rest = (*([imported.name] if imported.name else []), *use.chain[1:])
    module = "." * imported.level + imported.module
    try:
        full = importlib.util.resolve_name(module, space.module.get("__package__") or None)
        if not _belongs_to_user(full):
            return use.chain[0], _named(item, {"named": ".".join([full, *rest])})
        value = importlib.import_module(full)
    except Exception as error:  # noqa: BLE001 - an import runs anybody's code; the task itself will say what is wrong
        item.says(f"imports {module}, which fails here ({type(error).__name__}: {error})")
        return use.chain[0], {"unknown": module}
    return _followed(code, item, value=value, rest=rest, label=full, holder={})


def _belongs_to_user(name: str) -> bool:
    """Whether a module that may not be imported yet is the user's own."""
    top = name.partition(".")[0]
    if top in sys.modules:
        return _is_users_module(top)
    if top == PACKAGE or top in sys.builtin_module_names:
        return False
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {top!r}")
    places = [spec.origin, *(spec.submodule_search_locations or ())]
    file = next((place for place in places if place and place not in ("built-in", "frozen")), None)
    return file is not None and not is_installed(file)


def _followed(
    code: Code, item: Item, *, value: Any, rest: tuple[str, ...], label: str, holder: dict[str, Any]
) -> tuple[str, Json]:
    """What a name with its attributes stands for: modules of the user's are looked into, up to the first thing that is none."""
    while rest and isinstance(value, types.ModuleType) and is_users(value) and not _is_compiled(value):
        holder, inner = vars(value), _attribute(value, rest[0])
        label, rest = f"{label}.{rest[0]}", rest[1:]
        if inner is MISSING:
            item.says(f"uses {label}, which is not there")
            return label, {"unknown": label}
        value = inner
    if isinstance(value, types.ModuleType) and not is_users(value):
        return ".".join([label, *rest]), _of_library(item, module=value, rest=rest)
    return label, None if label.rpartition(".")[2] in PLACES else _meaning(
        code, item, value=value, label=label, holder=holder
    )


def _is_compiled(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and not str(file).endswith(".py")


def _attribute(module: types.ModuleType, name: str) -> Any:
    """An attribute of a module; a submodule that is not imported yet is."""
    found = getattr(module, name, MISSING)
    if found is MISSING and hasattr(module, "__path__"):
        try:
            return importlib.import_module(f"{module.__name__}.{name}")
        except Exception:  # noqa: BLE001 - an import runs anybody's code; that it is missing is said
            return MISSING
    return found


def _of_library(item: Item, *, module: types.ModuleType, rest: tuple[str, ...]) -> Json:
    """A name of an installed package or of this one, which is not looked into but for the revision of a class of ours."""
    named = {"named": ".".join([module.__name__, *rest])}
    value: Any = module
    for name in rest if module.__name__.partition(".")[0] == PACKAGE else ():
        value = getattr(value, name, None)
    revision = getattr(value, "revision", None) if isinstance(value, type) else None
    return _named(item, {**named, "revision": revision} if isinstance(revision, int) else named)


def _named(item: Item, named: Json) -> Json:
    """A name at the edge: its package is noted, and what is known to lead where nothing can follow is said."""
    name = named["named"]
    item.packages.add(name.partition(".")[0])
    for start, what in OPAQUE.items():
        if f"{name}.".startswith(start if start.endswith(("_", ".")) else f"{start}."):
            item.says(f"{what} ({name.removeprefix('builtins.')})")
            break
    return named


def _meaning(code: Code, item: Item, *, value: Any, label: str, holder: dict[str, Any]) -> Json:
    """What a name stands for: an item where it is the user's code or a constant, a name at the edge."""
    if isinstance(value, types.ModuleType | type | types.FunctionType):
        if is_users(value):
            return code.item(value, item.where)
        if isinstance(value, types.ModuleType):
            return _of_library(item, module=value, rest=())
        inner = [code.item(part, item.where) for part in wrapped_in(value)] if not isinstance(value, type) else []
        return {**_named(item, edge(value)), **({"wraps": inner} if inner else {})}
    where = f"{item.where}: the module-level name {_readable(holder.get('__name__', ''), label.rpartition('.')[2])}"
    return code.constant(value, label.rpartition(".")[2], holder=holder, where=where)


# -------------------------------------------------------------------------------------------------------------- names


def digest(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _readable(module: str | None, qualname: str) -> str:
    """A name for people."""
    name = re.sub(r"<locals>\.", "", qualname).replace("<lambda>", "lambda")
    return _module_name(module or "", "", end=".") + name


def _module_name(module: str, start: str, end: str = "") -> str:
    """A module's name between two texts; the study file has none."""
    if module.startswith(STUDY_MODULE):
        return "the study file" if start else ""
    return f"{start}{module}{end}"
