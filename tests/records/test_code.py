"""What of the user's code is part of a run's id: edits that make a new run, and edits that do not."""

from __future__ import annotations

import sys
import types

import pytest

from deeplimit.checks import InputError
from deeplimit.records.code import default_values, is_installed, is_users
from deeplimit.records.identity import Reading
from deeplimit.study import load_file

STUDY = '''"""A study with everything that a study may hold."""
import collections
import enum
import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import helper
import pkg.sub as s
from helper import direct, TABLE, make, lent
from pkg import reexported
from star import *

WIDTH = 3
SPARE = 7
ARRAY = np.arange(4.0)
HERE = Path(__file__).parent
MIXED = {"f": helper.in_dict, 2: (helper.in_tuple,)}
PATTERN = re.compile("ab")
NAMES = {"b", "a"}
scaled = make(2)
pair = (lambda x: x + 1, lambda x: x + 2)
bound = functools.partial(helper.in_partial, 1)
settings = helper.Settings()
Point = collections.namedtuple("Point", "x y", defaults=(1, 2))

class Kind(enum.Enum):
    FLAT = 1.5

class Meta(type):
    def make(cls):
        return 8

class Base(metaclass=Meta):
    offset = 4

    def size(self):
        return self.offset

class Mixin:
    """What else a task can do."""

    @property
    def prop(self):
        return helper.in_property()

    @classmethod
    def of_class(cls):
        return 21

    @staticmethod
    def static():
        return 22

    @functools.cached_property
    def once(self):
        return 23

    @functools.lru_cache
    def cached(self):
        return 24

def decorate(function):
    @functools.wraps(function)
    def inner(*args):
        return 31 * function(*args)
    return inner

@decorate
def decorated(x):
    return x + 32

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 2)

def default(x, n=WIDTH, *, k=helper.KEYWORD):
    return x + n + k

@dataclass(frozen=True)
class Task(Base, Mixin):
    depth: int = 2
    size: int = field(default_factory=lambda: 41)
    labels: dict = field(default_factory=dict)

    def run(self, context):
        # a remark
        from helper import inside
        import pkg.other
        import lone as l
        local = [s.deep(x) for x in range(3)]
        x = helper.f(self.depth) + direct(1) + s.Thing().go() + decorated(2) + even(3) + default(1)
        x += len(TABLE) + sum(ARRAY) + MIXED["f"]() + scaled(1) + pair[0](1) + bound() + settings.rate + Kind.FLAT.value
        x += inside() + pkg.other.late() + l.lonely() + reexported() + starred() + lent(1) + Point().x
        x += getattr(helper_by_name(), "n")() + self.nested() + len(NAMES) + bool(PATTERN.match("a"))
        yield {"quantity": "x", "value": x}

    def nested(self):
        def inner():
            return helper.in_nested()
        return (lambda: inner() + helper.in_lambda())()

    def cost(self):
        return 1

    def probe(self, context):
        return 1.0

def helper_by_name():
    import whole
    return whole

def unused():
    return SPARE
'''

HELPER = '''"""Helps."""
import math
import numpy as np
import torch
from dataclasses import dataclass

INNER = 5
KEYWORD = 6
TABLE = {"a": 1, "b": [2, 3]}
MUTATED = []
for _i in range(3):
    MUTATED.append(_i)

def f(x, n=INNER):
    """Doubles."""
    return math.sin(x) * g(x) + MUTATED[0]

def g(x):
    return x + 51

def direct(x):
    return x + 52

def make(factor):
    def scaled(x):
        return factor * x
    return scaled

@dataclass
class Settings:
    rate: float = 0.1

@torch.no_grad()
def lent(x):
    return x + 53

def in_dict():
    return 54

def in_tuple():
    return 55

def in_partial(x):
    return 56

def in_property():
    return 57

def in_nested():
    return 58

def in_lambda():
    return 59

def inside():
    return 60

def unused():
    return 61
'''

