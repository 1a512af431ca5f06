"""What is to be said of weights over depth before any statistic is taken of them.

Numbers that are not finite, weights that are 0 and layers that do not differ beyond rounding have no roughness and no order; an estimate
would be one of nothing, or of rounding. One function, `precheck`, sorts a stack of tensors; the verdicts on families, on one network
and on the blocks of a checkpoint all ask it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deeplimit.statistics.rounding import CURVED, Precision, doubles, in_range

if TYPE_CHECKING:
    from torch import Tensor

State = Literal["measurable", "empty", "not finite", "out of range", "zero", "tied", "straight"]

_LISTED, _PLACES = 6, 3


@dataclass(frozen=True)
class Precheck:
    """The state of the weights of one role at one depth.

    Args:
        state: the first that holds: `empty`: no entries; `not finite`: some are not numbers or infinite; `out of range`: of products, whose
            factors are too large or too small to be multiplied; `zero`: all are 0; `tied`: layers are equal up to rounding; `straight`:
            second differences over depth are rounding, as along a straight line or a curve that is smooth beyond the precision of the
            weights; `measurable`.
        reason: in words; empty where measurable.
        format: that the numbers are stored in, where rounding decides.
    """

    state: State
    reason: str = ""
    format: str = ""


@dataclass(frozen=True)
class Unit:
    """What rounding may do to a path over depth.

    Args:
        share: the square of one unit of rounding, beside the mean square of the path.
        name: of the format that the numbers behind it are stored in.
    """

    share: float
    name: str


def precheck(weights: Tensor, *, unit: Unit | None = None) -> Precheck:
    """Sort the weights of one role.

    Args:
        weights: `[E, L, *shape]`, of any type.
        unit: of rounding; read off the numbers unless given.

    >>> import torch
    >>> layers = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    >>> precheck(layers[None]).state, precheck(layers[:1].expand(1, 12, 30)).state
    ('measurable', 'tied')
    >>> ramp = layers[0] + torch.arange(12)[:, None] / 7 * layers[1]
    >>> precheck(ramp[None].bfloat16()).reason
    'second differences over depth are no larger than the rounding of bfloat16'
    """
    if weights.numel() == 0:
        return Precheck("empty", "there are no weights: a layer has no entries")
    wide = doubles(weights).reshape(*weights.shape[:2], -1)
    broken = (~wide.isfinite()).sum((0, 2))
    if broken.any():
        layers = broken.nonzero().flatten().tolist()
        return Precheck("not finite", f"{values(int(broken.sum()), 'the weights')}, in {listed('layer', layers)}")
    if not wide.any():
        return Precheck("zero", "every weight is 0")
    paths = in_range(wide)
    found = _unit(weights, paths) if unit is None else unit
    square = found.share * float(paths.square().mean())
    if weights.shape[1] > 1 and float((paths - paths.mean(1, keepdim=True)).square().mean()) <= square:
        return Precheck("tied", f"all layers are equal up to the rounding of {found.name}", found.name)
    second = paths[:, 2:] - 2 * paths[:, 1:-1] + paths[:, :-2]
    if second.numel() and float(second.square().mean()) <= CURVED * square:
        reason = f"second differences over depth are no larger than the rounding of {found.name}"
        return Precheck("straight", reason, found.name)
    return Precheck("measurable")


def not_finite(role: str, weights: Mapping[int, Tensor]) -> str:
    """What is not finite in weights `[E, L, *shape]` of some depths, in words; empty where all is.

    >>> import torch
    >>> weights = torch.zeros(1, 8, 3)
    >>> weights[0, 5:7, 1] = torch.nan
    >>> not_finite("W", {8: weights})
    '2 values of W are not finite: at depth 8, layers 5, 6 (run 0)'
    """
    counts = {
        (depth, run): {layer: int(count) for layer, count in enumerate(row) if count}
        for depth, tensor in sorted(weights.items())
        for run, row in enumerate((~doubles(tensor).isfinite()).reshape(*tensor.shape[:2], -1).sum(2).tolist())
    }
    places = [
        f"at depth {depth}, {listed('layer', list(row))} (run {run})" for (depth, run), row in counts.items() if row
    ]
    total = sum(sum(row.values()) for row in counts.values())
    more = [f"at {len(places) - _PLACES} more places"] if len(places) > _PLACES else []
    return f"{values(total, role)}: {'; '.join(places[:_PLACES] + more)}" if total else ""


def values(count: int, role: str) -> str:
    """`1 value of W is not finite`, `3 values of W are not finite`."""
    return f"{count} value{'' if count == 1 else 's'} of {role} {'is' if count == 1 else 'are'} not finite"


def listed(what: str, numbers: Sequence[int]) -> str:
    """Numbers in words, the first few of many.

    >>> listed("layer", [5]), listed("block", list(range(3, 12)))
    ('layer 5', 'blocks 3, 4, 5, 6, 7, 8 and 3 more')
    """
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return f"{what}{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers[:_LISTED]))}{more}"


def empty_layers(weights: Tensor) -> list[int]:
    """Layers of `[E, L, *shape]` in which every weight of every run is 0."""
    there = doubles(weights).transpose(0, 1).flatten(1).any(1)
    return [layer for layer, some in enumerate(there.tolist()) if not some]


def _unit(weights: Tensor, paths: Tensor) -> Unit:
    """Of rounding, as the weights are stored; `paths` are the same in float64, brought into range."""
    import torch

    seen = Precision()
    seen.add(torch.view_as_real(weights) if weights.is_complex() else weights)
    mean_square = float(paths.square().mean())
    unit = seen.unit(mean_square)
    if not (weights.is_floating_point() or weights.is_complex()) and weights.dtype != torch.bool:
        return Unit(max(unit, 1.0) / mean_square, "whole numbers")
    return Unit(unit / mean_square, seen.name)
