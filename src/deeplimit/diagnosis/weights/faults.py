"""Single blocks that do not fit the others: dead, of another size, noisy, tied, out of order, or from another network.

Nothing is known of what a block should be but the other blocks. Sizes are compared with the blocks nearby: the residual of a block is the
logarithm of a norm less the median of those of the four nearest blocks. Directions are compared with all blocks (`seriation`).
"""

from __future__ import annotations

import collections
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deeplimit.diagnosis.report import Finding
from deeplimit.diagnosis.weights import seriation
from deeplimit.diagnosis.weights.profiles import MATRICES
from deeplimit.regimes.precheck import listed
from deeplimit.regimes.verdict import FEWEST

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.blocks.group import Group, Role
    from deeplimit.diagnosis.weights.profiles import Observed
    from deeplimit.diagnosis.weights.seriation import Shares

NEAREST = 4
"""Blocks that a block's size is compared with."""

FACTOR, END = 6.0, 1.5
"""A residual counts from FACTOR times the usual one on, as standard deviations go; the size of one part at both ends of a network, where
blocks differ for good reasons, from END times as much."""

SIZE = math.log(1.8)
"""Least residual that is another size."""

NOISE, MOST, NOISE_END, EVEN = (0.15, 0.1), (0.28, 0.08), 0.25, 0.65
"""Least residual of every one of n matrices that is noise on top, a + b/n; or of their mean, and then of every one; at both ends of every
one. Noise of a matrix's own norm makes it ½ log 2 = 0.35 for all of them: where one is above EVEN, the mean says nothing, and at the ends
all of them only with more directions than nearby. A first block is often larger, but not evenly."""

SUSPECT = 0.1
"""Change of shared directions, or of their number, that tells noise from a mere factor."""

DEAD, IDENTITY = 1e-3, 0.2
"""Size beside the blocks nearby below which a block is dead, or close to the identity."""

TIED = 1e-3
"""Distance of two neighbours, beside the median one, below which one is a copy of the other."""

FOREIGN, NEAREST_TOO, APART = 0.15, 0.1, 3.4
"""Share of the median block's cosine with the others below which a block is from elsewhere; at both ends, whose blocks share little, a
third of that, or NEAREST_TOO even of the nearest block's, and as many standard deviations below the blocks nearby."""

SURE, EXPLAINED = 5.0, 3.2
"""Least log-likelihood ratio of another order; least share of the variance of cosines that depth explains in it, times the depth."""

TINY = 1e-300
VOID = -math.log(TINY) / 2
"""A residual above this is beside blocks that are 0, and says nothing of the block."""


def find_faults(observed: Sequence[Observed], group: Group) -> tuple[Finding, ...]:
    """What stands out in the weights of a group, the strongest first; below 6 blocks only what is not finite, or 0 in all blocks.

    Of a block that is not finite nothing else is said.
    """
    broken = list(_not_finite(observed, group.depth))
    if group.depth < FEWEST:
        return tuple(broken + list(_zero(observed, group, ())))
    findings: list[Finding] = []
    maps = [one for one in observed if one.comparable and one.sound]
    tables = [(one, table) for one in maps if (table := seriation.cosines(one)) is not None]
    of_stream = [(table, one.path.shape[1]) for one, table in tables if _is_of_stream(one)]
    shared = seriation.shared([table for table, _ in of_stream], [entries for _, entries in of_stream])
    findings += _scaled(observed, group)
    findings += _zero(observed, group, findings)
    findings += _enlarged(observed, group, shared)
    findings += _tied(maps)
    odd = {block for finding in findings for block in finding.blocks}
    findings += _foreign(shared, odd)
    order = _disordered(tables, findings)
    moved = {block for finding in order for block in finding.blocks}
    # A block in another's place is of another size than those nearby as well: the order explains it.
    rest = [
        one for one in findings if one.kind not in ("scale", "rough", "identity") or not moved.issuperset(one.blocks)
    ]
    left = {block for finding in broken for block in finding.blocks}
    others = [one for one in rest + order if not left.intersection(one.blocks)]
    return tuple(broken + sorted(others, key=lambda found: -found.strength))


