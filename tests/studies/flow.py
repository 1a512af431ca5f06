"""Euler steps of dx/ds = sin(x) at growing depth: small, deterministic, and checkpointed at every step if asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.records import Context, Cost, Row
from deeplimit.study import Settings, Study, Tiered

WIDTH = 8


def start(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=WIDTH)


def restored(context: Context) -> tuple[np.ndarray, int, list[Row]] | None:
    state = context.checkpoint.load() if context.checkpoint else None
    return None if state is None else (state[0]["x"], state[1]["round"], state[1]["rows"])


@dataclass(frozen=True)
class Flow:
    """x_{k+1} = x_k + sin(x_k) / L from s = 0 to 1, again and again `rounds` times."""

    revision: ClassVar[int] = 1
    depth: int
    rounds: int
    seeds: tuple[int, ...] = (0,)
    dtype: str = "float64"
    fail: bool = False
    labels: dict[str, str | int | float] = field(default_factory=dict)

    def run(self, context: Context) -> Iterator[Row]:
        if self.fail:
            raise RuntimeError("asked to fail")
        x, begin, rows = restored(context) or (start(self.seeds[0]), 0, [])
        yield from rows
        for k in range(begin, self.rounds):
            for _ in range(self.depth):
                x = x + np.sin(x) / self.depth
            new = [self._row(k, "norm", float(np.linalg.norm(x))), self._row(k, "first", float(x[0]))]
            rows += new
            yield from new
            context.progress((k + 1) / self.rounds)
            if context.checkpoint and context.checkpoint.due():
                context.checkpoint.save({"x": x}, {"round": k + 1, "rows": rows})
        context.weights["x"] = x

    def _row(self, k: int, quantity: str, value: float) -> Row:
        return {"depth": self.depth, "seed": self.seeds[0], "iteration": k, "quantity": quantity, "value": value}

    def cost(self) -> Cost:
        return Cost(float(self.depth * self.rounds), 8.0 * WIDTH, 16.0 * self.rounds)

    def probe(self, context: Context) -> float:
        return 1e-6 * self.depth * self.rounds


def last_norm(rows: Any) -> Measured:
    import polars as pl

    last = rows.filter(pl.col("quantity") == "norm").sort("depth", "iteration")["value"]
    if last.is_empty():
        raise LookupError("no norms")
    return Measured(float(last[-1]), float(last[-1]), float(last[-1]))


def norms(rows: Any) -> list[Panel]:
    import polars as pl

    curves = []
    for (depth,), part in rows.filter(pl.col("quantity") == "norm").group_by("depth", maintain_order=True):
        curves.append(Curve(part["iteration"].to_list(), part["value"].to_list(), f"L = {depth}"))
    return [Panel(curves, "round", "norm of x")]


def flows(settings: Settings) -> list[Flow]:
    rounds = settings.pick(Tiered(quick=300, paper=600))
    return [
        Flow(depth, rounds, seeds=(seed,), labels={"part": part})
        for depth in (8, 16, 32)
        for seed, part in zip(settings.seeds(2), ("authors", "more", "more"), strict=False)
    ]


study = Study(
    name="flow",
    title="Where the flow of the sine ends",
    text="Every coordinate runs to a multiple of π.",
    tasks=flows,
    replicates=1,
    figures=(Figure("norms", "Norms over rounds", "They settle.", norms),),
    claims=(
        Claim("flow.1.end", "the norm ends at π √8", "here", "norm", last_norm, 8.8858, 1e-3, "derived"),
        Claim(
            "flow.2.wrong",
            "the norm ends at 0",
            "here",
            "norm",
            last_norm,
            0.0,
            1e-3,
            "text",
            expected_ruling="not reproduced",
        ),
    ),
)
