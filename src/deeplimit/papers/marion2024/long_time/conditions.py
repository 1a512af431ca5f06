"""The conditions of Theorem 6 and the run of Figure 2."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from deeplimit.claims import Claim, Measured
from deeplimit.data import GaussianPairs
from deeplimit.draws import NamedDraw
from deeplimit.papers.marion2024.common import STATE, only
from deeplimit.papers.marion2024.finite_time import REPLICATES
from deeplimit.papers.marion2024.long_time.strict import GELU, claim, smallest_of
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Conditions:
    """What Theorem 6 asks for, at the sizes and data of the run of Figure 2.

    Rows: `state`, q − (d + d′), to be at least 0; `width`, m/(c1 n), and `depth`, L/(c2 √(nq)), to be at least 1; for each seed `input`,
    the largest |‖x_i‖/√q − 1|, to be 0.

    Args:
        samples, state, width, depth: n, q = d = d′, m and L.
        seeds: draws of the inputs.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    seeds: tuple[int, ...]
    samples: int = 50
    state: int = STATE
    width: int = 64
    depth: int = 64
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Closed forms, and the norms of the drawn inputs."""
        yield {"quantity": "state", "value": float(self.state - (self.state + self.state))}
        yield {"quantity": "width", "value": self.width / (GELU.c1 * self.samples)}
        yield {"quantity": "depth", "value": self.depth / (GELU.c2 * math.sqrt(self.samples * self.state))}
        for seed in self.seeds:
            x, _ = GaussianPairs(self.samples, self.state, self.state).sample(NamedDraw().stream(seed))
            far = (x.norm(dim=1) / math.sqrt(self.state) - 1).abs().max().item()
            yield {"seed": seed, "quantity": "input", "value": far}

    def cost(self) -> Cost:
        """Next to nothing."""
        return Cost(1.0, 1e6, 1e4)

    def probe(self, context: Context) -> float:
        """Next to nothing."""
        return 1e-3


def _condition_tasks(settings: Settings) -> Iterator[Task]:
    yield Conditions(settings.seeds(0))


def _condition_claim(name: str, statement: str, *, quantity: str, **others: Any) -> Claim:
    def measure(rows: pl.DataFrame) -> Measured:
        return smallest_of(
            only(rows, quantity=name)["value"].to_list(),
            "draws of the inputs" if name == "input" else "one closed form",
        )

    return claim(
        f"11.condition-{name}",
        f"The run of Figure 2 is an instance of Theorem 6: {statement}.",
        where="section 5.1; Theorem 6; Prop. 5",
        quantity=quantity,
        measure=measure,
        expected_ruling="not reproduced",
        **others,
    )


CONDITIONS = Study(
    "theorem-6-conditions",
    title="Theorem 6 and the run of Figure 2",
    text=(
        "The run of Figure 2 is offered as an illustration of Theorem 6, with the remark that its width is large enough. It does not meet"
        " the conditions: q = d = d′ is below d + d′; the inputs are Gaussian, not of norm √q; m = 64 is far below c1 n, with c1 near 1e7,"
        " and L = 64 below c2 √(nq); the targets are of size √q, and GELU is not bounded. That its loss tends to 0 all the same says that"
        " the conditions are far from necessary."
    ),
    tasks=_condition_tasks,
    replicates=REPLICATES,
    claims=(
        _condition_claim(
            "state", "its states are wide enough", quantity="q − (d + d′)", expected=0.0, relation="at least"
        ),
        _condition_claim("width", "its layers are wide enough", quantity="m/(c1 n), c1 of GELU", relation="at least"),
        _condition_claim("depth", "it is deep enough", quantity="L/(c2 √(nq)), c2 of GELU", relation="at least"),
        _condition_claim("input", "its inputs have norm √q", quantity="largest |‖x_i‖/√q − 1|", expected=0.0),
    ),
)
