"""The limits of backpropagation (row 19): derivatives of the states against those of the limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit.branches import GELU, Activation, Tanh
from deeplimit.figures import Figure, Panel
from deeplimit.papers.cohen2021.limits.common import PATHS, REPLICATES, claim, panel, slope
from deeplimit.papers.cohen2021.limits.convergence import DEPTHS, SIZE, Convergence
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Backward:
    """One case of row 19.

    Args:
        activation: σ.
        alpha: α; β is 1 − α.
        noise: standard deviation of the noise.
        limit: one of those of `Convergence`.
        rate: at which derivatives are expected to converge.
    """

    activation: Activation
    alpha: float
    noise: float
    limit: str
    rate: float


BACKWARD = {
    "neural ODE, H1": Backward(Tanh(), 1.0, 0.0, "neural", 1.0),
    "neural ODE, H2": Backward(Tanh(), 1.0, SIZE, "neural", 1.0),
    "alternative, H1": Backward(Tanh(), 0.5, 0.0, "linear", 1.0),
    "alternative, H2": Backward(Tanh(), 0.5, SIZE, "linear", 0.5),
    "SDE, tanh": Backward(Tanh(), 0.0, SIZE, "sde", 0.5),
    "SDE, GELU": Backward(GELU(), 0.0, SIZE, "sde", 0.5),
}
DERIVATIVES = {"jacobian": "∂h_k/∂h_0", "gradient": "∂h_L/∂h_k"}
BACKWARD_DEPTHS = Tiered(quick=DEPTHS[:5], paper=DEPTHS[:6])


def _tasks(settings: Settings) -> Iterator[Task]:
    depths = settings.pick(BACKWARD_DEPTHS)
    for name, case in BACKWARD.items():
        yield Convergence(
            case.activation,
            alpha=case.alpha,
            beta=1 - case.alpha,
            noise=case.noise,
            limits=(case.limit,),
            seeds=settings.seeds(0),
            paths=settings.pick(PATHS),
            depths=depths,
            steps=8 * max(depths),
            derivatives=True,
            labels={"case": name},
        )


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """One panel for each derivative, a curve per case."""
    panels = []
    for what, symbol in DERIVATIVES.items():
        curves = {name: {"quantity": f"{what}.{case.limit}", "case": name} for name, case in BACKWARD.items()}
        panels.append(panel(rows, curves, slopes=[-case.rate for case in BACKWARD.values()], title=symbol))
    return panels


def _slug(case: str) -> str:
    return case.lower().replace(", ", "-").replace(" ", "-")


BACKPROPAGATION = Study(
    "limit-backward",
    title="The limits of backpropagation",
    text=(
        "Derivatives of the states of a network against those of its limit, which are integrated with it: ∂h_k/∂h_0 against J(k/L), and"
        " ∂h_L/∂h_k, which takes gradients back to layer k, against J(1) J(k/L)⁻¹. The alternative ODE has α = 1/2."
    ),
    tasks=_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "limit-backward",
            "Distance of derivatives to their limit",
            "Derivatives converge at the rates of the states.",
            _panels,
        ),
    ),
    claims=tuple(
        claim(
            f"19.{what}-{_slug(name)}",
            f"Case {name}: {symbol} tends to its limit at the rate of the states, {case.rate:g}.",
            quantity=f"exponent in L of the median of sup over k of the distance of {symbol} (Frobenius) from L = 16 on",
            measure=slope(f"{what}.{case.limit}", case=name),
            band=(-case.rate, 0.1),
        )
        for what, symbol in DERIVATIVES.items()
        for name, case in BACKWARD.items()
    ),
)