FILES = {
    "a_study.py": STUDY,
    "helper.py": HELPER,
    "lone.py": "def lonely():\n    return 71\n",
    "star.py": "def starred():\n    return 72\n",
    "whole.py": "from indirect import far\ndef n():\n    return 73\nodd_one = 74\n",
    "indirect.py": "def far():\n    return 75\n",
    "pkg/__init__.py": "from .sub import reexported\n",
    "pkg/sub.py": (
        "from . import third\nclass Thing:\n    scale = 81\n    def go(self):\n        return third.three()\n"
        "def deep(x):\n    return x + 82\ndef reexported():\n    return 83\n"
    ),
    "pkg/third.py": "def three():\n    from .fourth import four\n    return four()\n",
    "pkg/fourth.py": "def four():\n    return 84\n",
    "pkg/other.py": "def late():\n    return 85\n",
}


@pytest.fixture
def identify(tmp_path, monkeypatch):
    """A function that writes the files into a new folder, loads the study there and describes its task."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = list(sys.path)

    def load(files: dict[str, str], name: str = "a_study.py", *, task: str = "Task"):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for file, text in {**files, name: files["a_study.py"] + TAIL.format(task=task)}.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        forget()
        sys.path[:] = path
        (planned,) = load_file(folder / name).studies[0].plan("quick")
        return Reading().identity(planned)

    yield load
    forget()
    sys.path[:] = path


TAIL = """
from deeplimit.study import Study
study = Study("it", tasks=lambda settings: [{task}()])
"""


def forget() -> None:
    """Let the next study import its own modules."""
    for name in [
        name
        for name in sys.modules
        if f"{name.partition('.')[0]}" in {file.split("/")[0].removesuffix(".py") for file in FILES}
    ]:
        del sys.modules[name]


COUNTS = [
    ("a_study.py", "WIDTH = 3", "WIDTH = 4"),
    ("a_study.py", "ARRAY = np.arange(4.0)", "ARRAY = np.arange(5.0)"),
    ("a_study.py", 're.compile("ab")', 're.compile("ac")'),
    ("a_study.py", 'NAMES = {"b", "a"}', 'NAMES = {"b", "c"}'),
    ("a_study.py", "make(2)", "make(3)"),
    ("a_study.py", "x + 1, lambda", "x + 3, lambda"),
    ("a_study.py", "lambda x: x + 2)", "lambda x: x + 3)"),
    ("a_study.py", "in_partial, 1)", "in_partial, 2)"),
    ("a_study.py", "helper.Settings()", "helper.Settings(0.2)"),
    ("a_study.py", "defaults=(1, 2)", "defaults=(2, 2)"),
    ("a_study.py", "FLAT = 1.5", "FLAT = 2.5"),
    ("a_study.py", "return 8", "return 9"),
    ("a_study.py", "offset = 4", "offset = 5"),
    ("a_study.py", "return self.offset", "return -self.offset"),
    ("a_study.py", "return 21", "return 0"),
    ("a_study.py", "return 22", "return 0"),
    ("a_study.py", "return 23", "return 0"),
    ("a_study.py", "return 24", "return 0"),
    ("a_study.py", "31 * function", "0 * function"),
    ("a_study.py", "x + 32", "x + 0"),
    ("a_study.py", "@decorate\n", ""),
    ("a_study.py", "even(n - 2)", "even(n - 1)"),
    ("a_study.py", "lambda: 41", "lambda: 0"),
    ("a_study.py", "depth: int = 2", "depth: int = 3"),
    ("a_study.py", "len(TABLE)", "2 * len(TABLE)"),
    ("helper.py", "INNER = 5", "INNER = 6"),
    ("helper.py", "KEYWORD = 6", "KEYWORD = 7"),
    ("helper.py", '"b": [2, 3]', '"b": [2, 4]'),
    ("helper.py", '{"a": 1, "b": [2, 3]}', '{"b": [2, 3], "a": 1}'),
    ("helper.py", "range(3)", "range(4)"),
    ("helper.py", "n=INNER", "n=7"),
    ("helper.py", "math.sin", "math.cos"),
    ("helper.py", "return factor * x", "return factor + x"),
    ("helper.py", "@dataclass\n", "@dataclass(eq=False)\n"),
    *(("helper.py", f"return x + {n}", "return x") for n in (51, 52, 53)),
    *(("helper.py", f"return {n}", "return 0") for n in range(54, 61)),
    ("lone.py", "71", "0"),
    ("star.py", "72", "0"),
    ("whole.py", "73", "0"),
    ("whole.py", "74", "0"),
    ("indirect.py", "75", "0"),
    *(("pkg/sub.py", str(n), "0") for n in (81, 82, 83)),
    ("pkg/fourth.py", "84", "0"),
    ("pkg/other.py", "85", "0"),
]

#: What an edit changes that no row depends on.
NOT = [
    ("a_study.py", "        # a remark\n", ""),
    ("a_study.py", "    return n != 0 and even", "\n    # why\n    return (n != 0\n            and even"),
    ("a_study.py", '"""What else a task can do."""', "'''Another text.'''"),
    ("a_study.py", "SPARE = 7", "SPARE = 8"),
    ("a_study.py", "even(n - 2)\n", "even( n-2 )  # two\n"),
    ("a_study.py", '"""A study with everything that a study may hold."""', ""),
    ("a_study.py", "WIDTH = 3", "WIDTH = 1 + 2"),
    ("helper.py", '"""Helps."""', "# Helps.\n\n"),
    ("helper.py", '    """Doubles."""\n', ""),
    ("helper.py", "return 61", "return 0"),
    ("helper.py", '"b": [2, 3]', "'b': [2, 1 + 2]"),
    ("pkg/sub.py", "def deep(x):\n", "def deep(\n    x\n):\n"),
    ("pkg/__init__.py", "", "unused = 1\n"),
]


@pytest.fixture
def edited(identify):
    def edit(file: str, old: str, *, new: str):
        assert old in FILES[file]
        text = FILES[file].replace(old, new, 1)
        closed = text.replace("and even(n - 2)", "and even(n - 2))") if "(n != 0\n" in text else text
        return identify({**FILES, file: closed})

    return edit


@pytest.mark.parametrize(("file", "old", "new"), COUNTS)
def test_an_edit_of_what_a_task_depends_on_makes_a_new_run(identify, edited, file, old, new):
    assert identify(FILES).id != edited(file, old, new=new).id


@pytest.mark.parametrize(("file", "old", "new"), NOT)
def test_an_edit_of_anything_else_does_not(identify, edited, file, old, new):
    assert identify(FILES).id == edited(file, old, new=new).id


def test_a_study_keeps_its_runs_under_another_file_name_and_in_another_folder(identify):
    first, other = identify(FILES), identify(FILES, "renamed.py")
    assert (first.id, first.spec) == (other.id, other.spec)


def test_what_everything_is_followed_into_holds_nothing_that_cannot_be(identify):
    found = identify(FILES)
    assert found.unfollowed == ()
    assert {"torch", "functools"} <= set(found.packages)
    assert "helper" not in found.packages


# ------------------------------------------------------------------------------------------------- what is said instead

SMALL = """
import helper
from dataclasses import dataclass, field

