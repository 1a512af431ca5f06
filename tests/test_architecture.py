"""The shape of the house: floors of imports, sizes of functions, tests that mirror the source, light start-up.

Each rule is a function of a folder that returns the violations in words. It runs on the source, where it must return
nothing, and on small planted trees, where it must return what was planted.

An exception is a row in `EXCEPTIONS`, `TORCH_AT_TOP` or `UNMIRRORED` with its reason; a row that excuses nothing fails.
"""

from __future__ import annotations

import ast
import fnmatch
import graphlib
import io
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "deeplimit"
TESTS = ROOT / "tests"

FLOORS = {
    "__init__": 0, "checks": 0, "claims": 0, "draws": 0, "failures": 0, "figures": 0, "fits": 0, "loading": 0, "machine": 0,
    "records": 0, "scaling": 0, "theory": 0,
    "branches": 1, "data": 1, "processes": 1, "statistics": 1,
    "engines": 2,
    "networks": 3,
    "limits": 4, "measures": 4, "regimes": 4,
    "diagnosis": 5, "training": 5,
    "bench": 6, "demo": 6, "report": 6, "study": 6, "sweeps": 6,
    "papers": 7,
    "__main__": 8, "cli": 8,
}  # fmt: skip
"""File or folder of the package -> floor. An import goes to a lower floor or stays in its own folder."""

MEETING_PLACES = {("study", "report"), ("study", "sweeps"), ("__main__", "cli"), ("__init__", "diagnosis")}
"""Imports within one floor that are meant, and `deeplimit.diagnose`, which the package fetches once it is asked for. On floor 0 all are, as
long as they make no circle."""

TORCH_AT_TOP: dict[str, str] = {
    "networks.module": "subclasses nn.Module; imported inside the method that makes one",
}
"""Module outside engines/ that imports PyTorch at its top -> reason."""

TORCH = ("torch", "torchdiffeq", "safetensors.torch")
DRAWING = ("matplotlib", "jinja2")

LIMITS = {"lines": 40, "branches": 10, "nesting": 3, "parameters": 6, "positional": 2}
SHORT, SHORT_SHARE = 20, 0.85

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("checks:*", "positional"): "reads as its own message: name, what was found, what is expected",
    ("diagnosis.sources.reading:bad", "positional"): "the same: where, what was expected, what was found",
    ("cli:*", "parameters"): "one parameter per option: typer makes the command line of the signature",
    (
        "engines.*:*Engine.*",
        "positional",
    ): "the arguments of the recursion, in the order of the formula: f, h, θ, scale",
    ("engines.triton_kernels:*ward", "parameters"): "a kernel takes addresses and numbers, and no objects",
    ("engines.triton_kernels:*", "positional"): "the same",
    (
        "diagnosis.blocks.group:Group.read",
        "positional",
    ): "where from, which block, which role: of types that do not mix",
    ("diagnosis.function.passage:pass_through", "positional"): "the same: which network, which blocks, what goes in",
    ("*:*.stacked", "positional"): "an interface in one line: branch, depth, stream",
    ("*:*.shared", "positional"): "the same",
    ("training.l2.*:*Callback.on_*", "positional"): "a hook of another library, called as that library calls it",
    ("diagnosis.*:*Callback.on_*", "positional"): "the same",
    ("training.optimizers:*.update", "positional"): "an interface in one line: network, parameters, gradients, slots",
    (
        "report.write:write_report",
        "positional",
    ): "where, what is said, and the rows: one of each, of types that do not mix",
}
"""(module:function, a key of LIMITS) -> reason. `*` stands for any text: ("branches.*:*.vjp", "positional")."""

UNMIRRORED: dict[str, str] = {}
"""Module with public functions -> the reason why no test file mirrors it."""


