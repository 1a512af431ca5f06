"""A family of networks of growing depth, trained depth by depth, with both verdicts before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from deeplimit.claims import Measured
from deeplimit.data import Pairs
from deeplimit.draws import NamedDraw
from deeplimit.records import Context, Cost, Label, Row
from deeplimit.training import TrainingRun

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.regimes import Regime, Runs

UNSEEN = 1_000_003
"""Seed of the inputs that functions are compared on."""


@dataclass(frozen=True)
class Family:
    """Train networks of one kind at several depths, and judge the family before and after.

    Rows, with the column `stage` (`before`, `after`): `weights`, one per role, and `function`, with the verdict as text in `label` (of the
    function also in `draw`, `learning`); `slope.QUANTITY` and `beta`, `roughness` by `role`, with their intervals in `low` and `high`;
    `spread` and `loss` at each depth; `kept`, the number of members whose training did not diverge at any depth.

    Args:
        runs: one of one network at each depth, of the same seeds. Their measures are not taken.
        inputs: on which functions are compared.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    runs: tuple[TrainingRun, ...]
    inputs: Pairs
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Train, observe, judge."""
        import torch

        x = self.inputs.sample(NamedDraw().stream(UNSEEN))[0].to(getattr(torch, self.runs[0].dtype))
        seen = []
        whole = sum(run.cost().layer_steps for run in self.runs)
        for number, run in enumerate(self.runs):
            seen.append(_trained(run, x, context=context))
            context.progress(sum(done.cost().layer_steps for done in self.runs[: number + 1]) / whole)
        alive = torch.stack([one.alive for one in seen]).all(0)
        yield {"quantity": "kept", "value": float(alive.sum())}
        before = {one.depth: one.before for one in seen}
        after = {one.depth: _members(one.after, alive) for one in seen}
        for stage, runs in (("before", before), ("after", after)):
            yield from ({**row, "stage": stage} for row in _judged(runs))
        for one in seen:
            values = zip(self.runs[0].seeds, one.losses.tolist(), strict=True)
            yield from (
                {"depth": one.depth, "seed": s, "quantity": "loss", "value": v, "stage": "after"} for s, v in values
            )

    def cost(self) -> Cost:
        """That of training, without the weights on disk."""
        costs = [run.cost() for run in self.runs]
        return Cost(sum(c.layer_steps for c in costs), max(c.memory_bytes for c in costs), 1e5)

    def probe(self, context: Context) -> float:
        """What the runs say themselves."""
        return sum(run.probe(context) for run in (self.runs[0], self.runs[-1])) * len(self.runs) / 3


def _trained(run: TrainingRun, x: Tensor, *, context: Context) -> _Seen:
    """Both observations of one depth."""
    import torch

    from deeplimit.networks import as_stack
    from deeplimit.regimes import observe
    from deeplimit.training import draw_members

    network = as_stack(*run.networks)
    own = Context(engine=context.engine, device=context.device, threads=context.threads)
    for _ in dataclasses.replace(run, measures=(), keep_weights=True).run(own):
        pass
    context.provenance.update(own.provenance)
    final = {name.partition("/")[2]: torch.from_numpy(array) for name, array in own.weights.items()}
    initial, (inputs, targets) = draw_members(network, run.data, seeds=run.seeds, draw=run.draw, dtype=run.dtype)
    with torch.no_grad():
        losses = run.loss(network(final, inputs[:, :_LOOKED_AT]), targets[:, :_LOOKED_AT])
    after = observe(network, final, x=x, initial=initial, engine=context.engine)
    before = observe(network, initial, x=x, engine=context.engine)
    return _Seen(network.depth, before, after, losses)


_LOOKED_AT = 2048  # samples that the final loss is taken over


@dataclass(frozen=True)
class _Seen:
    depth: int
    before: Runs
    after: Runs
    losses: Tensor

    @property
    def alive(self) -> Tensor:
        """Which members are finite after training, `[E]`."""
        return self.losses.isfinite()


def _members(runs: Runs, alive: Tensor) -> Runs:
    """Those members of an ensemble that are alive."""
    parts: dict[str, Any] = {"weights": {role: w[alive] for role, w in runs.weights.items()}}
    if runs.passage is not None:
        named: dict[str, Any] = {name: v if v is None else v[alive] for name, v in vars(runs.passage).items()}
        parts["passage"] = dataclasses.replace(runs.passage, **named)
    if runs.movement is not None:
        parts["movement"] = runs.movement[alive]
    return dataclasses.replace(runs, **parts)


def _judged(runs: Mapping[int, Runs]) -> Iterator[Row]:
    """Both verdicts as rows."""
    from deeplimit.regimes import regime

    found = regime(runs) if min(r.count for r in runs.values()) else None
    if found is None:
        return
    yield from _weight_rows(found)
    function = found.function
    texts = {"label": function.label, "draw": function.draw, "learning": function.learning, "reason": function.reason}
    yield {"quantity": "function", "value": 1.0, **texts}
    for name, slope in function.slopes.items():
        yield {"quantity": f"slope.{name}", "value": slope.value, "low": slope.low, "high": slope.high}
    for depth, seen in runs.items():
        if seen.passage is not None:
            outputs = seen.passage.outputs.double()
            spread = float(outputs.var(0).mean().sqrt() / outputs.square().mean().sqrt())
            yield {"depth": depth, "quantity": "spread", "value": spread}


def _weight_rows(found: Regime) -> Iterator[Row]:
    for role, verdict in found.weights.items():
        yield {"quantity": "weights", "value": 1.0, "role": role, "label": verdict.label, "reason": verdict.reason}
        for name, number in (("beta", verdict.beta), ("roughness", verdict.roughness)):
            if number is not None:
                yield {"quantity": name, "value": number.value, "low": number.low, "high": number.high, "role": role}


def verdict(rows: pl.DataFrame, quantity: str, *, stage: str = "after", **columns: object) -> list[str]:
    """The labels of a verdict in some rows: one of the function, one per role of the weights.

    Raises:
        LookupError: there is none.
    """
    import polars as pl

    given = {"quantity": quantity, "stage": stage, **columns}
    found = rows.filter(*(pl.col(name) == value for name, value in given.items()))
    if found.is_empty():
        raise LookupError("no verdict with " + ", ".join(f"{name} = {value}" for name, value in given.items()))
    return [str(label) for label in found["label"]]


def says(
    reading: Callable[[pl.DataFrame], str], *expected: str, seeds: Sequence[int]
) -> Callable[[pl.DataFrame], Measured]:
    """The measure that is 1 where a verdict is one of those expected, 0 where it is another.

    A verdict that abstains measures nothing (LookupError).

    Args:
        reading: rows -> the verdict's label.
        expected: labels.
        seeds: of the networks that were judged.
    """

    def measure(rows: pl.DataFrame) -> Measured:
        found = reading(rows)
        if found == "undecided":
            raise LookupError("the verdict abstains")
        value = float(found in expected)
        return Measured(value, value, value, len(seeds), f"verdict: {found}")

    return measure


def summary(labels: Sequence[str]) -> str:
    """One word for the weights of several roles: the roughest decides."""
    for label in ("undecided", "sparse", "piecewise", "i.i.d.-like", "hypothesis 2"):
        if label in labels:
            return label
    return "hypothesis 1"
