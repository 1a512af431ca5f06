"""The verdict on the function: does the network converge as it is made deeper, and to what?

Rough weights do not mean that there is no ODE: independent layers of a small enough size average out, and the network follows an ODE of
the mean, the same for every draw. So the function is judged by what it does: on fixed inputs, the way its states take through depth, its
outputs at L and 2L, and their spread over runs. The verdict on weights only names which ODE it is.

Every number below is a slope in log L over at least 4 depths, with a t-interval over runs.

- displacement ‖h_L − h_0‖: grows (explodes), falls (the identity), or neither.
- variation Σ_k ‖h_{k+1} − h_k‖² beside the squared displacement: −1 along a path with a velocity (an ODE of any kind), 0 along a diffusion.
- nonlinearity ‖σ(z) − σ(0) − σ′(0) z‖ / ‖σ(z) − σ(0)‖ in the layers: falls where only σ′(0) survives (the alternative, linear ODE).
- spread: standard deviation of the outputs over runs, beside their size. Falls: the limit is the same for every draw.
- distance ‖F^L − F^{2L}‖ of the same run at successive depths, beside their size. Falls: that run converges.

Spread and distance that are below a hundredth of the outputs at every depth count as fallen, whatever their slope.

Reference: Cohen et al. 2021 (regimes); Marion et al. 2024 (neural ODE); Chizat 2025, arXiv 2509.10167 (mean ODE, rate 1/L + √D/√(LM)).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from deeplimit.claims import Measured
from deeplimit.fits import ConvergenceLaw, convergence_law, half_width
from deeplimit.regimes.precheck import listed, not_finite
from deeplimit.regimes.weights import WeightVerdict, said

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.regimes.observe import Passage, Runs

FunctionLabel = Literal[
    "neural ODE",
    "mean ODE",
    "linear ODE",
    "SDE",
    "ODE of the draw",
    "identity",
    "none",
    "undecided",
]
Draw = Literal["the same for every draw", "depends on the draw", "undecided"]
Learning = Literal["features", "lazy", "undecided"]

LEVEL = 0.95
FEWEST_DEPTHS, FEWEST_RUNS, SPAN = 4, 5, 8.0

FALLS = -0.15
"""A slope whose interval lies below this counts as a fall to 0; one that reaches 0 and lies above −0.25, as no fall."""
STEADY = -0.25
DIFFUSES = -0.5
"""Between the slopes of the variation along a diffusion, 0, and along an ODE, −1."""

NEGLIGIBLE = 0.01
"""Relative spread and distance of outputs below which functions are the same for all that training says."""

_TINY = 1e-300  # equal runs have a logarithm too


@dataclass(frozen=True)
class FunctionVerdict:
    """What the network's function becomes.

    Args:
        label: `neural ODE`: of smooth weights; `mean ODE`: of rough weights that average out, the same for every draw; `linear ODE`: the
            alternative ODE, in which σ acts through σ′(0) alone; `SDE`; `ODE of the draw`: an ODE, of rough weights, another for each
            draw; `identity`: the states do not move; `none`: no limit; `undecided`.
        draw: whether the limit is the same for every draw.
        learning: `lazy` where the relative movement of the weights in training vanishes with depth, `features` where it does not.
        reason, learning_reason: in words; for `undecided`, what is missing.
        slopes: quantity -> slope in log L with its interval.
        laws: `spread` and `distance` -> a + b·L^(−r), where there are 4 depths.
    """

    label: FunctionLabel
    draw: Draw
    learning: Learning
    reason: str
    learning_reason: str
    slopes: Mapping[str, Measured] = field(default_factory=dict)
    laws: Mapping[str, ConvergenceLaw] = field(default_factory=dict)


def judge_function(runs: Mapping[int, Runs], weights: Mapping[str, WeightVerdict]) -> FunctionVerdict:
    """The verdict on the function of trained (or untrained) networks.

    Args:
        runs: depth -> what was seen of the runs at that depth (`regimes.observe`), on the same inputs.
        weights: the verdicts on weights, by role.
    """
    learning, learning_reason = _learning(runs)
    missing = _broken(runs) or _missing(runs)
    if missing:
        return FunctionVerdict("undecided", "undecided", learning, missing, learning_reason)
    overflow = _overflow(runs)
    if overflow:
        return FunctionVerdict("none", "undecided", learning, overflow, learning_reason)
    if any(run.passage is not None and bool((run.passage.displacement == 0).any()) for run in runs.values()):
        return FunctionVerdict("identity", "undecided", learning, "states do not move at all", learning_reason)
    slopes, laws, sizes = _measure(runs)
    unknown = [name for name, slope in slopes.items() if not math.isfinite(slope.low + slope.high)]
    if unknown:
        reason = f"{' and '.join(unknown)} cannot be measured: at some depth it is 0, or too large for a number"
        return FunctionVerdict("undecided", "undecided", learning, reason, learning_reason)
    negligible = max(sizes.values()) < NEGLIGIBLE
    draw: Draw = "the same for every draw" if negligible else _draw(slopes["spread"])
    label, reason = _classify(slopes, weights, draw=draw, apart="" if negligible else _apart(slopes))
    if label in ("identity", "none", "undecided"):
        draw = "undecided"
    return FunctionVerdict(label, draw, learning, reason, learning_reason, slopes, laws)


def _classify(
    slopes: Mapping[str, Measured], weights: Mapping[str, WeightVerdict], *, draw: Draw, apart: str
) -> tuple[FunctionLabel, str]:
    moved, variation = slopes["displacement"], slopes["variation"]
    if moved.low > -STEADY:
        return "none", f"states move ever further with depth (exponent {said(moved)})"
    if moved.high < FALLS:
        return "identity", f"states move ever less with depth (exponent {said(moved)})"
    what = f"the quadratic variation of the states has exponent {said(variation)}"
    if variation.low > DIFFUSES and variation.high > STEADY:
        return "SDE", f"{what}: it does not fall with depth as along an ODE, where it is −1"
    if not variation.high < DIFFUSES:
        return "undecided", f"{what}: −1 is an ODE, 0 a diffusion"
    return _which_ode(slopes, weights, draw=draw, apart=apart)


def _which_ode(
    slopes: Mapping[str, Measured], weights: Mapping[str, WeightVerdict], *, draw: Draw, apart: str
) -> tuple[FunctionLabel, str]:
    """States follow a path with a velocity: an ODE, if the function converges, and of which kind?"""
    path = f"states follow a path with a velocity (their quadratic variation has exponent {said(slopes['variation'])})"
    if apart:
        return "undecided", f"{path}, yet {apart}"
    if "nonlinearity" in slopes and slopes["nonlinearity"].high < FALLS:
        return (
            "linear ODE",
            f"{path}, and only σ′(0) survives in the layers (nonlinearity falls as L^{said(slopes['nonlinearity'])})",
        )
    labels = {verdict.label for verdict in weights.values()} - {"undecided"}
    if not labels:
        return "undecided", f"{path}; which ODE it is depends on the weights, on which there is no verdict"
    if labels == {"hypothesis 1"}:
        return "neural ODE", f"{path}; the weights have a limit as functions of depth"
    return _rough_ode(f"{path}; weights are rough ({', '.join(sorted(labels - {'hypothesis 1'}))})", draw)


def _apart(slopes: Mapping[str, Measured]) -> str:
    """Which outputs move apart with depth; empty where none do."""
    for name, what in (("distance", "at successive depths"), ("spread", "of different draws")):
        if slopes[name].low > -STEADY:
            return f"outputs {what} move apart with depth (exponent {said(slopes[name])})"
    return ""


def _rough_ode(what: str, draw: Draw) -> tuple[FunctionLabel, str]:
    """Rough weights do not mean no ODE: do they average out?"""
    if draw == "the same for every draw":
        return "mean ODE", f"{what}, and average out: outputs of different draws approach each other"
    if draw == "depends on the draw":
        return "ODE of the draw", f"{what}, and outputs of different draws do not approach each other"
    return "undecided", f"{what}; whether outputs of different draws approach each other is not clear"


def _draw(spread: Measured) -> Draw:
    if spread.high < FALLS:
        return "the same for every draw"
    return "depends on the draw" if spread.low > STEADY else "undecided"


def _learning(runs: Mapping[int, Runs]) -> tuple[Learning, str]:
    """Whether the weights' relative movement in training survives depth."""
    moved = {depth: seen.movement for depth, seen in sorted(runs.items()) if seen.movement is not None}
    if len(moved) < 3 or max(moved) < 4 * min(moved):
        return "undecided", "needs the weights before training at 3 depths that span a factor 4"
    slope = _slope({depth: values for depth, values in moved.items() if values is not None})
    if not math.isfinite(slope.low + slope.high):
        return "undecided", "relative movement of the weights is 0, or not finite, in some run"
    if slope.high < FALLS:
        return "lazy", f"relative movement of the weights vanishes with depth (exponent {said(slope)})"
    if slope.low > STEADY:
        return "features", f"relative movement of the weights does not vanish with depth (exponent {said(slope)})"
    return "undecided", f"relative movement of the weights has an unclear exponent in depth, {said(slope)}"