# -------------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Module:
    """One source file; `name` is its dotted name below the package, `__init__` for the package itself."""

    root: Path
    path: Path

    @property
    def parts(self) -> tuple[str, ...]:
        parts = self.path.relative_to(self.root).with_suffix("").parts
        return parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts

    @property
    def name(self) -> str:
        return ".".join(self.parts)

    @property
    def unit(self) -> str:
        """The file or folder of the package that the module belongs to."""
        return self.parts[0]

    @property
    def package(self) -> tuple[str, ...]:
        """The dotted package that relative imports start from."""
        return (self.root.name, *self.path.relative_to(self.root).parts[:-1])

    @cached_property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, str(self.path))


def modules(root: Path) -> list[Module]:
    return [Module(root, path) for path in sorted(root.rglob("*.py"))]


@dataclass(frozen=True)
class Import:
    """An imported name with its full dotted path: at the module's import, in a call, or for types only."""

    target: str
    line: int
    when: Literal["top", "call", "typing"]

    def of(self, packages: Iterable[str]) -> bool:
        return any(f"{self.target}.".startswith(f"{package}.") for package in packages)


Node = ast.AST
Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def imports(module: Module) -> Iterator[Import]:
    yield from imports_under(module.tree, module.package, when="top")


def imports_under(node: Node, package: tuple[str, ...], *, when: Literal["top", "call", "typing"]) -> Iterator[Import]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (Import(target, node.lineno, when) for target in targets(node, package))
        return
    if isinstance(node, FUNCTIONS) and when == "top":
        when = "call"
    typing_only = set(map(id, node.body)) if isinstance(node, ast.If) and is_type_checking(node.test) else set()
    for child in ast.iter_child_nodes(node):
        yield from imports_under(child, package, when="typing" if id(child) in typing_only else when)


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def targets(node: ast.Import | ast.ImportFrom, package: tuple[str, ...]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    above = package[: len(package) - node.level + 1] if node.level else ()
    base = ".".join([*above, *([node.module] if node.module else [])])
    return [f"{base}.{alias.name}" for alias in node.names]


def unit_of(target: str, root: Path) -> str | None:
    """The file or folder of the package that an import reaches; None for other packages."""
    package, *rest = target.split(".")
    if package != root.name:
        return None
    known = {module.unit for module in modules(root)}
    return rest[0] if rest and rest[0] in known else "__init__"


# --------------------------------------------------------------------------------------------------------------- floors


def floor_violations(root: Path) -> list[str]:
    homeless = [f"{unit}: has no floor" for unit in sorted({module.unit for module in modules(root)} - FLOORS.keys())]
    upward = [
        f"{module.name}:{imported.line}: {on_floor(module.unit)} imports {on_floor(unit)}"
        for module, imported, unit in inner_imports(root)
        if module.unit in FLOORS and unit in FLOORS and not may_import(module.unit, unit)
    ]
    return homeless + upward + circles(root)


def on_floor(unit: str) -> str:
    return f"{unit} (floor {FLOORS[unit]})"


def inner_imports(root: Path) -> Iterator[tuple[Module, Import, str]]:
    """Every import of the package by itself that happens when the program runs."""
    for module in modules(root):
        for imported in imports(module):
            unit = unit_of(imported.target, root)
            if unit is not None and imported.when != "typing":
                yield module, imported, unit


def may_import(importer: str, imported: str) -> bool:
    if importer == imported or (importer, imported) in MEETING_PLACES:
        return True
    return FLOORS[imported] < FLOORS[importer] or FLOORS[imported] == FLOORS[importer] == 0


def circles(root: Path) -> list[str]:
    """Circles among the files of floor 0, the one floor whose files may import each other."""
    graph: dict[str, set[str]] = {}
    for module, _, unit in inner_imports(root):
        if FLOORS.get(module.unit) == FLOORS.get(unit) == 0 and unit != module.unit:
            graph.setdefault(module.unit, set()).add(unit)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as circle:
        return ["circle: " + " -> ".join(circle.args[1])]
    return []


def torch_violations(root: Path, reasons: Mapping[str, str]) -> list[str]:
    """PyTorch imported together with a module outside engines/."""
    found = {
        f"{module.name}:{imported.line}: {imported.target} at module top outside engines/": module.name
        for module in modules(root)
        for imported in imports(module)
        if imported.of(TORCH) and imported.when == "top" and module.unit != "engines"
    }
    return [row for row, name in found.items() if name not in reasons] + stale(reasons, found.values())


def drawing_violations(root: Path) -> list[str]:
    """Figures and templates outside report/, even inside a function."""
    return [
        f"{module.name}:{imported.line}: {imported.target} outside report/"
        for module in modules(root)
        for imported in imports(module)
        if imported.of(DRAWING) and imported.when != "typing" and module.unit != "report"
    ]


def dependency_violations(root: Path, required: set[str], optional: set[str]) -> list[str]:
    """Packages that are imported but not declared, and required ones that nothing imports."""
    used: dict[str, str] = {}
    for module in modules(root):
        for imported in imports(module):
            used.setdefault(imported.target.split(".")[0], f"{module.name}:{imported.line}")
    foreign = used.keys() - sys.stdlib_module_names - {root.name}
    undeclared = [f"{used[name]}: {name} is not declared" for name in sorted(foreign - required - optional)]
    return undeclared + [f"{name} is required but not imported" for name in sorted(required - foreign)]


# ---------------------------------------------------------------------------------------------------------------- sizes


@dataclass(frozen=True)
class Size:
    """What is limited of one function; `counts` has the keys of LIMITS."""

    name: str
    line: int
    counts: Mapping[str, int]


def sizes(root: Path) -> list[Size]:
    return [size for module in modules(root) for size in sizes_of(module)]


def sizes_of(module: Module) -> Iterator[Size]:
    lines = code_lines(module)
    for qualname, node, owner in functions(module.tree):
        if "overload" in decorators(node):
            continue
        positional, parameters = parameter_counts(node, owner)
        counts = {
            "lines": len(lines.intersection(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1))),
            "branches": sum(map(branch_count, own_nodes(node))),
            "nesting": nesting(node.body),
            "parameters": parameters,
            # The callers of a local or private function stand within sight: there, keywords only add noise.
            "positional": 0 if isinstance(owner, FUNCTIONS) or is_private(qualname) else positional,
        }
        yield Size(f"{module.name}:{qualname}", node.lineno, counts)