def residuals(values: Sequence[float]) -> list[float]:
    """Each value less the median of the nearest others; at equal distance those on both sides.

    >>> residuals([1.0, 2.0, 3.0, 9.0, 5.0, 6.0, 7.0])
    [-3.0, -2.0, -0.5, 5.0, -1.5, 0.0, 1.5]
    """
    found = []
    for block, value in enumerate(values):
        others = sorted((abs(block - other), other) for other in range(len(values)) if other != block)
        found.append(value - statistics.median(values[other] for _, other in others[:NEAREST]))
    return found


def _usual(rests: Sequence[float]) -> float:
    """The usual size of residuals, as a standard deviation: of normal ones it is 1.4826 times the median of their absolute values."""
    return 1.4826 * statistics.median(map(abs, rests))


def _threshold(rest: Sequence[float], least: float, *, end: float = END) -> list[float]:
    """From which size on a residual of each block counts."""
    middle = max(least, FACTOR * _usual(rest))
    return [middle * end if block in (0, len(rest) - 1) else middle for block in range(len(rest))]


def _not_finite(observed: Sequence[Observed], depth: int) -> Iterator[Finding]:
    for one in observed:
        broken = tuple(block for block in range(depth) if not one.finite[block])
        if broken and one.profile.view == "raw":
            yield Finding("not finite", broken, one.profile.name, one.broken, math.inf)


def _zero(observed: Sequence[Observed], group: Group, known: Sequence[Finding]) -> Iterator[Finding]:
    """Parts that write to the stream with weights that are 0, in blocks that are not smaller than those nearby, since these are 0 too."""
    norms = {one.profile.name: one.profile.curves["norm"] for one in observed if one.profile.view == "raw"}
    for where, roles in _writers(group).items():
        dead = {block for one in known if one.kind == "dead" and one.where == where for block in one.blocks}
        rows = enumerate(zip(*(norms[role.name] for role in roles), strict=True))
        blocks = tuple(block for block, row in rows if not any(row) and block not in dead)
        if blocks:
            said = f"{where} of {listed('block', blocks)} adds nothing to the stream: every weight that it writes with is 0"
            yield Finding("dead", blocks, where, said, VOID / SIZE)


def _writers(group: Group) -> dict[str, list[Role]]:
    """Part or norm -> the roles that what it adds to the stream comes from; a bias alone adds nothing of the input."""
    found: dict[str, list[Role]] = collections.defaultdict(list)
    for role in group.roles:
        if role.use in ("writes", "stream", "bias", "gain", "scale"):
            found[_outlet(role) if role.part == "norm" else role.part].append(role)
    return {where: roles for where, roles in found.items() if any(role.use != "bias" for role in roles)}


def _is_of_stream(one: Observed) -> bool:
    """Whether all blocks of a network may be expected to share its directions: not those of a few channels of an image."""
    return one.width is not None and len(one.profile.shape) == 2


# ------------------------------------------------------------------------------------------------------------------ size


def _log_norms(observed: Sequence[Observed], group: Group, *uses: str) -> dict[str, list[float]]:
    """Role -> logarithm of its norm in each block; without those that are 0 in all blocks, and tell nothing of one."""
    raw = [one.profile for one in observed if one.profile.view == "raw" and group.role(one.profile.name).use in uses]
    curves = {one.name: one.curves["norm"] for one in raw if any(norm > 0 for norm in one.curves["norm"])}
    return {name: _logs(norms) for name, norms in curves.items()}


def _logs(norms: Sequence[float]) -> list[float]:
    """Logarithms; of a norm that is not finite, the median."""
    usual = statistics.median(norm for norm in norms if math.isfinite(norm))
    return [math.log(max(norm if math.isfinite(norm) else usual, TINY)) for norm in norms]


