"""One validator per precondition: each says what was expected and what was found."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, TypeAlias

LARGEST = 10**15
"""The largest size, number or count that makes sense: all integers up to it are exact as floats."""
Check: TypeAlias = Callable[[str, Any], Any]
"""A name and a value; raises `InputError` where the value cannot be used."""
_LISTED = 20  # names that an error lists at most, where none is near
_SHOWN = 60  # characters of a value that an error shows


class InputError(ValueError):
    """Something the caller handed over cannot be used; the message says what was expected and what was found."""


def integer(name: str, value: object, least: int | None = None, most: int = LARGEST) -> int:
    """Return `value` when it is an integer, not below `least` and not above `most`.

    >>> integer("offset", 3, least=0)
    3
    """
    low, number = -most if least is None else least, _whole(value)
    if number is None or not low <= number <= most:
        huge = number is not None and number > most
        wanted = (
            f" from {low} to {most}" if huge or most < LARGEST else "" if least is None else f" of at least {least}"
        )
        raise InputError(f"{name}: expected an integer{wanted}, found {brief(value)}")
    return number


def _whole(value: object) -> int | None:
    """The integer that a value is; None for anything else, truth values too."""
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else None


def positive_int(name: str, value: object) -> int:
    """Return `value` when it is an integer of at least 1.

    >>> positive_int("depth", 64)
    64
    """
    return integer(name, value, least=1)


def count(name: str, value: object) -> int:
    """Return `value` when it is an integer of at least 0."""
    return integer(name, value, least=0)


def is_finite(value: object) -> bool:
    """Whether something is a number that arithmetic can go on with: no text, no truth value, not NaN, not infinite.

    >>> [is_finite(value) for value in (1, 0.5, True, "1", math.nan, 10**400)]
    [True, True, False, False, False, False]
    """
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def finite(name: str, value: float) -> float:
    """Return `value` when it is a finite number."""
    return _number(name, value, value, wanted="a finite number")


def positive(name: str, value: float) -> float:
    """Return `value` when it is finite and above 0."""
    return _number(name, value, is_finite(value) and value > 0, wanted="a finite number above 0")


def moderate(name: str, value: float) -> float:
    """Return `value` when it lies between 1e-50 and 1e50: products and quotients of a few such numbers are numbers."""
    return _number(name, value, is_finite(value) and 1e-50 <= value <= 1e50, wanted="a number from 1e-50 to 1e+50")


def not_negative(name: str, value: float) -> float:
    """Return `value` when it is finite and not below 0."""
    return _number(name, value, is_finite(value) and value >= 0, wanted="a finite number of at least 0")


def above_one(name: str, value: float) -> float:
    """Return `value` when it is finite and above 1."""
    return _number(name, value, is_finite(value) and value > 1, wanted="a finite number above 1")


def fraction(name: str, value: float) -> float:
    """Return `value` when it lies in [0, 1]."""
    return _number(name, value, is_finite(value) and 0 <= value <= 1, wanted="a number from 0 to 1")


def below_one(name: str, value: float) -> float:
    """Return `value` when it lies in [0, 1)."""
    return _number(name, value, is_finite(value) and 0 <= value < 1, wanted="a number from 0 on and below 1")


def inside(name: str, value: float) -> float:
    """Return `value` when it lies in (0, 1), without the ends."""
    return _number(name, value, is_finite(value) and 0 < value < 1, wanted="a number between 0 and 1")


def _number(name: str, value: float, fits: object, *, wanted: str) -> float:
    if not (is_finite(value) and fits is not False):
        raise InputError(f"{name}: expected {wanted}, found {brief(value)}")
    return value


def optional(check: Check) -> Check:
    """The check for what may be None."""
    return lambda name, value: None if value is None else check(name, value)


def each(check: Check) -> Check:
    """The check for every item of a tuple or list."""

    def checked(name: str, values: Any) -> Any:
        for value in sequence(name, values):
            check(name, value)
        return values

    return checked


def by_member(check: Check) -> Check:
    """The check for one number, or for a tuple with one number for each member of an ensemble."""
    return lambda name, value: (each(check) if isinstance(value, tuple) else check)(name, value)


def sequence(name: str, values: Any) -> Any:
    """Return `values` when they are a tuple or a list."""
    if not isinstance(values, tuple | list):
        shown = brief(values)
        such = f" such as ({shown},)" if len(shown) < _SHOWN // 2 else ""
        raise InputError(f"{name}: expected a tuple{such}, found {shown}")
    return values


def among(known: Iterable[str]) -> Check:
    """The check for one of some names."""
    names = tuple(known)
    return lambda name, value: one_of(name, value, names)


def distinct(check: Check) -> Check:
    """The check for a tuple of different items."""

    def checked(name: str, values: Any) -> Any:
        each(check)(name, values)
        if len(set(values)) < len(values):
            twice = next(value for place, value in enumerate(values) if value in values[:place])
            raise InputError(f"{name}: expected different ones, found {brief(twice)} twice")
        return values

    return checked


def sizes(count: int | None = None) -> Check:
    """The check for a tuple of integers of at least 1, of so many where a number is given."""

    def checked(name: str, values: Any) -> Any:
        if count is not None and len(sequence(name, values)) != count:
            raise InputError(f"{name}: expected {count} sizes, found {brief(values)}")
        return each(positive_int)(name, values)

    return checked


def seed(name: str, value: object) -> int:
    """Return `value` when it is an integer that every generator takes as a seed."""
    return integer(name, value, least=0, most=2**63 - 1)


def instance(kind: type | UnionType, wanted: str) -> Check:
    """The check for an object of a class, which `wanted` describes."""

    def checked(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            built = " (the class; call it)" if isinstance(value, type) else ""
            raise InputError(f"{name}: expected {wanted}, found {brief(value)}{built}")
        return value

    return checked


def text(name: str, value: Any) -> Any:
    """Return `value` when it is text that is not empty."""
    if not (isinstance(value, str) and value):
        raise InputError(f"{name}: expected a text, found {brief(value)}")
    return value


def function(name: str, value: Any) -> Any:
    """Return `value` when it can be called."""
    if not callable(value):
        raise InputError(f"{name}: expected a function, found {brief(value)}")
    return value


def fields(owner: object, **rules: Check) -> None:
    """Check fields of an object, each by its rule.

    >>> fields(slice(1, 2), start=count, stop=positive_int)
    """
    for name, check in rules.items():
        check(name, getattr(owner, name))


def one_line(problem: object) -> str:
    """What a foreign error says, with its kind, on one line.

    >>> one_line(KeyError("a"))
    "KeyError: 'a'"
    """
    return f"{type(problem).__name__}: {' '.join(str(problem).split())}"


def brief(value: object) -> str:
    """A value as an error shows it, on one line and not longer than one.

    >>> brief("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"
    """
    # Python refuses to print integers of thousands of digits.
    huge = isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * _SHOWN
    text = f"an integer of {value.bit_length()} bits" if huge else " ".join(repr(value).split())  # type: ignore[attr-defined]
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "…"


def no_library(library: str) -> str:
    """Says that a library is missing, and what installs it: an extra of its name.

    >>> no_library("onnx")
    "expected the library onnx (pip install 'deeplimit[onnx]'), found none"
    """
    return f"expected the library {library} ({extra_command(library)}), found none"


def extra_command(name: str) -> str:
    """The command that installs an extra.

    >>> extra_command("onnx")
    "pip install 'deeplimit[onnx]'"
    """
    return f"pip install 'deeplimit[{name}]'"


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Return `value` when it is among the `known` names; the error lists the nearest ones.

    >>> one_of("engine", "torch", ["reference", "torch"])
    'torch'
    """
    names = sorted(known)
    if not isinstance(value, str) or value not in names:
        asked = brief(value).strip("'")
        near = difflib.get_close_matches(asked, names, n=3, cutoff=0.6) or names[:_LISTED]
        more = f" and {len(names) - _LISTED} more" if near == names[:_LISTED] and len(names) > _LISTED else ""
        raise InputError(f"{name}: expected one of {', '.join(near)}{more}; found {brief(value)}")
    return value


def shape(name: str, found: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    """Check a shape against `expected`, in which None stands for any size."""
    fits = len(found) == len(expected) and all(e is None or e == f for f, e in zip(found, expected, strict=True))
    if not fits:
        wanted = "(" + ", ".join("any" if e is None else str(e) for e in expected) + ")"
        raise InputError(f"{name}: expected shape {wanted}, found {tuple(found)}")