def is_private(qualname: str) -> bool:
    """Whether a function, or the class that it belongs to, is private."""
    return any(name.startswith("_") and not name.endswith("__") for name in qualname.split("."))


def functions(node: Node, prefix: str = "") -> Iterator[tuple[str, Function, Node]]:
    """Every function under a node: its qualified name, itself, and the class, function or module that it stands in."""
    yield from functions_in(node, node, prefix=prefix)


def functions_in(node: Node, owner: Node, *, prefix: str) -> Iterator[tuple[str, Function, Node]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            yield prefix + child.name, child, owner
            yield from functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}{child.name}.")
        else:
            yield from functions_in(child, owner, prefix=prefix)


def decorators(node: Function) -> set[str]:
    return {ast.unparse(decorator).split("(")[0].split(".")[-1] for decorator in node.decorator_list}


def code_lines(module: Module) -> set[int]:
    """Lines that hold code: no blank lines, no comments, no docstrings."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(module.source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def own_nodes(node: Node) -> Iterator[Node]:
    """The nodes of a function without those of the functions and classes inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            yield child
            yield from own_nodes(child)


def branch_count(node: Node) -> int:
    """Statements that branch or repeat count 1, and so do x if y else z, each and, each or, each if of a comprehension."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return len(node.ifs)
    counted = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case, ast.IfExp)
    return int(isinstance(node, counted))


def nesting(statements: Iterable[ast.stmt]) -> int:
    """Levels of if, for, while, with, try and match inside each other; an elif stays on the level of its if."""
    return max((nesting_of(statement) for statement in statements), default=0)


def nesting_of(statement: ast.stmt) -> int:
    compound = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
    if not isinstance(statement, compound):
        return 0
    if isinstance(statement, ast.If) and is_elif(statement.orelse, statement):
        return max(1 + nesting(statement.body), nesting(statement.orelse))
    arms = [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]
    blocks = [getattr(part, name, []) for part in (statement, *arms) for name in ("body", "orelse", "finalbody")]
    return 1 + max(map(nesting, blocks))


def is_elif(orelse: list[ast.stmt], parent: ast.If) -> bool:
    return len(orelse) == 1 and isinstance(orelse[0], ast.If) and orelse[0].col_offset == parent.col_offset


def parameter_counts(node: Function, owner: Node) -> tuple[int, int]:
    """(positional, all) parameters, without self, cls and the ctx of an autograd function."""
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    bound = isinstance(owner, ast.ClassDef) and "staticmethod" not in decorators(node)
    if names and (bound or names[0] == "ctx"):
        names = names[1:]
    others = len(node.args.kwonlyargs) + bool(node.args.vararg) + bool(node.args.kwarg)
    protocol = node.name in ("__exit__", "__aexit__")
    return (0 if protocol else len(names)), len(names) + others


def size_violations(root: Path, exceptions: Mapping[tuple[str, str], str]) -> list[str]:
    found, used = [], set()
    for size in sizes(root):
        for kind, limit in LIMITS.items():
            if size.counts[kind] <= limit:
                continue
            excuses = {row for row in exceptions if row[1] == kind and fnmatch.fnmatchcase(size.name, row[0])}
            used |= excuses
            if not excuses:
                found.append(f"{size.name} (line {size.line}): {kind} {size.counts[kind]}, limit {limit}")
    return found + stale(exceptions, used)


def stale(exceptions: Iterable[object], used: Iterable[object]) -> list[str]:
    return [f"exception {row!r} excuses nothing" for row in exceptions if row not in set(used)]


def short_share(root: Path) -> float:
    """The share of functions with at most SHORT code lines."""
    counts = [size.counts["lines"] for size in sizes(root)]
    return sum(count <= SHORT for count in counts) / len(counts)


# --------------------------------------------------------------------------------------------------------------- mirror


def mirror_violations(root: Path, tests: Path, *, reasons: Mapping[str, str]) -> list[str]:
    """a/b.py is tested in a/test_b.py, the package a (its __init__) in test_a.py."""
    lonely = {
        module.name: tests.joinpath(*module.parts[:-1], f"test_{module.parts[-1].strip('_')}.py").relative_to(tests)
        for module in modules(root)
        if has_public_functions(module.tree)
    }
    lonely = {name: path for name, path in lonely.items() if not (tests / path).exists()}
    found = [f"{name}: has no tests/{path.as_posix()}" for name, path in lonely.items() if name not in reasons]
    return found + stale(reasons, lonely)


def has_public_functions(tree: ast.Module) -> bool:
    """A public function, or a public method (or __call__) with a body in a public class."""
    return any(
        is_public(name)
        and not isinstance(owner, FUNCTIONS)
        and "abstractmethod" not in decorators(node)
        and has_body(node)
        for name, node, owner in functions(tree)
    )


def is_public(qualname: str) -> bool:
    return not any(part.startswith("_") and part != "__call__" for part in qualname.split("."))


def has_body(node: Function) -> bool:
    return not all(
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) for statement in node.body
    )


# ---------------------------------------------------------------------------------------------------------------- light


def heavy_loaded_by(code: str, path: Path | None = None) -> list[str]:
    """Which of the heavy packages a fresh interpreter has loaded after `code`; `path` is searched first."""
    ask = f"{code}\nimport sys; print('loaded:', *sorted({{'torch', 'matplotlib'}} & set(sys.modules)))"
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


COMMAND = """
import sys
from deeplimit.__main__ import main
sys.argv = {argv!r}
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


