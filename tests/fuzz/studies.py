"""A study whose rows follow from its constants, and those rows by another way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STEPS = 3
DEPTHS = {"quick": (4, 8), "paper": (4, 8, 16)}

STUDY = '''"""Sums whose rows follow from constants in several places."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import helper
import numpy as np
from deeplimit.claims import Claim, Measured
from deeplimit.records import Cost
from deeplimit.study import Study, Tiered

CONSTANT = {constant}
TABLE = {{"a": [1, {table}]}}


class Held:
    value = {attribute}


def closed(inside):
    def add(x):
        return x + inside

    return add


plus = closed({closure})


def shifted(x, by={default}):
    return x + by


@dataclass(frozen=True)
class Sum:
    revision: ClassVar[int] = 1
    depth: int
    seeds: tuple[int, ...] = (0,)
    dtype: str = "float64"
    labels: dict[str, str | int | float] = field(default_factory=dict)

    def run(self, context):
        state = context.checkpoint.load() if context.checkpoint else None
        total, begin, rows = (float(state[0]["total"][0]), state[1]["step"], state[1]["rows"]) if state else (0.0, 0, [])
        yield from rows
        for k in range(begin, {steps}):
            total = total + shifted(plus(CONSTANT * self.depth)) + helper.slope(k) + Held.value + TABLE["a"][1]
            row = {{"depth": self.depth, "seed": self.seeds[0], "iteration": k, "quantity": "sum", "value": total}}
            rows = [*rows, row]
            yield row
            if context.checkpoint and context.checkpoint.due():
                context.checkpoint.save({{"total": np.array([total])}}, {{"step": k + 1, "rows": rows}})
        context.weights["total"] = np.array([total])

    def cost(self):
        return Cost(1.0, 8.0, 16.0)

    def probe(self, context):
        return 1e-3


def tasks(settings):
    depths = settings.pick(Tiered(quick={quick}, paper={paper}))
    return [Sum(depth, seeds=(seed,)) for depth in depths for seed in settings.seeds(1)]


def last(rows):
    value = float(rows.filter(rows["quantity"] == "sum")["value"][-1])
    return Measured(value, value, value)


study = Study(
    name="lines",
    title="Sums",
    text="Nothing but sums.",
    tasks=tasks,
    replicates=0,
    claims=(Claim("lines.1", "the last sum is large", "here", "sum", last, 0.0, 1e9, "derived"),),
)
'''
HELPER = '''"""What the study uses."""


def slope(k):
    return factor() * k


def factor():
    return {helper}
'''


@dataclass(frozen=True)
class Constants:
    """The numbers of the study, each in another kind of place."""

    constant: int = 2
    table: int = 3
    attribute: int = 5
    closure: int = 7
    default: int = 11
    helper: int = 13

    def rows(self, tier: str = "quick", replicates: int = 0) -> list[tuple[int, int, int, float]]:
        """(depth, index of the seed, iteration, value) of every row."""
        found = []
        for depth in DEPTHS[tier]:
            for seed in range(1 + replicates):
                total = 0.0
                for k in range(STEPS):
                    total += self.constant * depth + self.closure + self.default + self.helper * k
                    total += self.attribute + self.table
                    found.append((depth, seed, k, total))
        return found


def write_study(folder: Path, constants: Constants, *, name: str = "mine", comment: str = "") -> Path:
    """The study file and its helper."""
    numbers = vars(constants) | {"steps": STEPS, "quick": DEPTHS["quick"], "paper": DEPTHS["paper"]}
    (folder / "helper.py").write_text(HELPER.format(**numbers).replace('"""\n\n\n', f'"""{comment}\n\n\n', 1))
    file = folder / f"{name}.py"
    file.write_text(STUDY.format(**numbers).replace("\n    def cost(self)", f"{comment}\n    def cost(self)"))
    return file