def _broken(runs: Mapping[int, Runs]) -> str:
    """What is not finite in weights and inputs, in words; empty where all is."""
    roles = dict.fromkeys(role for seen in runs.values() for role in seen.weights)
    parts = [
        not_finite(role, {depth: seen.weights[role] for depth, seen in runs.items() if role in seen.weights})
        for role in roles
    ]
    inputs = [depth for depth, seen in sorted(runs.items()) if seen.passage is not None and 0 in _reach(seen.passage)]
    parts += [f"the states that enter are not finite, at {listed('depth', inputs)}"] if inputs else []
    return "; ".join(filter(None, parts))


def _overflow(runs: Mapping[int, Runs]) -> str:
    """Where states, or their squares, are too large for a number, in words; empty where none are."""
    for depth, seen in sorted(runs.items()):
        for run, count in enumerate(_reach(seen.passage) if seen.passage is not None else ()):
            if count <= depth:
                return f"states overflow: after layer {count - 1} of depth {depth} they are not finite (run {run})"
    return ""


def _reach(passage: Passage) -> list[int]:
    found: list[int] = [] if passage.finite is None else passage.finite.tolist()
    return found


def _missing(runs: Mapping[int, Runs]) -> str:
    depths = sorted(depth for depth, seen in runs.items() if seen.passage is not None)
    if len(depths) < FEWEST_DEPTHS or depths[-1] < SPAN * depths[0]:
        found = ", ".join(map(str, depths)) or "none"
        return f"needs the function at {FEWEST_DEPTHS} depths that span a factor {SPAN:g}; has it at {found}"
    counts = {runs[depth].count for depth in depths}
    if len(counts) > 1 or min(counts) < FEWEST_RUNS:
        return f"needs {FEWEST_RUNS} runs, as many at every depth; has {', '.join(map(str, sorted(counts)))}"
    return ""