# --------------------------------------------------------------------------------------------------- the rules, applied


def nothing(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def test_imports_go_down():
    nothing(floor_violations(SOURCE))


def test_torch_stays_in_engines():
    nothing(torch_violations(SOURCE, TORCH_AT_TOP))


def test_drawing_stays_in_report():
    nothing(drawing_violations(SOURCE))


def test_dependencies_are_declared_and_used():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: rows for name, rows in project["optional-dependencies"].items() if name != "dev"}
    nothing(dependency_violations(SOURCE, names(project["dependencies"]), set().union(*map(names, extras.values()))))


def names(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in requirements}


def test_functions_are_small():
    nothing(size_violations(SOURCE, EXCEPTIONS))


def test_most_functions_are_short():
    assert short_share(SOURCE) >= SHORT_SHARE


def test_tests_mirror_the_source():
    nothing(mirror_violations(SOURCE, TESTS, reasons=UNMIRRORED))


def test_every_exception_has_a_reason():
    assert all(reason.strip() for reason in (*EXCEPTIONS.values(), *TORCH_AT_TOP.values(), *UNMIRRORED.values()))


@pytest.mark.parametrize(
    "modules",
    [
        "deeplimit",
        "deeplimit.papers, deeplimit.study, deeplimit.figures, deeplimit.claims",
        "deeplimit.cli, deeplimit.records",
        "deeplimit.bench",
        "deeplimit.data",
    ],
)
def test_importing_is_light(modules):
    assert heavy_loaded_by(f"import {modules}") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "marion2024", "--claims"],
        ["bench", "--help"],
        ["bench", "--list"],
        ["data", "list"],
        ["diagnose", "--help"],
    ],
    ids=" ".join,
)
def test_listing_is_light(arguments):
    assert heavy_loaded_by(COMMAND.format(argv=["deeplimit", *arguments])) == []


