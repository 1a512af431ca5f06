"""The limiting training dynamics of appendix A.5 against networks of finite depth (row 10 of the checklist)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from deeplimit.claims import Claim, Measured
from deeplimit.data import Pairs, SpherePairs
from deeplimit.figures import Figure, Panel
from deeplimit.fits import exponent
from deeplimit.networks import ResidualStack
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import (
    INPUTS,
    OUTPUTS,
    REPLICATES,
    SMOOTH,
    guide,
    seconds_for,
    seed_band,
    theory_network,
)
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import GradientFlow, Step, checksum, draw_members

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.limits import TrainingFlow
    from deeplimit.networks import Parameters
    from deeplimit.training.step import Batch

ADJOINTS: tuple[Literal["corrected"], Literal["printed"]] = ("corrected", "printed")

REFERENCE_SHARE = 0.1
"""The error of the reference may come to this part of the smallest difference that it is used for."""


@dataclass(frozen=True)
class TrainingLimit:
    """Networks trained up to time T, against the limiting training dynamics (1.7) at time T.

    Gradient flow (4) at growing depth is learning rate 0: the Runge–Kutta method of order 4 with the time steps of the limit, so that
    depth alone makes a difference. Gradient descent is what training does; it is run at one depth with several learning rates η.

    Rows, with the column `adjoint` and for gradient descent `learning_rate`: `error.parameters`, max over k of
    ‖Z^L_k − Z(k/L)‖_F, plus ‖A^L − A‖_F, plus ‖B^L − B‖_F; `error.outputs`, max over the training samples of ‖F^L(x_i) − F(x_i)‖;
    `reference.parameters` and `reference.outputs`, the estimated errors of the limit itself.

    Args:
        network: its depth plays no part.
        data: the training pairs.
        depths: L of gradient flow.
        deepest: L of gradient descent.
        rates: η of gradient descent, divisors of the horizon.
        horizon: T.
        steps: time steps of flow and limit.
        intervals: of the limit's grid in depth.
        seeds: draws of weights and data.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    network: ResidualStack
    data: Pairs
    depths: tuple[int, ...]
    deepest: int
    rates: tuple[float, ...]
    horizon: float
    steps: int
    intervals: int
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """The limit with both adjoints, then each network against it."""
        from deeplimit.engines import select
        from deeplimit.limits import TrainingFlow

        context.provenance["engine"] = select(context.engine, self.network.branch).title
        context.provenance["data"] = checksum(self._draw(1)[1])
        flows = [TrainingFlow(self.network, adjoint=adjoint) for adjoint in ADJOINTS]
        ends = [self._limit(flow, self.intervals, steps=self.steps) for flow in flows]
        for flow, end in zip(flows, ends, strict=True):
            coarse = self._limit(flow, self.intervals // 2, steps=self.steps // 2)
            for quantity, values in self._reference_errors(end, coarse, flow=flow).items():
                yield from self._rows(values, quantity, adjoint=flow.adjoint)
        for facts, network, params in self._networks(context):
            for flow, end in zip(flows, ends, strict=True):
                for quantity, values in self._errors(network, params, flow=flow, end=end).items():
                    yield from self._rows(values, quantity, adjoint=flow.adjoint, **facts)

    def cost(self) -> Cost:
        """Evaluations of one layer; one interval of the limit takes the time of 45."""
        limit = 2 * 1.25 * 4 * self.steps * self.intervals * 45
        flow, descent = 4.0 * self.steps * sum(self.depths), self.deepest * sum(map(self._iterations, self.rates))
        return Cost(len(self.seeds) * (limit + flow + descent), 1e8, 1e5)

    def probe(self, context: Context) -> float:
        """From the same with a few time steps at depth 16."""
        few = dataclasses.replace(self, depths=(16,), deepest=16, rates=(self.horizon,), steps=2)
        return seconds_for(self, few, context=context)

    def _limit(self, flow: TrainingFlow, intervals: int, *, steps: int) -> Parameters:
        """The parameters of the limit at time T, on its grid."""
        from deeplimit.limits import initial, integrate, on_grid, together

        weights = together([initial(self.network, seed) for seed in self.seeds])
        start, batch = on_grid(self.network, weights, intervals=intervals), self._draw(1)[1]
        return _last(integrate(flow, start, batch=batch, horizon=self.horizon, steps=steps))

    def _networks(self, context: Context) -> Iterator[tuple[Row, ResidualStack, Parameters]]:
        """Every network trained up to time T, and what its rows say of it."""
        from deeplimit.limits import integrate

        for depth in self.depths:
            network, (params, batch) = self.network.at_depth(depth), self._draw(depth)
            flow = gradient_flow(network, context.engine)
            end = _last(integrate(flow, params, batch=batch, horizon=self.horizon, steps=self.steps))
            yield {"depth": depth}, network, end
        network, (params, batch) = self.network.at_depth(self.deepest), self._draw(self.deepest)
        for rate in self.rates:
            step = Step(network, GradientFlow(rate), engine=context.engine)
            state = step.start(params)
            for _ in range(self._iterations(rate)):
                state, _ = step(state, batch)
            yield {"depth": self.deepest, "learning_rate": rate}, network, state.params

    def _errors(
        self, network: ResidualStack, params: Parameters, *, flow: TrainingFlow, end: Parameters
    ) -> dict[str, Tensor]:
        """Distances of a trained network from the limit, `[E]` each."""
        outputs = network(params, self._draw(1)[1][0])
        return {
            "error.parameters": _distance(params, _at_layers(network, end), layers=network.layer_roles),
            "error.outputs": _farthest(outputs, self._outputs(end, flow)),
        }

    def _reference_errors(self, fine: Parameters, coarse: Parameters, *, flow: TrainingFlow) -> dict[str, Tensor]:
        """Richardson's estimates: with half the resolution in depth and time a method of order 4 is off by 16 times as much."""
        network = self.network.at_depth(max(self.depths))
        weights = [_at_layers(network, end) for end in (fine, coarse)]
        return {
            "reference.parameters": _distance(*weights, layers=network.layer_roles) / 15,
            "reference.outputs": _farthest(self._outputs(fine, flow), self._outputs(coarse, flow)) / 15,
        }

    def _outputs(self, end: Parameters, flow: TrainingFlow) -> Tensor:
        """F on the training inputs, at parameters of the limit."""
        return flow.states(end, self._draw(1)[1][0])[-1] @ end["readout"].mT

    def _draw(self, depth: int) -> tuple[Parameters, Batch]:
        return draw_members(self.network.at_depth(depth), self.data, seeds=self.seeds)

    def _iterations(self, rate: float) -> int:
        return round(self.horizon / rate)

    def _rows(self, values: Tensor, quantity: str, **facts: object) -> Iterator[Row]:
        for seed, value in zip(self.seeds, values.tolist(), strict=True):
            yield {**facts, "seed": seed, "quantity": quantity, "value": value}


def gradient_flow(network: ResidualStack, engine: str = "auto") -> Callable[[Mapping[str, Tensor], Batch], Parameters]:
    """The right-hand side of the gradient flow (4) of a finite network: −∂ℓ/∂A, −L ∂ℓ/∂Z_k, −∂ℓ/∂B."""
    step = Step(network, GradientFlow(1.0), engine=engine)

    def derivative(state: Mapping[str, Tensor], batch: Batch) -> Parameters:
        gradients = step.evaluate(dict(state), batch).grads
        return {role: -(network.depth if role in network.layer_roles else 1) * g for role, g in gradients.items()}

    return derivative


def _last(course: Iterable[tuple[float, Parameters]]) -> Parameters:
    """The state at the end of an integration."""
    *_, (_, state) = course
    return state


def _at_layers(network: ResidualStack, end: Parameters) -> Parameters:
    """The limit's weights at s = k/L."""
    from deeplimit.limits import splined, stack

    return stack(network, splined(network, end))


def _distance(params: Parameters, other: Parameters, *, layers: tuple[str, ...]) -> Tensor:
    """Max over k of ‖Z_k − Z′_k‖_F (the sum over the roles of layers, as in the paper) plus the distances of A and B, `[E]`."""
    import torch

    difference = {role: params[role] - other[role] for role in params}
    Z = torch.stack([difference[role].flatten(2).norm(dim=2) for role in layers]).sum(0)
    ends = [d.flatten(1).norm(dim=1) for role, d in difference.items() if role not in layers]
    return torch.stack([Z.amax(1), *ends]).sum(0)


def _farthest(outputs: Tensor, others: Tensor) -> Tensor:
    """Max over samples of the distance, `[E]`."""
    distance: Tensor = (outputs - others).norm(dim=2).amax(1)
    return distance


# ---------------------------------------------------------------------------------------------------------- the study


def _tasks(settings: Settings) -> Iterator[Task]:
    yield TrainingLimit(
        network=theory_network(1, SMOOTH),
        data=SpherePairs(16, INPUTS, OUTPUTS, radius=1.0),
        depths=settings.pick(Tiered(quick=(16, 32, 64, 128, 256), paper=(16, 32, 64, 128, 256, 512, 1024))),
        deepest=settings.pick(Tiered(quick=1024, paper=2048)),
        rates=settings.pick(Tiered(quick=(0.1, 0.05, 0.025), paper=(0.1, 0.05, 0.025, 0.0125))),
        horizon=1.0,
        steps=settings.pick(Tiered(quick=16, paper=32)),
        intervals=settings.pick(Tiered(quick=16, paper=32)),
        seeds=settings.seeds(0),
    )


def _in_depth(quantity: str, adjoint: str = "corrected") -> Callable[[pl.DataFrame], Measured]:
    """The exponent in depth of the distance between gradient flow and the limit."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = _flows(rows, quantity, adjoint=adjoint)
        _require_fine_reference(rows, own)
        return exponent(own)

    return measure


def _in_rate(quantity: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in the learning rate of the distance between gradient descent and the limit."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = _descents(rows, quantity)
        _require_fine_reference(rows, own)
        return exponent(own, "learning_rate", minimum=0.0)

    return measure


def _flows(rows: pl.DataFrame, quantity: str, *, adjoint: str) -> pl.DataFrame:
    """The rows of gradient flow."""
    return only(rows.filter(rows["learning_rate"].is_null()), quantity=quantity, adjoint=adjoint)


def _descents(rows: pl.DataFrame, quantity: str) -> pl.DataFrame:
    """The rows of gradient descent."""
    return only(rows.filter(rows["learning_rate"].is_not_null()), quantity=quantity, adjoint="corrected")


def _require_fine_reference(rows: pl.DataFrame, differences: pl.DataFrame) -> None:
    """Refuse differences that the error of the reference could have made.

    Raises:
        LookupError: the reference of a seed is not fine enough.
    """
    import polars as pl

    quantity = str(differences["quantity"][0]).replace("error", "reference")
    reference = only(rows, quantity=quantity, adjoint=differences["adjoint"][0]).select("seed", error="value")
    smallest = differences.group_by("seed").agg(pl.col("value").min()).join(reference, on="seed")
    coarse = smallest.filter(pl.col("error") > REFERENCE_SHARE * pl.col("value"))
    if not coarse.is_empty():
        raise LookupError(f"the reference of seed {coarse['seed'][0]} is too coarse for the differences measured")


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """Parameters against depth for both adjoints, and against the learning rate."""
    labels = {"corrected": "corrected adjoint", "printed": "adjoint as printed"}
    curves = [
        seed_band(_flows(rows, "error.parameters", adjoint=a), "depth", label=label) for a, label in labels.items()
    ]
    rates = seed_band(_descents(rows, "error.parameters"), "learning_rate", label="gradient descent")
    depth = max(_descents(rows, "error.parameters")["depth"])
    ylabel = "distance of the parameters to the limit"
    return [
        Panel([*curves, guide(curves[0], -1.0, factor=0.7)], "depth L", ylabel, "gradient flow", "log", "log"),
        Panel(
            [rates, guide(rates, 1.0, factor=0.7)],
            "learning rate η",
            ylabel,
            f"gradient descent, L = {depth}",
            "log",
            "log",
        ),
    ]


def _claim(name: str, statement: str, *, measure: Callable[[pl.DataFrame], Measured], quantity: str) -> Claim:
    """One exponent of the distance to the limiting dynamics."""
    return Claim(
        f"marion2024.10.{name}",
        statement,
        "Theorem 4; appendix A.5",
        quantity,
        measure,
        expected=1.0 if "rate" in name else -1.0,
        tolerance=0.1,
        source="text" if "printed" in name else "derived",
        expected_ruling="not reproduced" if "printed" in name else "reproduced",
        minimum_sample=5,
    )


CLAIMS = (
    _claim(
        "parameters-in-depth",
        "Gradient flow at depth L follows the limiting dynamics, with dP/ds = −(d₁f)ᵀP, up to O(1/L): A, B, and Z uniformly over s.",
        measure=_in_depth("error.parameters"),
        quantity="exponent in L of the distance of all parameters from the limit at T = 1, learning rate → 0, L ≥ 16",
    ),
    _claim(
        "outputs-in-depth",
        "So do the outputs.",
        measure=_in_depth("error.outputs"),
        quantity="exponent in L of max over i of ‖F^L(x_i) − F(x_i)‖ at T = 1, learning rate → 0, L ≥ 16",
    ),
    _claim(
        "parameters-in-rate",
        "Gradient descent at learning rate η follows the limiting dynamics up to O(η).",
        measure=_in_rate("error.parameters"),
        quantity="exponent in η of the distance of all parameters from the limit at T = 1, largest depth",
    ),
    _claim(
        "outputs-in-rate",
        "So do its outputs.",
        measure=_in_rate("error.outputs"),
        quantity="exponent in η of max over i of ‖F^L(x_i) − F(x_i)‖ at T = 1, largest depth",
    ),
    _claim(
        "printed-adjoint",
        "As printed: the limit of gradient flow has the adjoint equation dP/ds = d₁f P.",
        measure=_in_depth("error.parameters", "printed"),
        quantity="exponent in L of the distance of all parameters from the dynamics with the printed adjoint, L ≥ 16",
    ),
)

STUDIES = (
    Study(
        "training-limit",
        title="Networks train like their limit",
        text=(
            "The limiting training dynamics of appendix A.5 is integrated by continuous backpropagation and compared with networks"
            " of finite depth that start from the same Gaussian-process weights (tanh, q = d + d′, A and B trained, inputs on the"
            " unit sphere, T = 1). The two sources of difference are taken apart: depth, by gradient flow (learning rate 0, the"
            " Runge–Kutta method in time), and the learning rate, by gradient descent at the largest depth."
            " The tolerance of ±0.1 on these exponents is ours; the paper states no rate.\n\n"
            "The paper prints the adjoint equation without its minus sign and its transpose. Integrated so, the dynamics differs from"
            " the trained networks by an amount that does not shrink with depth. At V = 0 the two agree, since d₁f = 0 there."
        ),
        tasks=_tasks,
        replicates=REPLICATES,
        figures=(
            Figure(
                "training-limit",
                "Distance to the limiting training dynamics",
                "Left: gradient flow approaches the limiting dynamics like 1/L, and stays away from the dynamics with the printed"
                " adjoint. Right: gradient descent approaches it like its learning rate.",
                _panels,
            ),
        ),
        claims=CLAIMS,
    ),
)
