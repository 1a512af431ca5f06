"""Conditions on a diagnosis, for `--fail-if`: a small language of comparisons that is read, never run.

    condition   [group:] expression
    expression  comparison | expression and expression | expression or expression | not expression | (expression)
    comparison  value op value [op value …], op one of == != < <= > >=
    value       a number, "text" or a word, a name, max|min|mean|median|first|last(curve)

A name is `weights` or `function` (the labels), `tie`, `interpolate`, `skip`, `deepen` or `prune` (the answers), `findings` or
`findings.KIND` (how many), `depth`, a number of the passage (`drift_share`), of a role (`mlp.up.carriers`), or of the evidence
(`weights.mlp.roughness`, with dots for colons and lines for blanks); `.low` and `.high` are the ends of its interval. A curve is one of the
passage (`update_ratio`), one of the profiles (`norm`: of all roles), one role's (`mlp.up.norm`) or one view's of it
(`mlp.up.aligned.increment`).
"""

from __future__ import annotations

import ast
import math
import operator
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from deeplimit.checks import InputError, one_of
from deeplimit.diagnosis.report import Answer, FindingKind, FunctionLabel, Question, WeightsLabel

if TYPE_CHECKING:
    from deeplimit.claims import Measured
    from deeplimit.diagnosis.report import GroupReport, Report

Value = float | str | None
"""A number or a word; None where the diagnosis does not have it."""

LONGEST = 1000
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "max": max,
    "min": min,
    "mean": statistics.fmean,
    "median": statistics.median,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
}
PASSAGE_NUMBERS = (
    "drift_share", "drift", "local_drift", "variation", "variation_exponent", "hurst", "halving_defect", "largest_share", "displacement",
    "path_length", "growth", "residual_share", "normalised", "gap", "effective_depth",
)  # fmt: skip
PASSAGE_CURVES = (
    "stream_norm", "update_norm", "update_ratio", "alignment", "gain", "branch_gain", "removal", "tail"
)  # fmt: skip
"""What a batch shows, known by name where there is none."""
ROLE_NUMBERS, ROLE_EVIDENCE = ("carriers", "noise_share"), ("order_ratio", "roughness")
"""What is known of a role, by name."""

WORDS = {
    "weights": get_args(WeightsLabel),
    "function": get_args(FunctionLabel),
    **dict.fromkeys(get_args(Question), get_args(Answer)),
}
"""Name whose value is a word -> the words."""