# ---------------------------------------------------------------------------------------- each rule fails where planted


@pytest.fixture
def plant(tmp_path):
    """A function that writes a small package and returns its folder."""

    def write(files: dict[str, str], package: str = "deeplimit") -> Path:
        root: Path = tmp_path / package
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return root

    return write


@pytest.mark.parametrize(
    ("files", "violation"),
    [
        ({"claims.py": "import deeplimit.study", "study.py": ""}, "claims:1: claims (floor 0) imports study (floor 6)"),
        ({"claims.py": "def f():\n    from deeplimit import study", "study.py": ""}, "claims:2: claims (floor 0)"),
        ({"data/tasks.py": "from ..branches import gelu", "branches/__init__.py": ""}, "data.tasks:1: data (floor 1)"),
        ({"data/__init__.py": "from ..branches import gelu", "branches/__init__.py": ""}, "data:1: data (floor 1)"),
        ({"sweeps/pool.py": "from deeplimit.study import plan", "study.py": ""}, "sweeps.pool:1: sweeps (floor 6)"),
        ({"papers/one.py": "from deeplimit import cli", "cli.py": ""}, "papers.one:1: papers (floor 7) imports cli"),
        ({"checks.py": "import deeplimit.fits", "fits.py": "import deeplimit.checks"}, "circle: "),
        ({"helpers.py": ""}, "helpers: has no floor"),
    ],
)
def test_an_import_that_goes_up_is_found(plant, files, violation):
    found = floor_violations(plant(files))
    assert len(found) == 1
    assert found[0].startswith(violation)


@pytest.mark.parametrize(
    "files",
    [
        {"study.py": "from deeplimit import claims", "claims.py": ""},
        {"study.py": "def f():\n    import deeplimit.report", "report/__init__.py": ""},
        {
            "papers/one.py": "from deeplimit.study import Study\nfrom deeplimit import __version__",
            "study.py": "",
            "__init__.py": "",
        },
        {"engines/torch.py": "from deeplimit.engines.engine import Engine", "engines/engine.py": ""},
        {"checks.py": "", "fits.py": "from deeplimit import checks"},
        {
            "claims.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import deeplimit.study",
            "study.py": "",
        },
        {"claims.py": "import numpy, torch.study"},
    ],
)
def test_an_import_that_goes_down_is_not(plant, files):
    assert floor_violations(plant(files)) == []


