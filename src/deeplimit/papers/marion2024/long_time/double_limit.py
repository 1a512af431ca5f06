"""Row 16 of the checklist: depth and time to infinity together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.measures import At, Comparison, Loss, Measure, StateDistance, WeightDistance
from deeplimit.measures.measure import Memory, Observation, View, per_layer_norm
from deeplimit.papers.marion2024.common import by_iteration, only, worst_exponent
from deeplimit.papers.marion2024.finite_time import REPLICATES, guide, seed_band
from deeplimit.papers.marion2024.long_time.strict import claim, largest_of, strict, strict_data
from deeplimit.study import Study, Tiered
from deeplimit.training import GradientFlow

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.networks import Parameters

NAMES = {"embedding": "A", "readout": "B", "Z": "layers"}


@dataclass(frozen=True)
class Settling(Measure):
    """How parameters come to rest: ‖A − A′‖_F, ‖B − B′‖_F and max over k of ‖Z_k − Z′_k‖ between two listed times.

    The norm of a layer is ‖V_k‖_F + ‖W_k‖_F (Marion et al. 2024, section 2). Quantities, NAME being `embedding`, `readout` or `Z`:
    `moved.NAME`, from the first listed time; `step.NAME`, from the one before; at the last one `rest.NAME`, from there to each earlier
    listed time, which is the index.

    Args:
        at: the iterations, in order.
    """

    at: At

    def watch(self, view: View, memory: Memory) -> None:
        """Keep the parameters of the listed iterations."""
        if view.iteration in self.at:
            memory.update({f"{view.iteration}/{role}": view.params[role] for role in view.network.trainable})

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The distances; `memory` holds the listed iterations before this one."""
        import torch

        earlier = [t for t in self.at.iterations if t < view.iteration]
        apart = [_apart(view, {role: memory[f"{t}/{role}"] for role in view.network.trainable}) for t in earlier]
        for name in NAMES if earlier else ():
            yield Observation(f"moved.{name}", apart[0][name])
            yield Observation(f"step.{name}", apart[-1][name])
            if view.iteration == self.at.iterations[-1]:
                yield Observation(f"rest.{name}", torch.stack([distances[name] for distances in apart], 1), earlier)


def _apart(view: View, others: Parameters) -> dict[str, Tensor]:
    """Distances of the parameters now from others, by name, `[E]` each."""
    import torch

    differences = {role: view.params[role] - other for role, other in others.items()}
    layers = torch.stack([per_layer_norm(differences[role]) for role in view.network.layer_roles]).sum(0)
    ends = {name: difference.flatten(1).norm(dim=1) for name, difference in differences.items() if name in NAMES}
    return ends | {"Z": layers.amax(1)}


DOUBLE_RATE = 0.05
DOUBLE_DEPTHS = (16, 32, 64, 128)
DOUBLE_INPUTS, DOUBLE_WIDTH, DOUBLE_TARGET = 6, 32, 0.3
DOUBLE_TIME = {4: 24.0, 8: 256.0}
"""Flow time by n: the 6 inputs are more than 4 samples, which A and B alone could interpolate, and fewer than 8."""

AT_REST = 1e-10
"""What is below this part of its first value is at rest: rounding, in the end."""