def _outlets(observed: Sequence[Observed], group: Group) -> Iterator[tuple[str, list[list[float]]]]:
    """What a multiplier of a branch would be seen in: all that a part writes to the stream, or the gain of a norm.

    Beside what a part writes stands the ratio to what it reads: a block may be larger than others as a whole.
    """
    norms = _log_norms(observed, group, "writes", "stream", "bias", "gain", "reads")
    norms = {role.name: norms[role.name] for role in group.roles if role.name in norms and _is_outlet(role)}
    sets: dict[str, list[list[float]]] = collections.defaultdict(list)
    reads: dict[str, list[list[float]]] = collections.defaultdict(list)
    writes: dict[str, list[float]] = {}
    for role in [role for role in group.roles if role.name in norms]:
        if role.use == "reads":
            reads[role.part].append(norms[role.name])
            continue
        sets[_outlet(role) if role.part == "norm" else role.part].append(norms[role.name])
        if role.use in ("writes", "stream"):
            writes.setdefault(role.part, norms[role.name])
    for name, curves in sets.items():
        if name in reads and name in writes:
            read = [statistics.mean(column) for column in zip(*reads[name], strict=True)]
            curves.append(_beside(writes[name], read))
        yield name, curves


def _outlet(role: Role) -> str:
    """A norm by the name of its tensors."""
    return role.suffix.rpartition(".")[0]


def _beside(written: Sequence[float], read: Sequence[float]) -> list[float]:
    """Logarithm of the ratio in each block; of one that writes next to nothing, to what is usually read with: it is dead all the same."""
    dead, usual = statistics.median(written) + math.log(DEAD), statistics.median(read)
    return [own - (usual if own <= dead else other) for own, other in zip(written, read, strict=True)]


def _is_outlet(role: Role) -> bool:
    """All but the bias of a norm, which may have any size beside its gain."""
    return role.part != "norm" or role.use == "gain"


def _scaled(observed: Sequence[Observed], group: Group) -> list[Finding]:
    """Blocks in which all that leaves a branch is larger or smaller than nearby by a common factor."""
    found = []
    for where, curves in _outlets(observed, group):
        common = [_common(column) for column in zip(*map(residuals, curves), strict=True)]
        limits = _threshold(common, max(SIZE, _by_chance(group, "writes", "stream", part=where)))
        for block, (rest, limit) in enumerate(zip(common, limits, strict=True)):
            if abs(rest) >= limit and rest < VOID:
                found.append(_of_size(where, block, rest, strength=abs(rest) / limit))
    return found


def _by_chance(group: Group, *uses: str, part: str | None = None) -> float:
    """What the logarithm of the norm of the smallest of some matrices differs by from draw to draw, FACTOR times: of n entries 1/√(2n)."""
    sizes = [math.prod(role.shape) for role in group.roles if role.use in uses and part in (None, role.part)]
    return FACTOR / math.sqrt(2 * min(sizes)) if sizes else 0.0


def _common(rests: Sequence[float]) -> float:
    """The residual that all have in common: the smallest, where all have the same sign."""
    low, high = min(rests), max(rests)
    return low if low > 0 else high if high < 0 else 0.0


def _of_size(where: str, block: int, rest: float, *, strength: float) -> Finding:
    factor = math.exp(rest)
    if factor <= DEAD:
        return Finding("dead", (block,), where, f"{where} of block {block} adds nothing to the stream", strength)
    said = f"what {where} of block {block} adds is {factor:.2g} times the size of that of the blocks nearby"
    return Finding("identity" if factor <= IDENTITY else "scale", (block,), where, said, strength)


def _enlarged(observed: Sequence[Observed], group: Group, shared: Shares | None) -> list[Finding]:
    """Blocks all of whose matrices are larger than nearby: by noise, or by a factor."""
    norms = _log_norms(observed, group, *MATRICES)
    if not norms:
        return []
    columns = list(zip(*map(residuals, norms.values()), strict=True))
    wider = _wider([one for one in observed if one.profile.name in norms and one.profile.view == "raw"])
    apart = [0.0] * group.depth if shared is None else residuals(shared.mean)
    apart[0] = apart[-1] = 0.0  # blocks at the ends share less anyway
    least, by_chance = NOISE[0] + NOISE[1] / len(norms), _by_chance(group, *MATRICES)
    limits = _threshold([max(min(column), 0.0) for column in columns], max(least, by_chance), end=1.0)
    found = []
    for block, (column, limit) in enumerate(zip(columns, limits, strict=True)):
        at_end, more = block in (0, group.depth - 1), wider[block] >= SUSPECT
        strength = _at_end(column, limit, more=more) if at_end else _inside(column, limit, by_chance=by_chance)
        if strength >= 1 and min(column) < VOID:
            found.append(_larger(block, min(column), strength, noisy=more or apart[block] <= -SUSPECT))
    return found


