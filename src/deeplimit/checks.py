"""One validator per precondition: each says what was expected and what was found."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable

_LISTED = 20  # names that an error lists


class InputError(ValueError):
    """Something the caller handed over cannot be used; the message says what was expected and what was found."""


def positive_int(name: str, value: object) -> int:
    """Return `value` when it is an integer of at least 1.

    >>> positive_int("depth", 64)
    64
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise InputError(f"{name}: expected an integer of at least 1, found {value!r}")
    return int(value)


def positive(name: str, value: float) -> float:
    """Return `value` when it is finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name}: expected a finite number above 0, found {value!r}")
    return value


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Return `value` when it is among the `known` names; the error lists the nearest ones.

    >>> one_of("engine", "torch", ["reference", "torch"])
    'torch'
    """
    names = sorted(known)
    if not isinstance(value, str) or value not in names:
        near = difflib.get_close_matches(str(value), names, n=3, cutoff=0.4) or names[:_LISTED]
        more = f" and {len(names) - _LISTED} more" if near == names[:_LISTED] and len(names) > _LISTED else ""
        raise InputError(f"{name}: expected one of {', '.join(near)}{more}; found {value!r}")
    return value


def shape(name: str, found: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    """Check a shape against `expected`, in which None stands for any size."""
    fits = len(found) == len(expected) and all(e is None or e == f for f, e in zip(found, expected, strict=True))
    if not fits:
        wanted = "(" + ", ".join("any" if e is None else str(e) for e in expected) + ")"
        raise InputError(f"{name}: expected shape {wanted}, found {tuple(found)}")