@dataclass(frozen=True)
class Condition:
    """A condition as it was written.

    Args:
        text: the whole of it.
        group: name of the group it is about; empty for any.
        tree: what follows the group's name.
    """

    text: str
    group: str
    tree: ast.expr = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a condition on one group.

    Args:
        text: the condition.
        group: the group's name.
        holds: whether it holds; None where a value that decides is not there.
        values: every name in it -> its value.
    """

    text: str
    group: str
    holds: bool | None
    values: Mapping[str, Value]

    def __str__(self) -> str:
        """The condition, whether it holds, and the values behind it."""
        state = {True: "holds", False: "does not hold", None: "undecided"}[self.holds]
        return (
            f"{self.text}: {state} for {self.group} ({', '.join(f'{n} is {_said(v)}' for n, v in self.values.items())})"
        )


def parse(text: str) -> Condition:
    """Read a condition.

    Raises:
        InputError: it is not one, and why.

    >>> parse("encoder.layer: weights == rough and findings > 0").group
    'encoder.layer'
    """
    group, colon, rest = text.rpartition(":")
    expression = rest.strip()
    if not 0 < len(expression) <= LONGEST:
        raise _wrong(text, f"an expression of 1 to {LONGEST} characters, found {len(expression)}")
    try:
        tree = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        hint = "words with a blank between quotes, such as weights == 'no order'"
        raise _wrong(text, f"comparisons joined by and, or, not; {hint}; found {error}") from error
    _check(text, tree)
    return Condition(text.strip(), group.strip() if colon else "", tree)


def judge(condition: Condition, report: Report) -> tuple[Outcome, ...]:
    """Whether a condition holds, for each group by itself.

    What the diagnosis does not have (a number of the passage without a batch, a number that is not finite) decides nothing; `and`
    and `or` need no more than what decides them.

    Raises:
        InputError: there is no such group, or a name is of nothing that a diagnosis has.
    """
    if condition.group:
        one_of(f"{condition.text}: group", condition.group, [group.name for group in report.groups])
    known = {name for group in report.groups for name in _names(group)}
    chosen = [group for group in report.groups if condition.group in ("", group.name)]
    return tuple(_judged(condition, _Reader(condition.text, group, known)) for group in chosen)


def _judged(condition: Condition, reader: _Reader) -> Outcome:
    holds = reader.truth(condition.tree)
    return Outcome(condition.text, reader.group.name, holds, reader.values)


def _wrong(text: str, expected: str) -> InputError:
    return InputError(f"condition {text!r}: expected {expected}")


def _said(value: Value) -> str:
    return "not there" if value is None else value if isinstance(value, str) else f"{value:.4g}"


# Reading -------------------------------------------------------------------------------------------------------------


def _check(text: str, node: ast.expr) -> None:
    """Nothing but what the language has."""
    if isinstance(node, ast.BoolOp):
        parts: list[ast.expr] = node.values
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        parts = [node.operand]
    elif isinstance(node, ast.Compare):
        odd = [type(op).__name__ for op in node.ops if type(op) not in COMPARISONS]
        if odd:
            raise _wrong(text, f"comparisons by == != < <= > >=, found {', '.join(odd)}")
        sides = [node.left, *node.comparators]
        for value in sides:
            _check_value(text, value)
            _check_word(text, value, _words(sides))
        return
    else:
        raise _wrong(text, f"a comparison such as weights == rough, found {ast.unparse(node)}")
    for part in parts:
        _check(text, part)


def _check_value(text: str, node: ast.expr) -> None:
    if isinstance(node, ast.Call):
        name = _dotted(node.func)
        if (
            name not in FUNCTIONS
            or len(node.args) != 1
            or node.keywords
            or not (_dotted(node.args[0]) or _text(node.args[0]))
        ):
            raise _wrong(text, f"one curve in {', '.join(FUNCTIONS)}, found {ast.unparse(node)}")
    elif not (_dotted(node) or _text(node) or _number(node) is not None):
        raise _wrong(text, f"a name, a number or a word, found {ast.unparse(node)}")


def _words(sides: list[ast.expr]) -> tuple[str, ...]:
    """What a label or an answer among the sides can be; none where there is no such side."""
    return next((WORDS[name] for name in map(_dotted, sides) if name in WORDS), ())


def _check_word(text: str, node: ast.expr, words: tuple[str, ...]) -> None:
    """A word that no label can be is said before anything is read, and all that it can be."""
    word = _text(node) or _dotted(node)
    if words and word and word not in WORDS and word not in words:
        raise _wrong(text, f"one of {', '.join(repr(w) if ' ' in w else w for w in words)}; found {word!r}")


def _dotted(node: ast.expr) -> str:
    """`a.b.c` as text; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _number(node.operand)
        return inner if inner is None or isinstance(node.op, ast.UAdd) else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    return None


# Judging -------------------------------------------------------------------------------------------------------------


