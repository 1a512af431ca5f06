"""Python source without what does not count: the definition of a function or class, its normal form, and the names it uses.

Comments, layout and docstrings leave no trace in the normal form, and it is the same under every version of Python.
"""

from __future__ import annotations

import ast
import functools
import linecache
import os
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
#: Fields of syntax trees that hold layout, or follow from where a node stands.
SILENT = ("ctx", "kind", "type_comment", "type_ignores", "simple")
#: Who reads docstrings says one of these words.
DOCUMENTED = ("__doc__", "getdoc")
#: Where a node holds the name that it binds.
BINDS: dict[type[ast.AST], str] = {
    ast.Name: "id",
    ast.FunctionDef: "name",
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
    ast.ExceptHandler: "name",
    ast.MatchAs: "name",
    ast.MatchStar: "name",
    ast.MatchMapping: "rest",
}
#: Functions that import the module that their text names.
IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class Import:
    """What a name stands for that an import inside a definition binds: a module, or a name of it."""

    module: str
    name: str | None = None
    level: int = 0


@dataclass(frozen=True)
class Use:
    """A name that a definition uses and does not bind itself, with the attributes read of it: `helper.f` is ("helper", "f").

    `imported` says what the first part stands for where an import inside the definition binds it.
    """

    chain: tuple[str, ...]
    imported: Import | None = None


class Source:
    """A file, parsed: its definitions by their first line and name."""

    def __init__(self, text: str) -> None:
        """Parse; lists nothing where the text is no Python."""
        self.documented = any(word in text for word in DOCUMENTED)
        self.tree = ast.parse(text)
        self._at: dict[tuple[int, str], list[Definition]] = {}
        self._named: dict[str, list[ast.ClassDef]] = {}
        self._collect(self.tree, "")

    def _collect(self, node: ast.AST, path: str) -> None:
        """Note the definitions under a node; `path` is the start of their qualified names."""
        for child in ast.iter_child_nodes(node):
            inner = path
            if isinstance(child, Definition):
                name = getattr(child, "name", "<lambda>")
                decorators = getattr(child, "decorator_list", ())
                first = min([child.lineno, *(decorator.lineno for decorator in decorators)])
                self._at.setdefault((first, name), []).append(child)
                inner = f"{path}{name}." if isinstance(child, ast.ClassDef) else f"{path}{name}.<locals>."
            if isinstance(child, ast.ClassDef):
                self._named.setdefault(path + child.name, []).append(child)
            self._collect(child, inner)

    def function(self, code: types.CodeType) -> Definition | None:
        """The definition that code was compiled from; of several lambdas in a line, the one where its instructions stand."""
        found = self._at.get((code.co_firstlineno, code.co_name), [])
        if len(found) < 2:
            return found[0] if found else None
        # The instruction that enters a function has no width.
        places = [p for p in code.co_positions() if p[0] and p[1] and p[2] is not None and p[3]]
        inside = [node for node in found if all(_contains(node, place) for place in places)]
        return min(inside or found, key=_extent)

    def class_(self, cls: type) -> ast.ClassDef | None:
        """The definition of a class; of several of one name, the one whose methods it has, or the last."""
        found = self._named.get(cls.__qualname__, [])
        lines = {
            member.__code__.co_firstlineno for member in vars(cls).values() if isinstance(member, types.FunctionType)
        }
        own = [node for node in found if any(node.lineno <= line <= (node.end_lineno or 0) for line in lines)]
        return next(reversed(own or found), None)


def _contains(node: Definition, place: Sequence[int | None]) -> bool:
    """Whether an instruction's place, (line, last line, column, last column), lies inside the body of a lambda."""
    body = node.body
    if not isinstance(body, ast.expr):
        return True
    line, last, column, end = (number or 0 for number in place)
    begins, ends = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    return begins <= (line, column) and (last, end) <= ends


def _extent(node: Definition) -> tuple[int, int]:
    """Lines and columns that a definition takes."""
    return (node.end_lineno or 0) - node.lineno, (node.end_col_offset or 0) - node.col_offset


def source_of(file: str) -> Source | None:
    """The parsed source of a file, or of a notebook's cell; None where there is none."""
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file))
    return _parsed(file, text) if text else None


@functools.lru_cache(maxsize=256)
def _parsed(_file: str, text: str) -> Source | None:
    """A source, parsed once as long as its text stays."""
    try:
        return Source(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def text_of(node: ast.AST, *, documented: bool, without: frozenset[int] = frozenset()) -> str:
    """The normal form of a definition.

    Args:
        node: the definition, or a module.
        documented: whether docstrings count.
        without: `id` of nodes that are left out.
    """
    parts = []
    for name, value in ast.iter_fields(node):
        if name in SILENT or value is None or value == []:
            continue
        items = value if isinstance(value, list) else [value]
        if name == "body" and not documented and _is_docstring(node, items[0]):
            items = items[1:]
        texts = [_part(item, documented=documented, without=without) for item in items if id(item) not in without]
        parts.append(f"{name}=[{','.join(texts)}]" if isinstance(value, list) else f"{name}={''.join(texts)}")
    return f"{type(node).__name__}({','.join(parts)})"


def _part(item: object, *, documented: bool, without: frozenset[int]) -> str:
    """A node, or a plain value inside one; `ascii`, because which characters `repr` shows depends on the version."""
    return text_of(item, documented=documented, without=without) if isinstance(item, ast.AST) else ascii(item)


def _is_docstring(owner: ast.AST, statement: object) -> bool:
    """Whether the first statement of a body is a docstring."""
    owns = isinstance(owner, (*FUNCTIONS, ast.ClassDef, ast.Module))
    value = statement.value if isinstance(statement, ast.Expr) else None
    return owns and isinstance(value, ast.Constant) and isinstance(value.value, str)


def uses_of(node: ast.AST, *, without: frozenset[int] = frozenset()) -> list[Use]:
    """What a definition uses and does not bind itself, in the order of the names.

    Args:
        node: the definition.
        without: `id` of nodes that are left out.
    """
    names = _Names(without)
    names.visit(node)
    return sorted(names.uses, key=lambda use: (use.chain, str(use.imported)))


def keeps_something(node: ast.AST) -> bool:
    """Whether code binds names of its module, or attributes of something else than `self`: what it finds there the next time."""
    parts = list(ast.walk(node))
    stored = [part.value for part in parts if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)]
    elsewhere = any(getattr(owner, "id", None) != "self" for owner in stored)
    return elsewhere or any(isinstance(part, ast.Global) for part in parts)


