"""What rounding hides in numbers over depth, and numbers whose squares a computer can hold.

A number that is stored with precision ε (the distance from 1 to the next number of its format) is off by at most ε|a|/2. Three such numbers
make a second difference that is off by at most 2ε|a|, whatever their signs: its square says nothing below `CURVED`·ε²a² (errors that are
independent make ε²a²/2 of it at most, a share that leaves smooth paths smooth: see `tests/regimes/test_precheck.py`). Where half a unit is
left to what was computed before a number was stored, layers that were meant to be equal differ from their mean by at most a unit, ε²a².

ε is that of the coarsest format that holds all the numbers: weights that were bfloat16 keep its rounding in a file of float32. It is never
below that of float32: weights are computed in it, and a factor in float64 hides it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    Number = TypeVar("Number", float, Tensor)

FORMATS = ("float8_e5m2", "float8_e4m3fn", "bfloat16", "float16", "float32")
"""Formats of stored weights, the coarsest first."""

CURVED = 4.0
"""Squared second differences up to which they may be rounding, in squares of the unit ε|a|."""

ROUNDING = CURVED * 2.0**-46
"""The same of float32, beside a mean square."""

LARGEST = 200
"""Power of 2: fourth powers of numbers between it and its inverse, and sums of many, are numbers of float64."""

_FIRST = 64  # entries of a tensor that are looked at before all are
_ENOUGH = 16  # different numbers from which on a format that holds them is no coincidence


class Precision:
    """The coarsest format that holds every number that was seen; tensors may come one after the other.

    A handful of round numbers fit into any format: of fewer than 16 different ones it is the format that they are stored in.

    >>> import torch
    >>> numbers = torch.randn(100, generator=torch.Generator().manual_seed(0))
    >>> seen = Precision()
    >>> seen.add(numbers.bfloat16().double())
    >>> seen.name, seen.epsilon
    ('bfloat16', 0.0078125)
    >>> seen.add(numbers)
    >>> seen.name
    'float32'
    """

    def __init__(self) -> None:
        self._holds = self._stored = 0  # places in FORMATS; beyond it, none
        self._different: set[float] = set()

    def add(self, numbers: Tensor) -> None:
        """Finite real numbers that are stored alike."""
        stored, numbers = (
            str(numbers.dtype).removeprefix("torch."),
            numbers if numbers.itemsize >= 4 else numbers.float(),
        )
        entries = (numbers if numbers.dim() < 2 or numbers.is_contiguous() else numbers.mT).reshape(-1)
        self._stored = max(self._stored, FORMATS.index(stored) if stored in FORMATS else len(FORMATS))
        if len(self._different) < _ENOUGH:
            self._different.update(entries[:_FIRST].tolist())
        while self._holds < len(FORMATS) and not (
            _hold(FORMATS[self._holds], entries[:_FIRST]) and _hold(FORMATS[self._holds], entries)
        ):
            self._holds += 1

    @property
    def name(self) -> str:
        """Of the format; `float32` where none of them holds the numbers."""
        return FORMATS[min(self._place, len(FORMATS) - 1)]

    @property
    def epsilon(self) -> float:
        """ε of the format."""
        return rounding_of(self.name)

    def unit(self, mean_square: float) -> float:
        """The square of the unit of numbers of that mean square; next to 0 the numbers of a format are equally far apart."""
        import torch

        least = float(torch.finfo(getattr(torch, self.name)).smallest_normal) if self._place < len(FORMATS) else 0.0
        return self.epsilon**2 * (mean_square + least**2)

    @property
    def _place(self) -> int:
        return min(self._holds, self._stored) if len(self._different) >= _ENOUGH else self._stored


def rounding_of(name: str) -> float:
    """ε of a format of `FORMATS`: the distance from 1 to the next number."""
    import torch

    return float(torch.finfo(getattr(torch, name)).eps)


def _hold(name: str, numbers: Tensor) -> bool:
    """Whether a format has exactly these numbers."""
    import torch

    there_and_back = numbers.float().to(getattr(torch, name)).to(numbers.dtype)
    return bool((there_and_back == numbers).all())


def doubles(numbers: Tensor) -> Tensor:
    """In float64; complex numbers as pairs of real ones, along a last axis."""
    import torch

    return (torch.view_as_real(numbers) if numbers.is_complex() else numbers).double()


def exponent(numbers: Tensor, *, largest: int = LARGEST) -> int:
    """The power of 2 that brings numbers into the range between 2^−largest and 2^largest; 0 where they are in it."""
    import torch

    if numbers.numel() == 0:
        return 0
    size = max(map(abs, (float(end) for end in torch.aminmax(numbers))))
    power = math.frexp(size)[1] if 0 < size < math.inf else 0
    return -power if abs(power) > largest else 0


def shifted(numbers: Number, power: int) -> Number:
    """Times 2^power, exactly but for what becomes too small to matter; in two steps, since 2^1074 is no number."""
    return numbers * 2.0 ** (power // 2) * 2.0 ** (power - power // 2) if power else numbers


def in_range(numbers: Tensor) -> Tensor:
    """In float64 and times a power of 2 (1 unless they are huge or tiny): for what no factor changes.

    >>> import torch
    >>> bool(in_range(torch.tensor([1e200, 2e200], dtype=torch.float64)).square().isfinite().all())
    True
    """
    wide = doubles(numbers)
    return shifted(wide, exponent(wide))


def norm(numbers: Tensor) -> float:
    """The root of the sum of squares, also where a square is no number.

    >>> import torch
    >>> f"{norm(torch.tensor([3e200, 4e200], dtype=torch.float64)):g}"
    '5e+200'
    """
    wide = doubles(numbers)
    power = exponent(wide)
    return float(shifted(shifted(wide, power).norm(), -power))