@dataclass
class _Reader:
    """Values of one group; `values` collects what was asked for."""

    text: str
    group: GroupReport
    known: set[str]
    values: dict[str, Value] = field(default_factory=dict)

    def truth(self, node: ast.expr) -> bool | None:
        """True, false, or None where it cannot be told."""
        if isinstance(node, ast.BoolOp):
            decides = isinstance(node.op, ast.Or)
            parts = [self.truth(part) for part in node.values]
            return decides if decides in parts else None if None in parts else not decides
        if isinstance(node, ast.UnaryOp):
            inner = self.truth(node.operand)
            return None if inner is None else not inner
        assert isinstance(node, ast.Compare)
        return self._comparison(node)

    def _comparison(self, node: ast.Compare) -> bool | None:
        sides = [node.left, *node.comparators]
        words = _words(sides)
        values = [self._value(side, words) for side in sides]
        if any(value is None for value in values):
            return None
        kinds = {type(value) for value in values}
        ordered = any(not isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
        if len(kinds) > 1 or (kinds == {str} and ordered):
            raise _wrong(self.text, f"numbers with numbers, words by == and !=; found {ast.unparse(node)}")
        pairs = zip(node.ops, values[:-1], values[1:], strict=True)
        return all(COMPARISONS[type(op)](left, right) for op, left, right in pairs)

    def _value(self, node: ast.expr, words: tuple[str, ...]) -> Value:
        """The value of one side; `words` are what stands for itself here."""
        number, name = _number(node), _dotted(node)
        if number is not None:
            return number
        if isinstance(node, ast.Call):
            said = ast.unparse(node)
            self.values[said] = self._reduced(_dotted(node.func), _dotted(node.args[0]) or _text(node.args[0]))
            return self.values[said]
        if _text(node) or (words and name not in WORDS):
            return _text(node) or name
        self.values[name] = self._named(name)
        return self.values[name]

    def _named(self, name: str) -> Value:
        base, _, end = name.rpartition(".")
        numbers = dict(_numbers(self.group))
        if name in numbers:
            return numbers[name]
        if end in ("low", "high") and (base in self.known or base in PASSAGE_NUMBERS):
            found = _measured(self.group).get(base)
            return None if found is None else _finite(getattr(found, end))
        if name in PASSAGE_NUMBERS or name in self.known:
            return None
        one_of(f"condition {self.text!r}: name", name, {*numbers, *self.known, *PASSAGE_NUMBERS})
        return None

    def _reduced(self, function: str, name: str) -> float | None:
        curves = dict(_curves(self.group))
        if name not in curves:
            one_of(f"condition {self.text!r}: curve", name, {*curves, *self.known, *PASSAGE_CURVES})
            return None
        return (
            _finite(FUNCTIONS[function](curves[name]))
            if all(map(math.isfinite, curves[name])) and curves[name]
            else None
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _names(group: GroupReport) -> Iterator[str]:
    yield from (name for name, _ in _numbers(group))
    yield from (name for name, _ in _curves(group))
    for profile in group.profiles:  # of weights that are not finite or 0 none of these is there
        yield from (f"{profile.name}.{name}" for name in ROLE_NUMBERS)
        yield from (f"weights.{profile.name}.{name}" for name in ROLE_EVIDENCE)


def _measured(group: GroupReport) -> dict[str, Measured]:
    """Numbers with an interval."""
    evidence = {
        f"{which}.{name.replace(': ', '.').replace(' ', '_')}": number
        for which, verdict in (("weights", group.weights), ("function", group.function))
        for name, number in verdict.evidence.items()
    }
    return {**evidence, **(group.passage.numbers if group.passage else {})}


def _numbers(group: GroupReport) -> Iterator[tuple[str, Value]]:
    """What stands for itself in a condition."""
    yield "depth", float(group.depth)
    yield "weights", group.weights.label
    yield "function", group.function.label
    answers = {consequence.question: consequence.answer for consequence in group.consequences}
    yield from ((question, answers.get(question)) for question in get_args(Question))
    kinds = [finding.kind for finding in group.findings]
    yield "findings", float(len(kinds))
    for kind in get_args(FindingKind):
        yield f"findings.{kind.replace(' ', '_')}", float(kinds.count(kind))
    yield from ((name, _finite(number.value)) for name, number in _measured(group).items())
    for profile in group.profiles:
        yield from ((f"{profile.name}.{name}", _finite(number)) for name, number in profile.numbers.items())


def _curves(group: GroupReport) -> Iterator[tuple[str, list[float]]]:
    """Curves of all roles together, of each role (and of each view of it), and of the passage."""
    roles: dict[str, list[float]] = {}
    for profile in group.profiles:
        for name, curve in profile.curves.items():
            roles.setdefault(name, []).extend(curve)
            roles.setdefault(f"{profile.name}.{name}", list(curve))
            roles.setdefault(f"{profile.name}.{profile.view}.{name}", list(curve))
    yield from roles.items()
    for name, curve in group.passage.curves.items() if group.passage else ():
        yield name, list(curve)