class _Names(ast.NodeVisitor):
    """Collects the names that are read and not bound inside, by the rules of Python's scopes."""

    def __init__(self, without: frozenset[int]) -> None:
        self.uses: set[Use] = set()
        self.without = without
        self.imports_used: set[Import] = set()
        #: From outer to inner: whether it is a class body, whose names functions inside do not see, and its names.
        self.scopes: list[tuple[bool, dict[str, Import | None]]] = []

    def visit(self, node: ast.AST) -> None:
        """Pass over what is left out."""
        if id(node) not in self.without:
            super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """A name by itself."""
        if isinstance(node.ctx, ast.Load):
            self._use((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """A name with the attributes read of it."""
        chain: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._use((inner.id, *chain))
        else:
            self.visit(inner)

    def visit_Call(self, node: ast.Call) -> None:
        """An import by a call; else whatever a call holds."""
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        module = node.args[0] if name in IMPORTERS and node.args else None
        if isinstance(module, ast.Constant) and isinstance(module.value, str):
            self.uses.add(Use((module.value,), Import(module.value)))
        else:
            self.generic_visit(node)

    def _use(self, chain: tuple[str, ...]) -> None:
        """Note a name unless it is bound inside; what a class body binds may have been read before from outside."""
        for depth, (is_class, bound) in enumerate(reversed(self.scopes)):
            if chain[0] not in bound or (is_class and depth):
                continue
            imported = bound[chain[0]]
            if imported is not None:
                self.uses.add(Use(chain, imported))
                self.imports_used.add(imported)
            if imported is not None or not is_class:
                return
        self.uses.add(Use(chain))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        """Decorators and defaults are evaluated outside; annotations change nothing."""
        arguments = node.args
        values = [value for value in (*arguments.defaults, *arguments.kw_defaults) if value is not None]
        for outer in (*getattr(node, "decorator_list", ()), *values):
            self.visit(outer)
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        names: dict[str, Import | None] = {argument.arg: None for argument in every if argument is not None}
        body = node.body if isinstance(node.body, list) else [node.body]
        self._inside(body, names | _bound(body), is_class=False)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Decorators, bases and keywords are evaluated outside."""
        for outer in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outer)
        self._inside(node.body, _bound(node.body), is_class=True)

    def _comprehension(self, node: ast.AST) -> None:
        """A comprehension has names of its own; its first iterable, evaluated outside, is taken for inside."""
        targets = [generator.target for generator in getattr(node, "generators", ())]
        self._inside(list(ast.iter_child_nodes(node)), _bound(targets), is_class=False)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """The clauses of a comprehension."""
        for part in (node.iter, *node.ifs):
            self.visit(part)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """An annotation of a class body may be read by what makes the class; that of a variable is not evaluated."""
        in_class = bool(self.scopes) and self.scopes[-1][0]
        for part in (node.target, node.value, node.annotation if in_class else None):
            if part is not None:
                self.visit(part)

    def _inside(self, parts: Sequence[ast.AST], names: dict[str, Import | None], *, is_class: bool) -> None:
        self.scopes.append((is_class, names))
        for part in parts:
            self.visit(part)
        self.scopes.pop()
        # What is imported and not named any more is imported for what it does.
        unused = {name: one for name, one in names.items() if one is not None and one not in self.imports_used}
        self.uses |= {Use((name,), one) for name, one in unused.items()}


def _bound(parts: Sequence[ast.AST]) -> dict[str, Import | None]:
    """The names that statements bind in their own scope; with what they stand for where an import binds them."""
    names: dict[str, Import | None] = {}
    outer: set[str] = set()
    for node in _own(parts):
        for name, imported in _bindings(node):
            names[name] = imported or names.get(name)
        if isinstance(node, ast.Global | ast.Nonlocal):
            outer.update(node.names)
    return {name: imported for name, imported in names.items() if name not in outer}


def _own(parts: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of one scope: definitions and comprehensions are not entered, but for what `:=` binds in these."""
    for node in parts:
        if isinstance(node, COMPREHENSIONS):
            yield from (inner.target for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
            continue
        yield node
        if not isinstance(node, Definition):
            yield from _own(list(ast.iter_child_nodes(node)))


def _bindings(node: ast.AST) -> Iterator[tuple[str, Import | None]]:
    """The names that a node binds by itself."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or first, Import(first)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, Import(node.module or "", alias.name, node.level)
    elif not isinstance(getattr(node, "ctx", None), ast.Load):
        name = getattr(node, BINDS.get(type(node), ""), None)
        if name is not None:
            yield name, None


def folder_of(file: str) -> str:
    """The folder of a file."""
    return os.path.dirname(os.path.abspath(file))
