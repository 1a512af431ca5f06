"""The verdict on the weights of one trained network: are they a function of depth?

Every role or pair that no permutation of hidden units changes is asked two things. Does the order of the blocks matter: is the ratio of
neighbours' distances to all distances smaller than in 99 of 100 random orders? And if it does, is the path smooth at the scale of a block,
by its pooled roughness? (`regimes.smoothness`, the same as for networks of several depths.) The labels:

    tied        all blocks are equal
    smooth      the order matters, and blocks change slowly from one to the next
    rough       the order matters, but neighbours differ by noise on top of a trend, or by a rough path
    no order    the blocks cannot be told from the same blocks in a random order
    mixed       some roles one, some another
    undecided   fewer than 6 blocks, or most roles undecided
"""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deeplimit.claims import Measured
from deeplimit.diagnosis.report import Verdict
from deeplimit.diagnosis.weights.profiles import UNFIT
from deeplimit.fits import half_width
from deeplimit.regimes.verdict import FEWEST
from deeplimit.regimes.weights import said
from deeplimit.statistics.roughness import EQUAL
from deeplimit.statistics.rounding import in_range

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.weights.profiles import Observed
    from deeplimit.regimes import Smoothness

NOTHING = ("zero", *UNFIT)
"""States of weights of which nothing is asked."""

ROLES = 3
"""Roles that are not finite and are named; of more, only the number is said."""

CHANGES = {
    "tied": "training the blocks apart",
    "smooth": "a start from independent layers, or steps so large that neighbouring blocks are pulled apart",
    "rough": "a start from equal layers and a multiplier of 1/L lead to smooth weights (Marion et al. 2024); a trained network cannot be "
    "made smooth",
    "no order": "a start from equal or slowly varying layers; longer training seldom brings an order about",
    "mixed": "looking at single roles: each has its own label below",
}


def judge_weights(observed: Sequence[Observed], depth: int) -> Verdict:
    """The verdict on a group of `depth` blocks, of which this was observed."""
    broken = not_finite(observed)
    if broken:
        return _undecided(broken, "finite weights")
    if depth < FEWEST:
        return _undecided(
            f"{depth} comparable blocks: an order among fewer than {FEWEST} says nothing", "a deeper network"
        )
    asked = [one for one in observed if one.decides]
    deciding = [one for one in asked if _order(one).state not in NOTHING]
    if not deciding:
        return _undecided(_no_role(observed, asked), "other roles (`--role`)")
    evidence = {f"{one.profile.name}: order ratio": order_ratio(one.path) for one in deciding if _order(one).ratio}
    evidence |= {
        f"{one.profile.name}: roughness": found for one in deciding if (found := _order(one).roughness) is not None
    }
    label, reason = _label(deciding, [one for one in observed if one.comparable and one not in deciding])
    if label == "undecided":
        return Verdict(label, reason, "more blocks, or other roles (`--role`)", evidence)
    return Verdict(label, reason, CHANGES[label], evidence)


def not_finite(observed: Sequence[Observed]) -> str:
    """What is not finite in the roles of a group, in words; empty where all is."""
    broken = [one.broken for one in observed if one.broken and one.profile.view == "raw"]
    more = [f"and values of {len(broken) - ROLES} more roles"] if len(broken) > ROLES else []
    return "; ".join(broken[:ROLES] + more)


def _order(one: Observed) -> Smoothness:
    assert one.profile.order is not None  # of 3 blocks and more
    return one.profile.order


def _no_role(observed: Sequence[Observed], asked: Sequence[Observed]) -> str:
    """Why no role decides."""
    if all(_order(one).state == "zero" for one in observed):
        return "every weight of every role is 0"
    zero = [one.profile.name for one in asked if _order(one).state == "zero"]
    others = [f"{one.profile.name}: {_order(one).reason}" for one in asked if _order(one).state != "zero"]
    why = "; ".join([*([f"{', '.join(zero)}: 0 in every block"] if zero else []), *others])
    return why or "no role can be compared from block to block"


def _label(deciding: Sequence[Observed], others: Sequence[Observed]) -> tuple[str, str]:
    by_label = _by_label(deciding)
    if set(by_label) == {"tied"}:  # maps of the stream: a gain or a bias may differ
        by_label |= {label: ones for label, ones in _by_label(others).items() if label not in ("tied", "undecided")}
    if set(by_label) == {"tied"}:
        return "tied", f"all blocks are equal up to rounding ({', '.join(one.profile.name for one in deciding)})"
    unclear = by_label.pop("undecided", [])
    if len(unclear) >= len(deciding) - len(unclear):
        return "undecided", f"{len(unclear)} of {len(deciding)} roles are undecided: {'; '.join(map(_why, unclear))}"
    if set(by_label) == {"tied", "smooth"}:  # equal blocks are smooth too
        by_label = {"smooth": by_label["smooth"] + by_label["tied"]}
    if len(by_label) > 1:
        parts = (f"{label}: {', '.join(one.profile.name for one in ones)}" for label, ones in by_label.items())
        return "mixed", "; ".join(parts)
    ((label, ones),) = by_label.items()
    return label, f"{_MEANS[label]} ({'; '.join(map(_why, ones))})"


def _by_label(roles: Sequence[Observed]) -> dict[str, list[Observed]]:
    found: dict[str, list[Observed]] = collections.defaultdict(list)
    for one in roles:
        found[_order(one).label].append(one)
    return found


_MEANS = {
    "smooth": "neighbouring blocks are close, and change slowly with depth",
    "rough": "neighbouring blocks share a trend, but differ by noise from one to the next",
    "no order": "neighbouring blocks are no closer to each other than blocks far apart",
}


def _why(one: Observed) -> str:
    order, name = _order(one), one.profile.name
    if order.ratio is None or order.p_value is None:
        return f"{name}: {order.reason}"
    what = f"{name}: order ratio {order.ratio:.2f} of 2, p = {order.p_value:.2g}"
    if order.label == "rough" and "noise_share" in one.profile.numbers:
        what += f", {1 - one.profile.numbers['noise_share']:.0%} of the variance over depth is trend"
    if order.reason:
        what += f", {order.reason}"
    return what if order.roughness is None else f"{what}, roughness {said(order.roughness)}"


def order_ratio(path: Tensor) -> Measured:
    """Σ‖A_k − A_{k−1}‖² / Σ‖A_k − mean‖² of a path `[L, P]`, near 2 for a random order, with its jackknife interval over blocks."""
    import torch

    count, path = len(path), in_range(path)
    whole = _ratio(path)
    if count < 4 or not math.isfinite(whole):
        return Measured(whole, -math.inf, math.inf, count, "too few blocks for an interval")
    keep = ~torch.eye(count, dtype=torch.bool)
    pseudo = [count * whole - (count - 1) * _ratio(path[row]) for row in keep]
    half = half_width(pseudo)
    return Measured(whole, max(0.0, whole - half), whole + half, count, f"95% jackknife over {count} blocks")


def _ratio(path: Tensor) -> float:
    total = float((path - path.mean(0)).square().sum())
    return float(path.diff(dim=0).square().sum()) / total if total > EQUAL * float(path.square().sum()) else 0.0


def _undecided(reason: str, change: str) -> Verdict:
    return Verdict("undecided", reason, change)