@pytest.mark.parametrize(
    ("files", "violation"),
    [
        ({"networks/stack.py": "import torch.nn as nn"}, "networks.stack:1: torch.nn at module top outside engines/"),
        ({"records.py": "from safetensors.torch import save"}, "records:1: safetensors.torch.save at module top"),
        ({"data/tasks.py": "try:\n    import torch\nexcept ImportError:\n    torch = None"}, "data.tasks:2: torch at"),
    ],
)
def test_torch_outside_engines_is_found(plant, files, violation):
    found = torch_violations(plant(files), {})
    assert len(found) == 1
    assert found[0].startswith(violation)


def test_torch_at_its_place_is_not(plant):
    late = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import torch"
    light = "from safetensors.numpy import save\nimport torchless"
    root = plant({"engines/reference.py": "import torch", "networks/stack.py": late, "records.py": light})
    assert torch_violations(root, {}) == []
    assert torch_violations(root, {"networks.stack": "was early"}) == ["exception 'networks.stack' excuses nothing"]


def test_torch_outside_engines_can_be_excused(plant):
    root = plant({"networks/module.py": "from torch import nn", "networks/stack.py": "import torch"})
    found = torch_violations(root, {"networks.module": "subclasses nn.Module"})
    assert found == ["networks.stack:1: torch at module top outside engines/"]


def test_drawing_outside_report_is_found(plant):
    late = "def draw():\n    import matplotlib.pyplot"
    root = plant({"study.py": late, "cli.py": "import jinja2", "report/page.py": f"import jinja2\n{late}"})
    assert drawing_violations(root) == ["cli:1: jinja2 outside report/", "study:2: matplotlib.pyplot outside report/"]


def test_a_dependency_that_is_not_declared_or_not_used_is_found(plant):
    root = plant({"fits.py": "import os\nfrom scipy.special import bdtr\nimport deeplimit\ndef f():\n    import ray"})
    assert dependency_violations(root, {"scipy"}, {"ray"}) == []
    assert dependency_violations(root, {"scipy", "polars"}, set()) == [
        "fits:5: ray is not declared",
        "polars is required but not imported",
    ]
    assert names(["scipy>=1.14", "scipy-stubs[all]>=1"]) == {"scipy", "scipy_stubs"}


def lines(count: int) -> str:
    return "def f():\n" + '    """Say it."""\n\n    # and why\n' + "    print()\n" * count


def nested(*heads: str) -> str:
    return "def f():\n" + "".join("    " * (level + 1) + head + "\n" for level, head in enumerate([*heads, "pass"]))


TOO_BIG = [
    (lines(41), "lines 41, limit 40"),
    ("def f():\n    if a:\n        pass\n" + "    elif b:\n        pass\n" * 10, "branches 11, limit 10"),
    ("def f():\n    return [x for x in y if x and z and w if v] and [a or b or c or d or e or g or h]", "branches 11, limit 10"),
    (nested("for a in b:", "if c:", "with d:", "while e:"), "nesting 4, limit 3"),
    (nested("if a:", "if b:", "if c:", "if d:"), "nesting 4, limit 3"),
    ("def f():\n    try:\n        pass\n" + nested("except E:", "if a:", "if b:", "if c:")[9:], "nesting 4, limit 3"),
    ("def f(a, b, *, c, d, e, g, h): pass", "parameters 7, limit 6"),
    ("def f(a, b, *c, d, e, g, **h): pass", "parameters 7, limit 6"),
    ("def f(a, b, c): pass", "positional 3, limit 2"),
    ("class A:\n    def f(self, a, b, c): pass", "positional 3, limit 2"),
    ("class A:\n    @staticmethod\n    def f(a, b, c): pass", "positional 3, limit 2"),
]  # fmt: skip

