from __future__ import annotations

import enum
import functools
import http
import importlib.util
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplimit.checks import InputError
from deeplimit.records import canonical, run_id
from deeplimit.records.identity import LATER
from deeplimit.scaling import DepthScaling


@dataclass(frozen=True)
class Inner:
    scale: float


@dataclass(frozen=True)
class Spec:
    revision: ClassVar[int] = 1
    size: int
    inner: Inner = Inner(1.0)
    names: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass
class Thawed:
    size: int


class Colour(enum.Enum):
    RED = 1


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(plain)
def test_plain_values_are_their_own_json(value):
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(value):
    assert canonical(value) == canonical(dict(reversed(value.items())))


def test_a_dataclass_of_the_package_stands_by_its_name_and_fields():
    assert json.loads(canonical(DepthScaling(beta=0.5))) == {"kind": "DepthScaling", "fields": {"beta": 0.5}}


def test_tuples_are_lists_and_numpy_numbers_are_numbers():
    assert canonical((np.int64(3), np.float64(0.5))) == canonical([3, 0.5])


def test_a_member_of_an_enum_stands_by_its_name_and_the_users_by_the_code_of_the_enum_too():
    assert canonical(http.HTTPStatus.OK) == '{"kind":"HTTPStatus","member":"OK"}'
    own = json.loads(canonical(Colour.RED))
    assert own["spec"] == {"class": {"code": "0"}, "kind": "Colour", "member": "RED"}
    assert own["code"]["0"]["attributes"] == {"RED": 1}


def test_what_json_cannot_hold_goes_by_name():
    assert canonical([math.nan, -math.inf]) == canonical([float("nan"), float("-inf")])
    assert canonical(math.nan) != canonical(math.inf)


def test_an_array_stands_by_its_numbers():
    torch = pytest.importorskip("torch")
    ones = np.ones((2, 3))
    assert canonical(ones) == canonical(np.asfortranarray(ones)) == canonical(torch.ones(2, 3, dtype=torch.float64))
    assert len({canonical(a) for a in (ones, ones.T, 2 * ones, ones.astype(np.float32))}) == 4
    assert canonical(torch.float64) != canonical(torch.float32)


def test_functions_of_libraries_stand_by_name():
    assert (
        len({canonical(f) for f in (math.tanh, math.sinh, np.tanh, np.sinh, np.mean, functools.partial(pow, 2))}) == 6
    )


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, 1j, Thawed(3), np.array([object()]), {"a": (1, [object()])}, [].append],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_description_is_refused(value):
    with pytest.raises(InputError, match="expected"):
        canonical(value)


def test_the_message_says_where_and_what_is_accepted():
    module = pytest.importorskip("torch").nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"spec\.names\[1\].*a function that builds it.*found torch\.nn.*Linear"):
        canonical(Spec(3, names=("a", module)))


def test_a_cycle_is_refused():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InputError, match="without cycles"):
        canonical(loop)


@dataclass(frozen=True)
class Later(Spec):
    more: int | None = field(default=None, metadata=LATER)


def test_a_later_field_is_part_of_the_id_only_where_it_is_set():
    described = [json.loads(canonical(spec))["spec"]["fields"] for spec in (Spec(3), Later(3), Later(3, more=0))]
    assert described[0] == described[1]
    assert described[2] == {**described[0], "more": 0}


def test_the_id_holds_everything_but_the_labels():
    ids = {run_id(Spec(3)), run_id(Spec(4)), run_id(Spec(3, Inner(2.0))), run_id(Spec(3, names=("a",)))}
    assert len(ids) == 4
    assert run_id(Spec(3)) == run_id(Spec(3, labels={"part": "more"}))
    assert len(run_id(Spec(3))) == 16


def test_the_revision_is_part_of_the_id(monkeypatch):
    before = run_id(Spec(3))
    monkeypatch.setattr(Spec, "revision", 2)
    assert run_id(Spec(3)) != before


# The user's own code -----------------------------------------------------------------------------------------------

USERS = """
import functools
from dataclasses import dataclass
import math

WIDTH = 3
OTHER = 5
NAMES = {"a", "b", "c", "d"}

def helper(x):
    return WIDTH * x + len(NAMES)

class Base:
    def size(self):
        return OTHER

@dataclass(frozen=True)
class Branch(Base):
    width: int = 2

    @property
    def value(self):
        return helper(self.width)

def direct(x):
    return helper(math.sin(x))

def make(factor):
    def scaled(x):
        return factor * x
    return scaled

def loud(f):
    @functools.wraps(f)
    def wrapper(x):
        return 2 * f(x)
    return wrapper

@loud
def decorated(x):
    return x

pair = (lambda x: x, lambda x: -x)
unrelated = 1
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A function that loads the text as a module of the user's, always of the same name."""

    def load(text: str, number: int = 0):
        path = tmp_path / str(number) / "mine.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("mine", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)
        spec.loader.exec_module(module)
        return module

    return load


def test_a_function_of_the_users_does_not_depend_on_where_the_file_lies(users):
    assert canonical(users(USERS).direct) == canonical(users(USERS, 1).direct)


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        ("WIDTH = 3", "WIDTH = 4", {"direct", "Branch"}),
        ("return WIDTH * x", "return WIDTH - x", {"direct", "Branch"}),
        ("OTHER = 5", "OTHER = 6", {"Branch"}),
        ("return factor * x", "return factor + x", {"scaled"}),
        ("return 2 * f(x)", "return 3 * f(x)", {"decorated"}),
        ("unrelated = 1", "unrelated = 2", set()),
    ],
)
def test_an_edit_makes_new_runs_of_what_uses_it_and_of_nothing_else(users, old, new, moved):
    def described(text: str, number: int) -> dict[str, str]:
        module = users(text, number)
        named = {
            "direct": module.direct,
            "Branch": module.Branch(),
            "scaled": module.make(2),
            "decorated": module.decorated,
        }
        return {name: canonical(value) for name, value in named.items()}

    before, after = described(USERS, 0), described(USERS.replace(old, new), 1)
    assert {name for name in before if before[name] != after[name]} == moved


def test_what_a_function_closes_over_is_part_of_it(users):
    module = users(USERS)
    assert canonical(module.make(2)) != canonical(module.make(3))
    assert canonical(functools.partial(module.direct, 1)) != canonical(functools.partial(module.direct, 2))


def test_two_lambdas_of_one_line_differ(users):
    first, second = users(USERS).pair
    assert canonical(first) != canonical(second)


def test_a_function_without_a_file_is_refused():
    space: dict[str, object] = {}
    exec("def f(x): return x", space)
    with pytest.raises(InputError, match="defined in a file"):
        canonical(space["f"])


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_id_is_the_same_in_another_process(users, seed):
    module = users(USERS)
    code = (
        "import sys, importlib.util as u\n"
        f"s = u.spec_from_file_location('mine', {module.__file__!r}); m = u.module_from_spec(s)\n"
        "sys.modules['mine'] = m; s.loader.exec_module(m)\n"
        "from deeplimit.records import canonical\n"
        "print(canonical([m.direct, m.Branch(), m.make(2), m.pair[1]]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    other = done.stdout.strip()
    assert other == canonical([module.direct, module.Branch(), module.make(2), module.pair[1]])
