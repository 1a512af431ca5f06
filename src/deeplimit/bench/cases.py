"""What is measured: one row each. A case for a new branch needs its count in `operations` too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from deeplimit import checks
from deeplimit.branches import Branch, OneMatrix, Perceptron


@dataclass(frozen=True)
class Case:
    """A residual stack, forward and the gradients of all its parameters and of its input.

    Args:
        name: what the command line and the tables call it.
        branch: f.
        samples: n, the rows of the input `[n, q]`.
        depth: L.
        members: E, the runs of an ensemble, computed at once; 1 for a single run without an ensemble axis.
        dtype: the precision, as PyTorch names it.
        device: `cpu`, or `cuda`: nobody computes such a case where there is no GPU.
    """

    name: str
    branch: Branch
    samples: int
    depth: int
    members: int = 1
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse sizes below 1 and an unknown precision."""
        for name in ("samples", "depth", "members"):
            checks.positive_int(name, getattr(self, name))
        checks.one_of("dtype", self.dtype, ("float32", "float64"))

    @property
    def operations(self) -> int:
        """Floating-point operations of one layer, all members, forward and backward."""
        return self.members * operations(self.branch, self.samples)

    @property
    def title(self) -> str:
        """The case in words."""
        runs = f"{self.members} runs of " if self.members > 1 else ""
        where = "" if self.device == "cpu" else f", on {self.device}"
        sizes = f"n = {self.samples}, {_sizes(self.branch)}, L = {self.depth}"
        return f"{runs}{_named(self.branch)}, {sizes}, {self.dtype}{where}"

    def at_depth(self, depth: int) -> Case:
        """The same case with another depth."""
        return dataclasses.replace(self, depth=depth)


def operations(branch: Branch, samples: int) -> int:
    """Floating-point operations of the matrix products of one layer, forward and backward, for n samples.

    Each product n × a × b costs 2nab forward and twice that backward (gradient of the state and of the weight): 12nqm for the two
    products of the perceptron, 6nd² for the one of the one-matrix branch. Elementwise work and recomputation are not credited.

    Raises:
        InputError: the branch has no row here.

    >>> operations(Perceptron(16, 32), 100)
    614400
    """
    if isinstance(branch, Perceptron):
        return 12 * samples * branch.state * branch.width
    if isinstance(branch, OneMatrix):
        return 6 * samples * branch.state**2
    raise checks.InputError(f"branch: expected Perceptron or OneMatrix, found {type(branch).__name__}")


def _named(branch: Any) -> str:
    """Branch and activation."""
    return f"{type(branch).__name__} {type(branch.activation).__name__}"


def _sizes(branch: Any) -> str:
    """The sizes in the papers' letters."""
    return f"d = {branch.state}" + (f", m = {branch.width}" if isinstance(branch, Perceptron) else "")


_SMALL = Case("perceptron-100-16-32-64", Perceptron(16, 32), 100, 64)
_MEMBER = Case("perceptron-50-16-64-64", Perceptron(16, 64), 50, 64)
_ENSEMBLES = tuple(dataclasses.replace(_MEMBER, name=f"ensemble-{members}", members=members) for members in (16, 64))

_DEEP = Case("perceptron-100-16-32-1024", Perceptron(16, 32), 100, 1024)
_WIDE = Case("perceptron-128-64-64-256", Perceptron(64, 64), 128, 256)


def _on_gpu(case: Case) -> Case:
    return dataclasses.replace(case, name=f"cuda-{case.name}", device="cuda")


CASES: tuple[Case, ...] = (
    _SMALL,
    _DEEP,
    Case("perceptron-100-16-32-16384", Perceptron(16, 32), 100, 16384),
    _MEMBER,
    _WIDE,
    Case("one-matrix-32-10-1000", OneMatrix(10), 32, 1000),
    Case("one-matrix-128-30-1000", OneMatrix(30), 128, 1000),
    *_ENSEMBLES,
    *map(_on_gpu, (_DEEP, _WIDE, _ENSEMBLES[-1])),
)
"""Every contestant that can runs every case."""


@dataclass(frozen=True)
class Series:
    """Cases that differ in one number, run by the fastest engine in common rounds: what does a layer cost as that number grows?

    Args:
        name: how the command line names it.
        title: the question.
        symbol: the letter of that number.
        along: the number of each case, growing.
        cases: the cases, one for each number.
        threads: whether the number is that of the threads, and the case always the same.
    """

    name: str
    title: str
    symbol: str
    along: tuple[int, ...]
    cases: tuple[Case, ...]
    threads: bool = False


_DEPTHS = (64, 256, 1024, 4096, 16384)


def _threads(case: Case) -> Series:
    name = f"threads-{case.name}"
    return Series(name, f"time against threads, {case.name}", "threads", (1, 2), (case, case), threads=True)


SERIES: tuple[Series, ...] = (
    Series("depth", "time against depth", "L", _DEPTHS, tuple(map(_SMALL.at_depth, _DEPTHS))),
    Series("ensemble", "time against runs", "E", (1, 16, 64), (_MEMBER, *_ENSEMBLES)),
    *map(_threads, (*CASES[:3], *CASES[4:8])),
)
"""Each has rounds of its own, so that its ratios compare neighbours in time."""


@dataclass(frozen=True)
class Training:
    """Networks that are trained and measured (`steps.py`), each in rounds of its own.

    Args:
        name: how the command line names them.
        title: the question.
        cases: the networks; one run is an ensemble of one member here.
    """

    name: str
    title: str
    cases: tuple[Case, ...]


TRAINING: tuple[Training, ...] = (
    Training(
        "training",
        "steps and measures beside the evaluation",
        (
            *(dataclasses.replace(_SMALL.at_depth(depth), name=f"L = {depth}") for depth in (64, 1024, 16384)),
            dataclasses.replace(_SMALL, name="L = 64, E = 5, float64", members=5, dtype="float64"),
        ),
    ),
)


def names() -> list[str]:
    """The names of everything that can be measured."""
    kinds: tuple[Sequence[Case | Series | Training], ...] = (CASES, SERIES, TRAINING)
    return [row.name for kind in kinds for row in kind]


def chosen(only: Iterable[str]) -> tuple[list[Case], list[Series], list[Training]]:
    """What has these names, by kind; everything for no name.

    Raises:
        InputError: a name is nobody's.
    """
    asked = {checks.one_of("only", name, names()) for name in only} or set(names())
    return (
        [row for row in CASES if row.name in asked],
        [row for row in SERIES if row.name in asked],
        [row for row in TRAINING if row.name in asked],
    )