BIG_ENOUGH = [
    lines(40),
    "def f():\n    if a:\n        pass\n" + "    elif b:\n        pass\n" * 9,
    nested("for a in b:", "if c:", "with d:"),
    "def f():\n    if a:\n        pass\n"
    + "    elif b:\n        pass\n" * 3
    + "    else:\n        for c in d:\n            pass",
    "def f(a, b, *, c, d, e, g): pass",
    "class A:\n    def f(self, a, b, *, c, d, e, g): pass\n    @staticmethod\n    def backward(ctx, a, b): pass",
    "class A:\n    def __exit__(self, kind, error, traceback): pass",
    "def f():\n    def inner(a, b, c): pass\n    return lambda a, b, c: 0",
    "@overload\ndef f(a, b, c): ...",
]


@pytest.mark.parametrize(("source", "violation"), TOO_BIG)
def test_a_function_that_is_too_big_is_found(plant, source, violation):
    found = size_violations(plant({"claims.py": source}), {})
    assert len(found) == 1
    assert found[0].endswith(violation)


@pytest.mark.parametrize("source", BIG_ENOUGH)
def test_a_function_at_the_limit_is_not(plant, source):
    assert size_violations(plant({"claims.py": source}), {}) == []


def test_an_exception_excuses_its_function_and_rule_alone(plant):
    root = plant({"branches/a.py": "class A:\n    def vjp(self, a, b, c): pass\ndef other(a, b, c): pass"})
    excused = {("branches.*:*.vjp", "positional"): "the interface"}
    assert [row.split(" ")[0] for row in size_violations(root, excused)] == ["branches.a:other"]
    assert len(size_violations(root, {("branches.*:*.vjp", "lines"): "another rule"})) == 3


def test_a_stale_exception_is_found(plant):
    assert size_violations(plant({"claims.py": "def f(): pass"}), {("claims:f", "lines"): "was long"}) == [
        "exception ('claims:f', 'lines') excuses nothing"
    ]


def test_short_functions_are_counted(plant):
    long, short = lines(SHORT + 1), lines(SHORT)
    assert short_share(plant({"claims.py": long, "fits.py": short, "theory.py": short, "checks.py": short})) == 0.75


PUBLIC = "class A:\n    @property\n    def depth(self):\n        return 1"
NOT_PUBLIC = [
    "class A:\n    @abstractmethod\n    def depth(self): ...",
    "class A:\n    def depth(self):\n        '''Only said.'''",
    "class _A:\n    def depth(self):\n        return 1",
    "def _f():\n    def g():\n        return 1\n    return g",
    "class A:\n    def __init__(self):\n        self.a = 1",
]


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("claims.py", "test_claims.py"),
        ("data/tasks.py", "data/test_tasks.py"),
        ("papers/__init__.py", "test_papers.py"),
    ],
)
def test_a_module_without_tests_is_found(plant, tmp_path, name, test):
    root = plant({name: PUBLIC})
    module = modules(root)[0].name
    assert mirror_violations(root, tmp_path / "tests", reasons={}) == [f"{module}: has no tests/{test}"]
    assert mirror_violations(root, tmp_path / "tests", reasons={module: "is tested elsewhere"}) == []
    plant({test: ""}, package="tests")
    assert mirror_violations(root, tmp_path / "tests", reasons={}) == []
    assert mirror_violations(root, tmp_path / "tests", reasons={module: "is tested elsewhere"}) == [
        f"exception {module!r} excuses nothing"
    ]


@pytest.mark.parametrize("source", NOT_PUBLIC)
def test_a_module_without_public_functions_needs_no_tests(plant, tmp_path, source):
    assert mirror_violations(plant({"claims.py": source}), tmp_path / "tests", reasons={}) == []


def test_a_heavy_package_that_was_loaded_is_found(tmp_path):
    (tmp_path / "torch.py").write_text("", encoding="utf-8")
    assert heavy_loaded_by("import json", tmp_path) == []
    assert heavy_loaded_by("import torch", tmp_path) == ["torch"]
