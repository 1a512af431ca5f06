"""The verdict on weights: what they become, as functions of relative depth, when the network is made deeper.

Four numbers decide, none of them by eye. With A the weights of a role at depth L, Δ²A their second differences over depth (which do not see
a linear trend), and every slope one in log L:

1. concentration: slope of (Σ‖A_k‖²)² / Σ‖A_k‖⁴, the number of layers that carry the weights. 0: finitely many layers do (sparse).
2. jumps: the same of the increments A_k − A_{k−1}. 0: finitely many layers change (piecewise).
3. local roughness H: half the slope of log ‖Δ²A‖² in the log of the lag, at the two deepest networks. 0: white noise; in (0, 1):
   fractional; more: smooth. Where it drifts from one depth to the next, trend and noise are about to change places.
4. global roughness: minus half the slope of ‖Δ²A‖² / ‖A‖². For a path that has a limit it is H again; where the noise is as large as the
   weights themselves it is 0. And for white noise the slope of its total variance Σ_k: 0 for the increments of a Brownian motion, whatever
   the trend (hypothesis 2), 1 for independent layers of size 1.

Scaled increments alone cannot do it: for β < ½ they vanish under hypothesis 2 as well, at another rate.

Reference: Cohen et al. 2021, hypotheses 1 and 2; the rates under each are in `statistics.depth`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from deeplimit import checks
from deeplimit.claims import Measured
from deeplimit.fits import Exponent, half_width, power_law, power_law_over_seeds
from deeplimit.regimes.precheck import Precheck, empty_layers, listed, not_finite, precheck
from deeplimit.statistics.rounding import CURVED, FORMATS, doubles, exponent, in_range, rounding_of, shifted

if TYPE_CHECKING:
    from torch import Tensor

WeightLabel = Literal["hypothesis 1", "hypothesis 2", "i.i.d.-like", "piecewise", "sparse", "undecided"]

LEVEL = 0.99
"""Level of the intervals that decide: a verdict should be wrong far less often than one time in twenty."""

FEWEST_DEPTHS, SHALLOWEST, SPAN, GROUPS = 3, 8, 4.0, 10
"""Depths needed; the smallest that is used (second differences at lag 2 need 5); deepest over shallowest; groups of entries."""

WHITE = 0.07
"""Local roughness up to which noise counts as white; fractional Brownian motion of H = 0.1 is to be told from it."""

SMOOTH = 0.95
"""Local roughness from which weights count as smooth: 1½ at kinks, 2 without them."""

STEADY, STRAY = 0.1, 0.4
"""An exponent is 0 where its interval reaches within STEADY of 0 and lies within STRAY of it."""


@dataclass(frozen=True)
class Evidence:
    """The numbers behind a verdict on weights, each with its interval of level `LEVEL` (see the module)."""

    concentration: Measured
    jumps: Measured
    local_roughness: Measured
    roughness_drift: Measured
    global_roughness: Measured
    noise: Measured


@dataclass(frozen=True)
class WeightVerdict:
    """What the weights of one role become.

    Args:
        role: whose weights.
        label: `hypothesis 1`: L^β A has a continuous limit; `hypothesis 2`: a trend and the increments of a Brownian motion; `i.i.d.-like`:
            noise that does not vanish beside the weights, of another size than those increments; `piecewise`: finitely many jumps;
            `sparse`: finitely many layers carry the weights; `undecided`.
        reason: in words; for `undecided`, what is missing.
        beta: minus the exponent of the largest norm in L; under hypothesis 2, of the trend where it can be seen.
        roughness: local Hurst index at the deepest network; 1 and more is smooth.
        evidence: None where nothing could be measured.
    """

    role: str
    label: WeightLabel
    reason: str
    beta: Exponent | None = None
    roughness: Measured | None = None
    evidence: Evidence | None = None


def judge_weights(weights: Mapping[int, Tensor], role: str = "weights") -> WeightVerdict:
    """The verdict on one role.

    Args:
        weights: depth -> `[E, L, *shape]`, E runs (1 will do where a layer has at least 5 entries).
        role: its name.

    Raises:
        InputError: a tensor is not `[E, L, *shape]` with the L of its depth.

    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = {L: torch.randn(1, L, 10, 10, generator=generator) / L**0.5 for L in (16, 32, 64, 128)}
    >>> judge_weights(noise).label
    'hypothesis 2'
    >>> judge_weights({L: L**0.5 * A for L, A in noise.items()}).label
    'i.i.d.-like'
    >>> judge_weights({L: A.cumsum(1) for L, A in noise.items()}).label  # Brownian paths: rough, with a limit
    'hypothesis 1'
    """
    for depth, tensor in weights.items():
        checks.shape(f"{role} at depth {depth}", tuple(tensor.shape[:2]), (None, depth))
    weights = dict(sorted(weights.items()))
    unsound = not_finite(role, weights) or _nothing(role, weights) or _missing(weights)
    if unsound:
        return WeightVerdict(role, "undecided", unsound)
    states = {depth: precheck(weights[depth]) for depth in _used(weights)}
    rounded = {depth: found for depth, found in states.items() if found.state != "measurable"}
    measured = {depth: weights[depth] for depth in states if depth not in rounded}
    if rounded and _missing(measured):
        return _of_rounding(role, weights, rounded)
    verdict = _measured(role, weights, measured)
    return replace(verdict, reason="; ".join([verdict.reason, *_beside(weights, rounded)]))


def _measured(role: str, weights: Mapping[int, Tensor], measured: Mapping[int, Tensor]) -> WeightVerdict:
    """The verdict from the depths at which second differences are more than rounding."""
    evidence = measure_evidence(measured)
    label, reason = classify(evidence)
    beta = _norm_exponent(weights, "cumulative_sum") if label == "hypothesis 2" else None
    if beta is None or beta.high > 0.5:  # noise of size L^(−½) hides the trend from its sum once β ≥ ½
        beta = _norm_exponent(weights, "maximum")
    if _unknown(evidence):
        return WeightVerdict(role, label, reason, beta)
    return WeightVerdict(role, label, reason, beta, evidence.local_roughness, evidence)


def _nothing(role: str, weights: Mapping[int, Tensor]) -> str:
    """Whether the weights of a depth are none, or all 0, in words."""
    if not all(tensor.numel() for tensor in weights.values()):
        return f"{role} has no weights: a layer has no entries"
    zero = [depth for depth, tensor in weights.items() if len(empty_layers(tensor)) == depth]
    where = "" if len(zero) == len(weights) else f" at {listed('depth', zero)}"
    return f"every weight of {role} is 0{where}" if zero else ""


def _of_rounding(role: str, weights: Mapping[int, Tensor], rounded: Mapping[int, Precheck]) -> WeightVerdict:
    """Of weights that do not differ beyond rounding, at all depths or at so many that nothing is measured at the rest."""
    beta, deepest = _norm_exponent(weights, "maximum"), max(_used(weights))
    if all(found.state == "tied" for found in rounded.values()) and len(rounded) == len(_used(weights)):
        return WeightVerdict(
            role, "hypothesis 1", f"{rounded[deepest].reason} (tied): a constant function of depth", beta
        )
    reasons = "; ".join(dict.fromkeys(found.reason for found in rounded.values()))
    if len(rounded) == len(_used(weights)) or (deepest in rounded and rounded[deepest].format == FORMATS[-1]):
        return WeightVerdict(role, "hypothesis 1", f"{reasons}: roughness is not measured, and none is seen", beta)
    where, fall = f"{reasons} at {listed('depth', list(rounded))}", _least_fall(weights, rounded)
    if fall > 0.5 + STEADY:
        return WeightVerdict(
            role,
            "hypothesis 1",
            f"{where}: they fall at least as L^(−{fall:.2f}) beside the weights, faster than increments of a Brownian motion, L^(−½)",
            beta,
        )
    return WeightVerdict(role, "undecided", f"{where}, and {_missing(_without(weights, rounded))}", beta)


def _least_fall(weights: Mapping[int, Tensor], rounded: Mapping[int, Precheck]) -> float:
    """Minus the least exponent of second differences beside the weights, from the shallowest depth to the deepest; 0 if unknown."""
    shallowest, deepest = min(_used(weights)), max(_used(weights))
    if shallowest in rounded or deepest not in rounded or rounded[deepest].format not in FORMATS:
        return 0.0
    paths = in_range(weights[shallowest])
    share = float(_second(paths, 1).square().mean() / paths.square().mean())
    return math.log(share / (CURVED * rounding_of(rounded[deepest].format) ** 2)) / 2 / math.log(deepest / shallowest)


def _without(weights: Mapping[int, Tensor], rounded: Mapping[int, Precheck]) -> dict[int, Tensor]:
    return {depth: tensor for depth, tensor in weights.items() if depth not in rounded}


def _beside(weights: Mapping[int, Tensor], rounded: Mapping[int, Precheck]) -> list[str]:
    """What is said beside a verdict: depths that it does not stand on, and layers that are 0."""
    said = [f"{listed('depth', list(rounded))} left out: their differences are rounding"] if rounded else []
    layers = {depth: found for depth, tensor in weights.items() if (found := empty_layers(tensor))}
    if layers:
        deepest = max(layers)
        said.append(f"every weight is 0 in {listed('layer', layers[deepest])} at depth {deepest}")
    return said


def measure_evidence(weights: Mapping[int, Tensor]) -> Evidence:
    """The numbers of `Evidence`, with intervals over runs (5 or more at every depth) or over groups of entries.

    Args:
        weights: depth -> `[E, L, *shape]`; depths below `SHALLOWEST` are left out.
    """
    import torch

    depths = _used(weights)
    weights, _ = _ranged(weights)
    by_runs = min(len(weights[depth]) for depth in depths) >= 5
    features = [_features(_grouped(weights[depth], by_runs=by_runs)) for depth in depths]
    log_depth = torch.tensor(depths, dtype=torch.float64).log()
    line = (log_depth - log_depth.mean()) / (log_depth - log_depth.mean()).square().sum()

    def slope(*names: str) -> Tensor:
        """The slope of a feature, or of the ratio of two, of each group."""
        curves = torch.stack([f[names[0]] if len(names) == 1 else f[names[0]] / f[names[1]] for f in features])
        return line @ curves.log()

    near = [(f["coarse"] / f["fine"]).log2() / 2 for f in features[-2:]]
    over = f"{'runs' if by_runs else 'groups of entries'}, depths {depths[0]} to {depths[-1]}"
    return Evidence(
        _interval(slope("carriers"), over),
        _interval(slope("movers"), over),
        _interval((near[0] + near[1]) / 2, f"{over}; at the two deepest"),
        _interval(near[1] - near[0], f"{over}; from the second deepest to the deepest"),
        _interval(-slope("fine", "level") / 2, over),
        _interval(slope("noise"), over),
    )


def classify(evidence: Evidence) -> tuple[WeightLabel, str]:
    """The label and its reason in words."""
    roughness = evidence.local_roughness
    unknown = _unknown(evidence)
    if unknown:
        return "undecided", unknown
    few = _concentrated(evidence)
    if few is not None:
        return few
    if -WHITE < roughness.high < WHITE and roughness.low > -4 * WHITE:
        return _white(evidence)
    if roughness.low < WHITE and roughness.high > -WHITE:
        return "undecided", f"local roughness {said(roughness)} is compatible with white noise and with rough weights"
    return _coloured(evidence)


def _concentrated(evidence: Evidence) -> tuple[WeightLabel, str] | None:
    """Whether few layers carry the weights, or their changes; None where it is many."""
    tests: tuple[tuple[Measured, WeightLabel, str], ...] = (
        (evidence.concentration, "sparse", "layers that carry the weights"),
        (evidence.jumps, "piecewise", "layers at which the weights change"),
    )
    for number, label, what in tests:
        # A path with jumps has a local roughness of ½: smooth weights that move fast somewhere are no such path.
        if number.low >= 0.5 or (label == "piecewise" and evidence.local_roughness.low >= SMOOTH):
            continue
        if number.high < 0.5:
            return label, f"the number of {what} does not grow with depth (exponent {said(number)}, 1 if all did)"
        return "undecided", f"the number of {what} grows with depth at an unclear exponent, {said(number)}"
    return None


def _white(evidence: Evidence) -> tuple[WeightLabel, str]:
    """Neighbouring layers differ by white noise: of which size?"""
    noise, share = evidence.noise, evidence.global_roughness
    if _is_zero(noise):
        return "hypothesis 2", (
            f"neighbouring layers differ by white noise whose total variance neither grows nor falls with depth (exponent {said(noise)}): "
            "increments of a Brownian motion"
        )
    if noise.low > STEADY:
        return (
            "i.i.d.-like",
            f"neighbouring layers differ by white noise whose total variance grows with depth ({said(noise)})",
        )
    if noise.high < -STEADY and share.high < 2 * STEADY:
        return "i.i.d.-like", (
            f"the layers are white noise and little else at every depth, of total variance falling with depth ({said(noise)})"
        )
    if noise.high < -STEADY and share.low > STEADY:
        return (
            "hypothesis 1",
            f"what noise there is vanishes with depth, in total ({said(noise)}) and beside the weights",
        )
    return "undecided", f"white noise whose total variance changes with depth at an unclear exponent, {said(noise)}"


def _coloured(evidence: Evidence) -> tuple[WeightLabel, str]:
    """Neighbouring layers are related: does the relation survive a refinement in depth?"""
    near, far, drift = evidence.local_roughness, evidence.global_roughness, evidence.roughness_drift
    if near.low >= SMOOTH and far.low > SMOOTH:
        return (
            "hypothesis 1",
            f"weights become a smooth function of depth (distances shrink with exponent {said(far)})",
        )
    if near.value < SMOOTH and (drift.high < 0 or drift.low > STEADY):
        return "undecided", f"the roughness at fixed depth still changes from depth to depth, by {said(drift)}"
    if far.low < STEADY / 2 and (far.high < near.low or near.high < 0):
        return "i.i.d.-like", (
            f"neighbouring layers are related, but their distance beside the weights does not shrink with depth (exponent {said(far)}): "
            "noise with a memory of a fixed number of layers"
        )
    if far.low > 0 and _meet(near, far):
        return "hypothesis 1", (
            f"weights become a continuous function of depth of Hurst index {said(near)} at fixed depth, "
            f"{said(far)} from depth to depth"
        )
    return "undecided", f"roughness at fixed depth, {said(near)}, and from depth to depth, {said(far)}, do not agree"


def _meet(near: Measured, far: Measured) -> bool:
    return near.low - STEADY / 2 <= far.high and far.low <= near.high + STEADY / 2


def _missing(weights: Mapping[int, Tensor]) -> str:
    """What a verdict would need; empty where all is there."""
    depths = _used(weights)
    if len(depths) < FEWEST_DEPTHS or depths[-1] < SPAN * depths[0]:
        return (
            f"needs {FEWEST_DEPTHS} depths of at least {SHALLOWEST} layers that span a factor {SPAN:g}; "
            f"has {', '.join(map(str, depths)) or 'none'}"
        )
    paths = min(weights[depth][:, 0].numel() for depth in depths)
    if paths < 5:
        return f"needs 5 runs, or runs times entries of a layer of at least 5; has {paths}"
    return ""


def _unknown(evidence: Evidence) -> str:
    """Which numbers have no value, in words; empty where all have one."""
    names = [
        name.replace("_", " ") for name, found in vars(evidence).items() if not math.isfinite(found.low + found.high)
    ]
    if not names:
        return ""
    return f"{' and '.join(names[:2])} cannot be measured: some weights are 0 or do not change, at every layer or every second one"


def _used(weights: Mapping[int, Tensor]) -> list[int]:
    return sorted(depth for depth in weights if depth >= SHALLOWEST)


def _ranged(weights: Mapping[int, Tensor]) -> tuple[dict[int, Tensor], int]:
    """All in float64 and times one power of 2, which brings the largest into the range of fourth powers; and that power."""
    import torch

    wide = {depth: doubles(tensor) for depth, tensor in weights.items()}
    power = exponent(torch.stack([tensor.abs().max() for tensor in wide.values()]))
    return {depth: shifted(tensor, power) for depth, tensor in wide.items()}, power


def _grouped(weights: Tensor, *, by_runs: bool) -> list[Tensor]:
    """Groups of paths `[P, L]`: runs, or entries dealt out at random, always in the same way."""
    import torch

    paths = weights.double().flatten(2).transpose(1, 2) if weights.dim() > 2 else weights.double()[:, None]
    if by_runs:
        return list(paths)
    entries = paths.flatten(0, 1)
    order = torch.randperm(len(entries), generator=torch.Generator().manual_seed(0))
    return list(entries[order].tensor_split(min(GROUPS, len(entries))))


def _features(groups: list[Tensor]) -> dict[str, Tensor]:
    """Of each group, the sums that the evidence is made of."""
    import torch

    rows = []
    for paths in groups:
        square, move = paths.square().sum(0), paths.diff(dim=1).square().sum(0)
        fine, coarse = (_second(paths, lag).square().sum(0).mean() for lag in (1, 2))
        level = square.mean()
        rows.append((_carriers(square), _carriers(move), level, fine, coarse, fine * paths.shape[1]))
    names = ("carriers", "movers", "level", "fine", "coarse", "noise")
    columns = torch.tensor(rows, dtype=torch.float64).T
    return dict(zip(names, columns, strict=True))


def _carriers(squares: Tensor) -> Tensor:
    """(Σ x)² / Σ x²: n for n equal numbers, whatever zeros stand beside them."""
    return squares.sum().square() / squares.square().sum()


def _second(paths: Tensor, lag: int) -> Tensor:
    return paths[:, 2 * lag :] - 2 * paths[:, lag:-lag] + paths[:, : -2 * lag]


def _interval(values: Tensor, over: str) -> Measured:
    """The mean with its t-interval at `LEVEL`."""
    count, mean, half = len(values), float(values.mean()), half_width(values, LEVEL)
    return Measured(mean, mean - half, mean + half, count, f"{LEVEL:.0%} t-interval over {count} {over}")


def _norm_exponent(weights: Mapping[int, Tensor], statistic: str) -> Exponent | None:
    """β from the largest norm, or from the norm of the sum, over runs where there are several; None for weights that are 0."""
    from deeplimit.statistics import STATISTICS, Frobenius

    depths = _used(weights)
    weights, power = _ranged(weights)
    curves = [STATISTICS[statistic](weights[depth], Frobenius()).tolist() for depth in depths]
    if min(min(curve) for curve in curves) <= 0:
        return None
    runs = min(map(len, curves))
    by_run = {run: [curve[run] for curve in curves] for run in range(runs)}
    fit = power_law(depths, by_run[0]) if runs == 1 else power_law_over_seeds(depths, by_run)
    base, intercept = 1.0 if statistic == "cumulative_sum" else 0.0, fit.intercept - power * math.log(2)
    return Exponent(base - fit.value, base - fit.high, base - fit.low, fit.n, intercept, fit.residual, fit.sample)


def _is_zero(number: Measured) -> bool:
    return -STRAY < number.low < STEADY and -STEADY < number.high < STRAY


def said(number: Measured) -> str:
    """A number and its interval, in brackets."""
    return f"{number.value:.2f} [{number.low:.2f}, {number.high:.2f}]"