def _wider(raw: Sequence[Observed]) -> list[float]:
    """Residual of the number of directions that carry a matrix, mean over matrices."""
    spread = [residuals(_logs(one.profile.curves["participation"])) for one in raw]
    return [statistics.mean(column) for column in zip(*spread, strict=True)]


def _at_end(column: Sequence[float], limit: float, *, more: bool) -> float:
    """Strength of residuals of all matrices of the first or last block; `more` directions than nearby."""
    return min(column) / max(limit, NOISE_END) if more or max(column) <= EVEN else 0.0


def _inside(column: Sequence[float], limit: float, *, by_chance: float) -> float:
    """The same of a block with others on both sides: every one, or their mean."""
    even = max(column) <= EVEN and min(column) >= MOST[1]
    return max(min(column) / limit, statistics.mean(column) / max(MOST[0], by_chance) if even else 0.0)


def _larger(block: int, rest: float, strength: float, *, noisy: bool) -> Finding:
    why = f"all matrices of block {block} are larger than nearby by {math.exp(rest):.2f} times or more"
    why += ", and have less in common with those of other blocks: noise on top" if noisy else ""
    return Finding("rough" if noisy else "scale", (block,), "all matrices", why, strength)


# ------------------------------------------------------------------------------------------------------------ directions


def _tied(maps: Sequence[Observed]) -> list[Finding]:
    """Neighbours that are equal where others are not."""
    ratios: list[list[float]] = []
    for one in maps:
        steps = one.path.diff(dim=0).norm(dim=1)
        usual = float(steps.median())
        if usual > 0 and one.profile.order is not None and one.profile.order.ratio:
            ratios.append((steps / usual).tolist())
    found = []
    for block, column in enumerate(zip(*ratios, strict=True)):
        if max(column) < TIED:
            why = f"blocks {block} and {block + 1} are equal, and other neighbours are not"
            found.append(Finding("tied", (block, block + 1), "all weights", why, TIED / max(max(column), TIED**2)))
    return found


def _foreign(shared: Shares | None, odd: set[int]) -> list[Finding]:
    """Blocks that have no direction of the stream in common with the others."""
    if shared is None:
        return []
    rests = residuals(shared.mean)
    usual = _usual(rests)
    found = []
    for block, (mean, nearest) in enumerate(zip(shared.mean, shared.nearest, strict=True)):
        if block in (0, len(shared.mean) - 1):
            alone = (mean < FOREIGN / 3 or max(mean, nearest) < NEAREST_TOO) and -rests[block] > APART * usual
        else:
            alone = mean < FOREIGN
        if alone and block not in odd:
            why = f"block {block} shares {max(mean, 0.0):.0%} as much of the stream's directions with others as the median block does"
            found.append(Finding("foreign", (block,), "all matrices", why, FOREIGN / max(mean, FOREIGN / 100)))
    return found


def _disordered(tables: Sequence[tuple[Observed, Tensor]], findings: Sequence[Finding]) -> list[Finding]:
    """Blocks that should stand elsewhere, by what they share with others; not asked where one of them shares nothing."""
    if any(finding.kind in ("dead", "tied", "foreign") for finding in findings):
        return []
    best = seriation.order_of([table for _, table in tables], [one.path.shape[1] for one, _ in tables])
    if best is None or not best.moved or best.likelihood < SURE or best.explained * len(best.order) < EXPLAINED:
        return []
    places = ", ".join(f"{best.order[place]} at {place}" for place in best.moved)
    why = f"blocks would fit better in another order: {places} (log-likelihood ratio {best.likelihood:.0f})"
    return [Finding("order", best.moved, "all weights", why, best.likelihood / SURE)]
