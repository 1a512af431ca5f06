"""Which directions of the residual stream blocks share, and the order of the blocks that can be read from it.

Two blocks are compared by the cosine between their maps of the residual stream (`profiles`), less the multiple of the identity in each.
Blocks that were trained together share directions, with cosines from 0.1 to 0.7, where random matrices have 0. The cosines fall with the
distance of two blocks in depth, even where weights of neighbours look independent entry by entry. So an order of the blocks has a
likelihood: after what belongs to single blocks is taken out (row means), and over all maps,

    X_jk = c − b |π_j − π_k| + noise of variance s²,

(a map counts by its mean cosine beside the spread of its cosines, so that maps that share nothing add no noise), and another order π is
more likely by Λ = b ΔT / s², T the sum of −X |π_j − π_k| over pairs, to be maximised by exchanges of two blocks. The direction of depth
cannot be read: an order and its reverse are equally likely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit.diagnosis.weights.sketches import identity_sketch

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.weights.profiles import Observed

SHARED, ABOVE = 0.06, 1.5
"""Median cosine from which a map's directions count as shared among the blocks; and in units of that of two random maps, √(2/entries)."""

SWAPS, WORTH = 3, 0.05
"""Exchanges that are tried one after the other, as long as each raises T by this share of it."""


def chance(entries: int) -> float:
    """Mean cosine up to which blocks may have nothing in common: ABOVE times that of two random maps of so many entries."""
    return ABOVE * math.sqrt(2 / entries)


def cosines(one: Observed) -> Tensor | None:
    """Between all blocks, `[L, L]`; None where a block has no direction."""
    import torch

    path = one.path - one.path.mean(1, keepdim=True) if one.width is None else one.path
    if one.width is not None:
        identity = identity_sketch(one.width)
        path = path - (path @ identity)[:, None] * identity
    sizes = path.norm(dim=1)
    if not bool((sizes > torch.finfo(path.dtype).eps * one.path.norm(dim=1)).all()):
        return None
    directions = path / sizes[:, None]
    table: Tensor = directions @ directions.T
    return table


@dataclass(frozen=True)
class Shares:
    """How much each block has in common with others, over all maps that share directions; the median block's is 1.

    Args:
        mean: with all others.
        nearest: with the one it shares most with.
    """

    mean: tuple[float, ...]
    nearest: tuple[float, ...]


def shared(tables: Sequence[Tensor], entries: Sequence[int]) -> Shares | None:
    """None where no map has directions in common; `entries` of each map."""
    levels = [max(SHARED, chance(count)) for count in entries]
    kept = [table for table, level in zip(tables, levels, strict=True) if float(_means(table).median()) >= level]
    if not kept:
        return None
    whole = sum(kept[1:], start=kept[0])
    mean, nearest = _means(whole), (whole - whole.diagonal().diag()).amax(1)
    return Shares(tuple((mean / mean.median()).tolist()), tuple((nearest / nearest.median()).tolist()))


@dataclass(frozen=True)
class Order:
    """The order of blocks that their cosines speak for.

    Args:
        order: the block that should stand at each place.
        explained: share of the variance of cosines that distances in this order explain.
        likelihood: Λ, the logarithm of its likelihood beside that of the order as it is.
    """

    order: tuple[int, ...]
    explained: float
    likelihood: float

    @property
    def moved(self) -> tuple[int, ...]:
        """Blocks that should stand elsewhere."""
        return tuple(place for place, block in enumerate(self.order) if place != block)


def order_of(tables: Sequence[Tensor], entries: Sequence[int]) -> Order | None:
    """The likeliest order that few exchanges lead to; None where nothing can be read from the cosines; `entries` of each map."""
    import torch

    parts = [
        _weight(table, chance(count)) * part
        for table, count in zip(tables, entries, strict=True)
        if (part := _interactions(table)) is not None
    ]
    if not parts or not any(bool(part.any()) for part in parts):
        return None
    whole = sum(parts[1:], start=parts[0])
    count = len(whole)
    places = torch.arange(count)
    nearness = -(places[:, None] - places).abs().double()
    order, before, after = _ordered(whole, nearness)
    rows, columns = torch.triu_indices(count, count, 1)
    values, near = whole[order][:, order][rows, columns], nearness[rows, columns]
    values, near = values - values.mean(), near - near.mean()
    slope = float(near @ values / near.square().sum())
    rest = float((values - slope * near).square().mean())
    explained = 1 - rest / float(values.square().mean())
    return Order(tuple(order), explained, slope * (after - before) / 2 / rest if rest > 0 else math.inf)


def _weight(table: Tensor, level: float) -> float:
    """Of a map: the median block's mean cosine beside the spread of cosines, where it is above chance."""
    import torch

    mean = float(_means(table).median())
    off = table[~torch.eye(len(table), dtype=torch.bool)]
    return mean / float(off.square().mean().sqrt()) if mean > level else 0.0


def _means(table: Tensor) -> Tensor:
    """Each block's mean cosine with the others."""
    return (table.sum(1) - table.diagonal()) / (len(table) - 1)


def _interactions(table: Tensor) -> Tensor | None:
    """Cosines off the diagonal without what belongs to single blocks, scaled to variance 1."""
    import torch

    count = len(table)
    off = 1 - torch.eye(count, dtype=table.dtype)
    part = table * off
    rows, mean = part.sum(1) / (count - 2), part.sum() / (count * (count - 1))
    rows = rows - mean * count / (2 * (count - 2))
    part = (part - rows[:, None] - rows) * off
    part = (part - part.sum() / (count * (count - 1))) * off
    size = float((part.square().sum() / (count * (count - 1))).sqrt())
    return part / size if size > 1e-9 else None


def _ordered(table: Tensor, nearness: Tensor) -> tuple[list[int], float, float]:
    """The best order, T before and T after."""
    order = list(range(len(table)))
    before = best = float((table * nearness).sum())
    for _ in range(SWAPS):
        gains = _gains(table[order][:, order], nearness)
        gain, place = float(gains.max()), int(gains.argmax())
        if gain <= WORTH * abs(best + gain):
            break
        best += gain
        i, j = divmod(place, len(order))
        order[i], order[j] = order[j], order[i]
    return order, before, best


def _gains(table: Tensor, nearness: Tensor) -> Tensor:
    """What T gains by an exchange of any two places, `[L, L]`; both matrices symmetric with zeros on the diagonal.

    2 Σ_{k ≠ i, j} (N_ik − N_jk)(X_jk − X_ik), for all i and j at once.
    """
    product = nearness @ table
    own = product.diagonal()
    return 2 * (product + product.T - own[:, None] - own + 2 * nearness * table)
