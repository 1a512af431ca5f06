"""The depths of the two sweeps (row 2 of the checklist)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Claim, Measured
from deeplimit.papers.cohen2021.networks import DEEPEST, DEEPEST_RELU, RELU_BASE, TANH_BASE, depth_grid
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study

if TYPE_CHECKING:
    import polars as pl

TANH_LIST = (
    *(3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 101, 128, 161, 203, 256, 322, 406, 512, 645, 812, 1024),
    *(1290, 1625, 2048, 2580, 3250, 4096, 5160, 6501, 8192, 10321),
)
"""The depths of the released code for tanh."""

RELU_COUNT, RELU_ENDS = 44, {3, 6319, 7583, 9100}


@dataclass(frozen=True)
class DepthGrid:
    """The depths ⌊baseⁿ⌋ in a range.

    Rows: `grid`, one per depth, with the depth as value.

    Args:
        base: of the powers.
        first, last: the range.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    base: float
    first: int
    last: int
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """List them."""
        for depth in depth_grid(self.base, self.last, first=self.first):
            yield {"depth": depth, "quantity": "grid", "value": float(depth)}

    def cost(self) -> Cost:
        """Next to nothing."""
        return Cost(1.0)

    def probe(self, context: Context) -> float:
        """Next to nothing."""
        return 0.001


def _tasks(settings: Settings) -> Iterator[Task]:
    yield DepthGrid(TANH_BASE, 3, DEEPEST, labels={"family": "tanh"})
    yield DepthGrid(RELU_BASE, 3, DEEPEST_RELU, labels={"family": "relu"})


def different(family: str, expected: tuple[int, ...]) -> Callable[[pl.DataFrame], Measured]:
    """The measure of how many depths are in one of two lists alone."""

    def measure(rows: pl.DataFrame) -> Measured:
        found = set(only(rows, family=family)["depth"].to_list())
        return Measured.spread([float(len(found ^ set(expected)))], "depths in one list alone")

    return measure


def relu_ends(rows: pl.DataFrame) -> Measured:
    """How many of the known depths for ReLU are missing, plus the distance of their number from 44."""
    found = set(only(rows, family="relu")["depth"].to_list())
    missing = len(RELU_ENDS - found) + (max(found) != DEEPEST_RELU)
    return Measured.spread([float(missing + abs(len(found) - RELU_COUNT))], "known depths missing, and miscount")


STUDY = Study(
    "depth-grids",
    title="The depths",
    text="Networks are trained at the depths ⌊baseⁿ⌋ from 3 on, with base 2^(1/3) for tanh and 1.2 for ReLU.",
    tasks=_tasks,
    claims=(
        Claim(
            "cohen2021.2.depths-tanh",
            "With base 2^(1/3) these are 36 depths, the last 10321.",
            "released code",
            "depths in the released list or in ours alone",
            different("tanh", TANH_LIST),
            expected=0.0,
            tolerance=0.0,
            source="code",
        ),
        Claim(
            "cohen2021.2.depths-relu",
            "With base 1.2 these are 44 depths, the last 6319, 7583, 9100.",
            "released code",
            "known depths that are missing, plus the miscount",
            relu_ends,
            expected=0.0,
            tolerance=0.0,
            source="code",
        ),
    ),
)
