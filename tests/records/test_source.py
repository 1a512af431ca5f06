from __future__ import annotations

import ast
from typing import Any

import pytest

from deeplimit.records.source import Import, Source, Use, keeps_something, source_of, text_of, uses_of


def definition(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


def names(text: str) -> list[str]:
    return [".".join(use.chain) for use in uses_of(definition(text))]


SAME = [
    ("def f(x):\n    return x+1", "def f( x ) :\n\n    # why\n    return (\n        x + 1\n    )"),
    ('def f():\n    """Say."""\n    return 1', "def f():\n    return 1"),
    ("s = 'ab'", 's = "a" "b"'),
    ("class A:\n    '''Say.'''\n    def f(self):\n        '''Say.'''", "class A:\n    def f(self):\n        'Tell.'"),
    ("if a:\n    pass\nelse:\n    if b:\n        pass", "if a: pass\nelif b: pass"),
    ("x = [1, 2,]", "x = [1,\n 2]"),
]
OTHER = [
    ("def f(x):\n    return x + 1", "def f(x):\n    return x - 1"),
    ("def f(x): return x", "def f(y): return y"),
    ("x = 1", "x = 1.0"),
    ("x = 'a'", "x = b'a'"),
    ("f(a, b=1)", "f(a, c=1)"),
    ("def f(x): return x", "async def f(x): return x"),
    ("x = a and b", "x = a or b"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_layout_leaves_no_trace(one, other):
    assert text_of(ast.parse(one), documented=False) == text_of(ast.parse(other), documented=False)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_everything_else_does(one, other):
    assert text_of(ast.parse(one), documented=False) != text_of(ast.parse(other), documented=False)


def test_docstrings_count_where_they_are_asked_for():
    one, other = (ast.parse(f'def f():\n    """{word}"""') for word in ("Say.", "Tell."))
    assert text_of(one, documented=True) != text_of(other, documented=True)
    assert Source("f.__doc__").documented
    assert not Source("f.docs").documented


def test_the_text_is_the_same_under_every_version_of_python():
    expected = "FunctionDef(name='f',args=arguments(args=[arg(arg='x')]),body=[Return(value=Name(id='x'))])"
    assert text_of(definition("def f(x):\n    return x"), documented=False) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x): return x + a + m.n.g(y.z)", ["a", "m.n.g", "y.z"]),
        ("def f():\n    a = 1\n    return a", []),
        ("def f():\n    global a\n    a = 1\n    return a", ["a"]),
        ("def f(): return [a for a in b] + [a]", ["a", "b"]),
        ("def f(): return [y := x for x in b], y", ["b"]),
        ("def f(x=a, *y, z=b, **w): return x, y, z, w", ["a", "b"]),
        ("def f():\n    def g(): return h(i)\n    def h(x): return x\n    return g", ["i"]),
        ("def f():\n    try: pass\n    except E as e: return e", ["E"]),
        ("def f(x):\n    match x:\n        case {'a': b, **c}: return b, c, d\n        case [*e]: return e", ["d"]),
        ("def f(x: A) -> B:\n    y: C = x\n    return y", []),
        ("def f():\n    with a as b, c.d as e: return b, e", ["a", "c.d"]),
        ("@d(k)\ndef f(): pass", ["d", "k"]),
        ("class A(B, metaclass=M):\n    x: int = y\n    def f(self): return x", ["B", "M", "int", "x", "y"]),
        ("class A:\n    x = x\n    y = x", ["x"]),
        ("class A:\n    def f(self): return super().f() + A.g", ["A.g", "super"]),
        ("def f(): return (lambda x, y=a: x + y + b)()", ["a", "b"]),
        ("def f():\n    a.b = 1\n    del c.d", ["a.b", "c.d"]),
        ("def f(): return a().b.c", ["a"]),
    ],
)
def test_names_are_those_that_python_looks_up_outside(text, expected):
    assert names(text) == expected


def test_what_is_left_out_leaves_no_trace():
    node = ast.parse("def f(x=a, *, y=b): return lambda z=c: z").body[0]
    assert isinstance(node, ast.FunctionDef)
    without = frozenset({id(node.args.defaults[0]), id(node.args.kw_defaults[0])})
    assert [use.chain for use in uses_of(node, without=without)] == [("c",)]
    assert "'a'" not in text_of(node, documented=False, without=without)
    assert "'c'" in text_of(node, documented=False, without=without)


def test_names_that_an_import_inside_binds_stand_for_modules():
    text = """def f():
    import a.b, c.d as e, unused
    from . import g
    from .h import i as j
    def inner(): return e.x
    return a.b.y, g.z, j
"""
    assert uses_of(definition(text)) == [
        Use(("a", "b", "y"), Import("a")),
        Use(("e", "x"), Import("c.d")),
        Use(("g", "z"), Import("", "g", 1)),
        Use(("j",), Import("h", "i", 1)),
        Use(("unused",), Import("unused")),
    ]
    call = "def f(): return importlib.import_module('a.b').c"
    assert uses_of(definition(call)) == [Use(("a.b",), Import("a.b"))]


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("def f():\n    global a", True),
        ("def f():\n    f.cache = 1", True),
        ("def f(self):\n    self.x = 1\n    other.y = 2", True),
        ("def f(self):\n    self.x = 1", False),
        ("def f():\n    a = b.c", False),
    ],
)
def test_what_keeps_something(text, keeps):
    assert keeps_something(definition(text)) is keeps


def test_a_function_is_found_by_its_line_and_a_lambda_by_its_place(tmp_path):
    path = tmp_path / "m.py"
    path.write_text(
        "def deco(f): return f\n@deco\n@deco\ndef f(): return 1\n"
        "three = (lambda: 1, lambda x: lambda y: x + y, lambda: (2, 3))\nfor v in (4, 5): g = lambda: v\n"
        "class A:\n    def f(self): return 6\nfirst = A\nclass A:\n    def f(self): return 7\n    class B: pass\n"
    )
    space: dict[str, Any] = {"__name__": "m"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    source = source_of(str(path))
    assert source is not None

    def found(function) -> str:
        node = source.function(function.__code__)
        assert node is not None
        return ast.unparse(node)

    assert found(space["f"]) == "@deco\n@deco\ndef f():\n    return 1"
    assert list(map(found, space["three"])) == ["lambda: 1", "lambda x: lambda y: x + y", "lambda: (2, 3)"]
    assert found(space["three"][1](1)) == "lambda y: x + y"
    assert found(space["g"]) == "lambda: v"
    classes = [source.class_(cls) for cls in (space["first"], space["A"], space["A"].B)]
    assert [node.lineno for node in classes if node] == [7, 10, 12]
    assert source.class_(dict) is None
    assert source.function(found.__code__) is None


def test_an_edit_is_seen_and_what_is_no_python_has_no_source(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("a = 1\n")
    first = source_of(str(path))
    assert first is source_of(str(path))
    path.write_text("a = 1 + 1\n")
    assert source_of(str(path)) is not first
    path.write_text("a = = 1\n\n")
    assert source_of(str(path)) is None
    assert source_of(str(tmp_path / "none.py")) is None