CONSTANT = 1

@dataclass(frozen=True)
class Task:
    labels: dict = field(default_factory=dict)

    def run(self, context):
        {body}

    def cost(self):
        return 1

    def probe(self, context):
        return 1.0
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exec('x = 1')", "Task.run runs text as code (exec)"),
        ("return eval('1')", "Task.run runs text as code (eval)"),
        (
            "import importlib; return importlib.import_module(context.name)",
            "Task.run imports a module by a computed name (importlib.import_module)",
        ),
        ("return __import__(context)", "Task.run imports a module by a computed name (__import__)"),
        (
            "import not_there; not_there.f()",
            "Task.run imports not_there, which fails here (ModuleNotFoundError: No module named 'not_there')",
        ),
        ("return helper.absent(1)", "Task.run uses helper.absent, which is not there"),
        ("import subprocess; subprocess.run(['true'])", "Task.run runs another program (subprocess.run)"),
        ("import polars as pl; return pl.read_csv('x')", "Task.run reads files past Python (polars.read_csv)"),
        ("from os import environ; return environ['X']", "Task.run reads the environment (os.environ)"),
        ("return helper.seen()", "helper.seen reads the environment (os.environ)"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_said(identify, body, said):
    helper = "import os\ndef seen():\n    return os.environ['X']\n"
    found = identify({"a_study.py": SMALL.format(body=body), "helper.py": helper})
    assert found.unfollowed == (said,)


@pytest.mark.parametrize(
    ("body", "follows"),
    [
        ("return globals()['CONSTANT']", "CONSTANT = 1"),
        ("import importlib; return importlib.import_module('helper').f()", "return 10"),
        ("return getattr(helper, context)()", "return 10"),
        ("return vars(helper)[context]()", "return 10"),
        ("import helper", "return 10"),
        ("from helper import Lazy; return Lazy.f()", "return 10"),
        ("import helper as h; m = h; return m.f()", "return 10"),
    ],
)
def test_a_module_that_is_used_as_a_whole_counts_as_a_whole(identify, body, follows):
    files = {
        "a_study.py": SMALL.format(body=body),
        "helper.py": "def f():\n    return 10\nclass Lazy:\n    f = staticmethod(f)\n",
    }
    edited = {name: text.replace(follows, follows.replace("1", "2")) for name, text in files.items()}
    first = identify(files)
    assert first.unfollowed == ()
    assert first.id != identify(edited).id


def test_a_compiled_module_counts_by_the_bytes_of_its_file_and_is_said(identify, tmp_path, monkeypatch):
    compiled = types.ModuleType("compiled")
    compiled.__file__ = str(tmp_path.parent / "compiled.so")
    compiled.f = len  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compiled", compiled)
    ids = []
    for content in (b"one", b"two"):
        (tmp_path.parent / "compiled.so").write_bytes(content)
        found = identify({"a_study.py": SMALL.format(body="import compiled; return compiled.f(1)"), "helper.py": ""})
        ids.append(found.id)
        assert found.unfollowed == (
            "module compiled is compiled: it counts by the bytes of its file, and what it uses is not followed",
        )
    assert ids[0] != ids[1]


@pytest.mark.parametrize("held", ["iter(())", "torch.nn.Linear(2, 2)", "threading.Lock()"])
def test_a_constant_without_a_description_is_refused_by_name(identify, held):
    text = SMALL.format(body="return live") + f"\nimport threading, torch\nlive = {held}\n"
    with pytest.raises(InputError, match=r"^task: the module-level name live: expected numbers, text, .* found "):
        identify({"a_study.py": text, "helper.py": ""})


def test_an_attribute_of_a_class_without_a_description_is_said(identify):
    text = SMALL.format(body="return self.lock").replace(
        "    labels:", "    lock = __import__('threading').Lock()\n    labels:"
    )
    assert identify({"a_study.py": text, "helper.py": ""}).unfollowed == (
        "Task holds lock, a _thread.lock that has no description",
    )


def test_docstrings_count_where_they_are_read(identify):
    text = SMALL.format(body='"""Say."""\n        return self.run.__doc__')
    first, other = (identify({"a_study.py": t, "helper.py": ""}) for t in (text, text.replace("Say", "Tell")))
    assert first.id != other.id


def test_a_constant_beside_the_file_counts_without_its_folder(identify):
    text = (
        SMALL.format(body="return DATA, NAME")
        + "\nimport os\nfrom pathlib import Path\nDATA = Path(__file__).parent / '{}.csv'\nNAME = os.path.dirname(__file__) + '/b'\n"
    )
    first, moved, other = (identify({"a_study.py": text.format(name), "helper.py": ""}) for name in ("a", "a", "c"))
    assert first.id == moved.id
    assert first.id != other.id


def test_two_closures_of_one_function_are_told_apart(identify):
    text = (
        SMALL.replace("{body}", "return every")
        + "\ndef make(n):\n    return lambda: n\none, two = make(1), make(2)\nevery = [one, two, LAST]\n"
    )
    ids = {identify({"a_study.py": text.replace("LAST", last), "helper.py": ""}).id for last in ("one", "two")}
    assert len(ids) == 2


# ---------------------------------------------------------------------------------------------------------------- edges


def test_whose_code_it_is():
    import numpy as np

    from deeplimit.branches import Perceptron

    assert is_users(test_whose_code_it_is)
    assert not any(map(is_users, (Perceptron, load_file, pytest.fixture, np.linalg.norm, np.ndarray, dict, sys, types)))
    assert is_installed(np.__file__)
    assert not is_installed(__file__)


def test_defaults_stand_by_the_names_of_their_parameters():
    def function(a, b=1, /, c=2, *d, e=3, f, **g):
        return a, b, c, d, e, f, g

    assert isinstance(function, types.FunctionType)
    assert default_values(function) == {"b": 1, "c": 2, "e": 3}