def _doublings(samples: int) -> At:
    """Iteration 0, and six that double up to the end."""
    last = round(DOUBLE_TIME[samples] / DOUBLE_RATE)
    return At((0, *(last // 2**k for k in range(5, -1, -1))))


def _double_measures(samples: int) -> tuple[Measure | Comparison, ...]:
    at = _doublings(samples)
    return (Loss(at, residuals=True), WeightDistance(at), StateDistance(at), Settling(at))


def _runs(rows: pl.DataFrame, quantity: str) -> list[list[float]]:
    """A quantity over the listed times, for every n, depth and seed."""
    own = only(rows, quantity=quantity).sort("iteration")
    return [part["value"].to_list() for part in own.partition_by("samples", "depth", "seed", maintain_order=True)]


def _last_factor(run: list[float]) -> float:
    """The factor of the last doubling; 0 where the run was at rest before."""
    return run[-1] / run[-2] if run[-2] > AT_REST * run[0] else 0.0


def _remaining(rows: pl.DataFrame) -> Measured:
    return largest_of([run[-1] / run[0] for run in _runs(rows, "residual")], "n, depths and seeds")


def _residual_factor(rows: pl.DataFrame) -> Measured:
    return largest_of([_last_factor(run) for run in _runs(rows, "residual")], "n, depths and seeds")


def _step_factor(rows: pl.DataFrame) -> Measured:
    factors = [_last_factor(run) for name in NAMES for run in _runs(rows, f"step.{name}")]
    return largest_of(factors, "A, B, layers, n, depths and seeds")


def _depth_exponent(quantity: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in L of the distance to the deepest network, fitted at every listed time and every n."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, quantity=quantity)
        groups = [part for n in sorted(own["samples"].unique()) for part in by_iteration(only(own, samples=n))]
        return worst_exponent(groups, reference=max(DOUBLE_DEPTHS))

    return measure


def _double_panels(rows: pl.DataFrame) -> list[Panel]:
    """Distances over depth at several times, residuals and steps over time, at the largest n."""
    n = max(rows["samples"])
    own, times = only(rows, samples=n), _doublings(n).iterations[-4:]
    distances = [_distance_curve(own, t) for t in times]
    residuals, steps = (
        [_in_time(only(own, quantity=quantity, depth=L), f"L = {L}") for L in DOUBLE_DEPTHS]
        for quantity in ("residual", "step.Z")
    )
    ylabels = ("L² distance of V to the deepest", "max over i of ‖F(x_i) − y_i‖", "max over k of ‖Z_k(t) − Z_k(t/2)‖")
    return [
        Panel(
            [*distances, guide(distances[-1], -1.0)],
            "depth L",
            ylabels[0],
            title=f"n = {n}",
            xscale="log",
            yscale="log",
        ),
        Panel(residuals, "flow time t", ylabels[1], title="residuals", xscale="log", yscale="log"),
        Panel(steps, "flow time t", ylabels[2], title="steps of doubled times", xscale="log", yscale="log"),
    ]


def _distance_curve(rows: pl.DataFrame, iteration: int) -> Curve:
    own = only(rows, quantity="distance.l2.V", iteration=iteration)
    return seed_band(own, "depth", label=f"t = {DOUBLE_RATE * iteration:g}")


def _in_time(rows: pl.DataFrame, label: str) -> Curve:
    """The mean over seeds against flow time, after the start."""
    import polars as pl

    curve = seed_band(rows.filter(pl.col("iteration") > 0), "iteration", label=label)
    return Curve([DOUBLE_RATE * t for t in curve.x], curve.y, label)


def _depth_claim(name: str, what: str, *, quantity: str) -> Claim:
    return claim(
        f"16.depth-{name}",
        f"{what} converge as the depth grows, uniformly in time.",
        where="Theorem 6; Prop. 15",
        quantity=f"exponent in L of {quantity}, at six times that double; the theorem states no rate: −1/2 would do",
        measure=_depth_exponent(f"distance.{name}"),
        expected=-0.5,
        minimum_sample=5,
    )


DOUBLE = Study(
    "double-limit",
    title="Depth and time to infinity together",
    text=(
        "Networks of depth 16 to 128 from the same draw advance together in the setting of Theorem 6 (d = 6, q = 7, m = 32, targets of"
        " scale 0.3), and are looked at at times that double. Four samples are fewer than inputs and train fast; eight (paper tier) are"
        " more, so that the layers have to do the rest. At each time the distance to the deepest network falls like 1/L, with a constant"
        " that stops growing; at each depth the residuals vanish and the parameters come to rest. The largest residual of a run can rise"
        " at first, while the loss falls, which is why the claim on it is about the last doubling."
    ),
    grid={"samples": Tiered(quick=(4,), paper=(4, 8)), "depth": DOUBLE_DEPTHS},
    lockstep=True,
    replicates=REPLICATES,
    network=lambda depth: strict(depth, inputs=DOUBLE_INPUTS, width=DOUBLE_WIDTH),
    data=lambda samples: strict_data(samples, inputs=DOUBLE_INPUTS, target=DOUBLE_TARGET),
    optimizer=GradientFlow(DOUBLE_RATE),
    iterations=lambda samples: _doublings(samples).iterations[-1],
    measures=_double_measures,
    figures=(
        Figure(
            "double-limit",
            "Depth and time together",
            "The distance to the deepest network falls like 1/L at every time; residuals and steps vanish at the same pace at every depth.",
            _double_panels,
        ),
    ),
    claims=(
        claim(
            "16.interpolation",
            "The limit in depth and time interpolates the data.",
            where="Theorem 6 (iv)",
            quantity="max over i of ‖F(x_i) − y_i‖ at the last time relative to the start, at every depth",
            measure=_remaining,
            expected=0.0,
            tolerance=1e-3,
        ),
        claim(
            "16.residuals",
            "The residuals still decrease at the last time, at every depth.",
            where="Theorem 6 (iv)",
            quantity="factor by which max over i of ‖F(x_i) − y_i‖ changes in the last doubling of the time",
            measure=_residual_factor,
            expected=0.5,
        ),
        claim(
            "16.time",
            "The parameters converge in time, uniformly in depth: the steps of doubled times shrink.",
            where="Theorem 6 (i), (ii)",
            quantity="‖θ(T) − θ(T/2)‖ relative to ‖θ(T/2) − θ(T/4)‖, of A, B and the layers (1 for a drift like log t)",
            measure=_step_factor,
            expected=0.5,
        ),
        _depth_claim("l2.V", "The weights V", quantity="the L² distance of V to the deepest network"),
        _depth_claim("l2.W", "The weights W", quantity="the L² distance of W to the deepest network"),
        _depth_claim(
            "states", "The hidden states", quantity="the largest distance of states to those of the deepest network"
        ),
    ),
)