def _measure(
    runs: Mapping[int, Runs],
) -> tuple[dict[str, Measured], dict[str, ConvergenceLaw], dict[str, float]]:
    """Slopes of all quantities, the laws with a limit value, and the largest spread and distance at any depth."""
    import torch

    seen = {depth: run.passage for depth, run in sorted(runs.items()) if run.passage is not None}
    curves = {
        "displacement": {d: p.displacement for d, p in seen.items()},
        "variation": {d: p.variation / p.displacement.square() for d, p in seen.items()},
        "spread": {d: _spread(p.outputs) for d, p in seen.items()},
        "distance": {a: _distance(seen[a].outputs, seen[b].outputs) for a, b in itertools.pairwise(seen)},
    }
    if all(p.nonlinearity is not None for p in seen.values()):
        curves["nonlinearity"] = {d: p.nonlinearity for d, p in seen.items() if p.nonlinearity is not None}
    slopes = {name: _slope(curve) for name, curve in curves.items()}
    laws, sizes = {}, {}
    for name in ("spread", "distance"):
        sizes[name] = max(float(values.mean()) for values in curves[name].values())
        means = torch.stack(list(curves[name].values())).mean(1)
        if len(means) >= 4 and bool(means.isfinite().all()):
            laws[name] = convergence_law(list(curves[name]), means.tolist())
    return slopes, laws, sizes


def _spread(outputs: Tensor) -> Tensor:
    """Each run's distance from the mean over runs, beside the size of all outputs: `[E, …]` to `[E]`."""
    size = outputs.double().square().mean().sqrt()
    deviation = (outputs.double() - outputs.double().mean(0)).flatten(1).square().mean(1).sqrt()
    return deviation.clamp_min(_TINY) / size


def _distance(shallow: Tensor, deep: Tensor) -> Tensor:
    """‖F^L − F^{2L}‖ of each run beside the size of all."""
    size = deep.double().square().mean().sqrt()
    return (shallow.double() - deep.double()).square().flatten(1).mean(1).sqrt().clamp_min(_TINY) / size


def _slope(curve: Mapping[int, Tensor]) -> Measured:
    """The slope in log L of each run, as a mean with its t-interval."""
    import torch

    depths = sorted(curve)
    x = torch.tensor(depths, dtype=torch.float64).log()
    y = torch.stack([curve[depth].double() for depth in depths]).log()
    slopes = ((x - x.mean()) / (x - x.mean()).square().sum()) @ y
    count = len(slopes)
    mean = float(slopes.mean())
    half = half_width(slopes, LEVEL) if count > 1 else math.inf
    return Measured(
        mean, mean - half, mean + half, count, f"slope in log L, L = {depths[0]} to {depths[-1]}; t-interval over runs"
    )
