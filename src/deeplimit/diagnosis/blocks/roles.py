"""What each tensor of a block does: by shapes first, by names where shapes do not tell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from deeplimit.diagnosis.blocks.attention import Found, find_attention
from deeplimit.diagnosis.blocks.group import LeftOut, Pair, Part, Role, Use
from deeplimit.diagnosis.blocks.words import (
    ASIDE,
    BUFFER,
    FIRST,
    GATE,
    NORM,
    SCALE,
    SECOND,
    Stored,
    is_matrix,
    oriented,
    take_apart,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Roles:
    """The roles of a block, the pairs of them, the width of the stream, and what has no role."""

    roles: tuple[Role, ...]
    pairs: tuple[Pair, ...]
    stream: int | None
    left_out: tuple[LeftOut, ...]


def find_roles(
    tensors: Mapping[str, Shape], *, kinds: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
) -> Roles:
    """The roles of the tensors of one block.

    The width d of the stream is the size that most entries of the block's matrices and norms have for an axis; where convolutions are
    chained, what the first reads and the last writes. Queries, keys, values and outputs go by their names and shapes; of the matrices left,
    those that meet in m hidden units are pairs: `[m, d]` and `[d, m]` of the same submodule, or the only two of `[d, d]`.

    Args:
        tensors: suffix of the name -> shape, in the order of the file.
        kinds: suffix of a submodule -> name of its class.
        config: the model's configuration, for the number of heads where queries, keys and values are stored head by head.
    """
    turned = frozenset(path for path, kind in (kinds or {}).items() if kind == "Conv1D")
    everything = oriented(
        [take_apart(name, shape, order=at) for at, (name, shape) in enumerate(tensors.items())], turned
    )
    stored = [t for t in everything if not _buffer(t)]
    stream = stream_width(stored)
    matrices = [t for t in stored if t.matrix]
    found = find_attention(matrices, config or {})
    found += _find_units(_without(matrices, found), stream)
    found += _by_shape(_without(matrices, found), stream)
    found += _biases(_without(stored, found), found.roles, stream)
    found += _vectors(_without(stored, found), stored, stream)
    places = {suffix: at for at, suffix in enumerate(tensors)}
    roles = _unique(sorted(found.roles, key=lambda role: places[role.suffix]))
    masks = [LeftOut(t.suffix, "a mask or table, not a weight") for t in everything if _buffer(t)]
    return Roles(roles, tuple(found.pairs), stream, (*masks, *found.left_out))


def _buffer(tensor: Stored) -> bool:
    return bool(BUFFER.search(tensor.suffix)) or (tensor.leaf == "bias" and len(tensor.shape) > 2)


def _without(tensors: Sequence[Stored], found: Found) -> list[Stored]:
    used = found.used
    return [t for t in tensors if t.suffix not in used]


def _unique(roles: Sequence[Role]) -> tuple[Role, ...]:
    """Roles of bare suffixes where two have the same name; those of pairs never do."""
    counts = Counter(role.name for role in roles)
    return tuple(role if counts[role.name] == 1 else replace(role, name=role.suffix) for role in roles)


# --------------------------------------------------------------------------------------------------------------- stream


def stream_width(tensors: Sequence[Stored]) -> int | None:
    """The width of the residual stream that a block reads and writes; None where the shapes do not tell."""
    matrices = [t for t in tensors if t.sides]
    chained = _chained(matrices)
    votes = _votes(tensors)
    best = [size for size, count in votes.items() if count == max(votes.values())]
    if chained is not None or len(best) < 2:
        return chained or next(iter(best), None)
    first = min((t for t in matrices if set(t.sides) & set(best)), key=_place)
    return first.sides[1] if first.sides[1] in best else first.sides[0]


def _votes(tensors: Sequence[Stored]) -> Counter[int]:
    """Sizes of the axes of matrices, by the number of entries that have them; gains of norms add to those sizes."""
    votes = Counter[int]()
    for t in tensors:
        votes.update(dict.fromkeys(t.sides, math.prod(t.shape)))
    gains = [t.shape[0] for t in tensors if t.leaf in ("weight", "gain") and len(t.shape) == 1]
    for size in gains:
        votes[size] += size if size in votes else 0
    return votes


def _chained(matrices: Sequence[Stored]) -> int | None:
    """What the first of a chain reads and the last one writes, in the order of names, else in that of the file.

    Matrices without a kernel among them are a chain where there are three or more and each one reads what the one before it writes.
    """
    chains = [sorted(matrices, key=lambda t: t.natural), sorted(matrices, key=lambda t: t.order)]
    if not any(t.kernel for t in matrices):
        chains = [chain for chain in chains if len(chain) > 2 and _linked(chain)]
    return next((chain[0].sides[1] for chain in chains if chain and chain[0].sides[1] == chain[-1].sides[0]), None)


def _linked(chain: Sequence[Stored]) -> bool:
    return all(one.sides[0] == other.sides[1] for one, other in pairwise(chain))


def _place(tensor: Stored) -> tuple[int, tuple[tuple[int, int, str], ...], int]:
    """A key that sorts what reads the stream before what writes to it: by name, by number, by order in the file."""
    words = {word.lower() for word in tensor.path[-2:]}
    rank = 0 if words & FIRST and not words & SECOND else 2 if words & SECOND and not words & FIRST else 1
    numbers = tuple(part for part in tensor.natural if part[0] == 0)
    return rank, numbers, tensor.order


# --------------------------------------------------------------------------------------------------------- hidden units


@dataclass(frozen=True)
class _Units:
    """Matrices that meet in m hidden units: some read the stream, one writes to it."""

    reads: tuple[Stored, ...]
    writes: Stored

    @property
    def part(self) -> Part:
        return _part(self.writes) if self.writes.kernel else "mlp"


def _find_units(free: Sequence[Stored], stream: int | None) -> Found:
    """Pairs of a perceptron or of two convolutions among the matrices that are not attention."""
    able = [t for t in free if not t.depthwise and not t.expert and not ASIDE & {word.lower() for word in t.path}]
    uses = {t: _use(t, stream) for t in able}
    reads, writes, squares, mixing = (
        [t for t in able if uses[t] == use] for use in ("reads", "writes", "stream", "hidden")
    )
    if len(squares) == 2 and not reads and not writes and len(squares[0].shape) == len(squares[1].shape):
        first, second = sorted(squares, key=_place)
        return _named([_Units((first,), second)])
    sizes = {t.shape[0] for t in mixing}
    barred = [t for t in writes if t.shape[1] in sizes]
    reason = "no pair: other weights mix its {} hidden units with those that the stream is read to"
    notes = [LeftOut(t.suffix, reason.format(t.shape[1])) for t in barred]
    return _named(list(_matched(reads, [t for t in writes if t not in barred]))) + Found(left_out=notes)


def _matched(reads: Sequence[Stored], writes: Sequence[Stored]) -> Iterator[_Units]:
    """What writes, with what reads for it: of a fitting size, and with the most words of the name in common."""
    used: set[Stored] = set()
    for words in reversed(range(max((len(t.path) for t in writes), default=0) + 1)):
        near = _by_name([(t, size) for t in reads for size in (t.shape[0], t.shape[0] / 2)], words)
        for key, rivals in _by_name([(t, t.shape[1]) for t in writes], words).items():
            partners = [t for t in near.get(key, ()) if t not in used]
            rivals = [t for t in rivals if t not in used]
            if partners:
                used.update(partners, rivals)
                yield from _paired(partners, rivals)


def _by_name(tensors: Sequence[tuple[Stored, float]], words: int) -> dict[tuple[object, ...], list[Stored]]:
    """The tensors with the same first words of their names, the same number of hidden units and of axes."""
    found: dict[tuple[object, ...], list[Stored]] = {}
    for tensor, size in tensors:
        if len(tensor.path[:-1]) >= words:
            found.setdefault((tensor.path[:words], size, len(tensor.shape)), []).append(tensor)
    return found


def _paired(reads: Sequence[Stored], writes: Sequence[Stored]) -> Iterator[_Units]:
    """One for one in the order of names and numbers, or two that read and one that writes; else nothing."""
    if len(reads) == len(writes):
        pairs = zip(sorted(reads, key=_place), sorted(writes, key=_place), strict=True)
        yield from (_Units((first,), second) for first, second in pairs)
    elif len(writes) == 1 and [t.shape for t in reads] == [reads[0].shape] * 2:
        yield _Units(tuple(reads), writes[0])


def _common(one: Stored, other: Stored) -> int:
    """How many words the names of two submodules have in common."""
    pairs = list(zip(one.path[:-1], other.path[:-1], strict=False))
    return next((at for at, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _named(units: Sequence[_Units]) -> Found:
    """Roles and pairs, called `mlp` or `convolutions` where there is one, by their submodule where there are several."""
    counts = Counter(found.part for found in units)
    labels = [_label(found) if counts[found.part] > 1 else "" for found in units]
    found = Found()
    for unit, label in zip(units, labels, strict=True):
        found += _unit(unit, f"{unit.part}.{label}" if label else "mlp" if unit.part == "mlp" else "convolutions")
    return found


def _label(units: _Units) -> str:
    return ".".join(units.writes.path[: _common(units.reads[0], units.writes)]) or units.writes.path[0]


def _unit(units: _Units, name: str) -> Found:
    part, down = units.part, units.writes
    last = _role(down, _called(down, f"{name}.down", part), part, "writes")
    m = down.shape[1]
    if units.reads[0].shape[0] == 2 * m:
        fused = units.reads[0]
        shape = (m, *fused.shape[1:])
        halves = {"gate": ((0, m),), "up": ((m, 2 * m),)}
        first = [
            replace(_role(fused, f"{name}.{key}", part, "reads"), shape=shape, rows=rows)
            for key, rows in halves.items()
        ]
    else:
        first = [_role(t, _called(t, f"{name}.{key}", part), part, "reads") for key, t in _gated(units.reads)]
    names = [name] if len(first) == 1 else [f"{name}.gated", name]  # not as the role
    pairs = [Pair(called, part, role.name, last.name) for called, role in zip(names, first, strict=True)]
    return Found([*first, last], pairs)


def _gated(reads: Sequence[Stored]) -> list[tuple[str, Stored]]:
    """`up`, or `gate` and `up`."""
    ordered = sorted(reads, key=lambda t: (t.last not in GATE, _place(t)))
    return list(zip(["gate", "up"][-len(ordered) :], ordered, strict=True))


def _called(tensor: Stored, name: str, part: Part) -> str:
    """Bare parameters and kernels keep their own names."""
    if part == "convolution":
        return ".".join(tensor.path)
    return tensor.suffix if not tensor.leaf and len(tensor.path) == 1 else name


def _role(tensor: Stored, name: str, part: Part, use: Use) -> Role:
    return Role(name, part, use, tensor.suffix, tensor.shape, transposed=tensor.transposed)


# ----------------------------------------------------------------------------------------------------------- the others


def _by_shape(matrices: Sequence[Stored], stream: int | None) -> Found:
    """Matrices that are no part of a pair."""
    notes = [LeftOut(t.suffix, "its axes are not [out, in]: no part of a pair") for t in matrices if t.foreign]
    return Found([_role(t, _plain(t), _part(t), _use(t, stream)) for t in matrices], left_out=notes)


def _plain(tensor: Stored) -> str:
    return ".".join(tensor.path) or tensor.suffix or "weight"


def _part(tensor: Stored) -> Part:
    words = "/".join(tensor.path).lower()
    if "att" in words:
        return "attention"
    if any(word in words for word in ("mlp", "ffn", "feed", "expert")):
        return "mlp"
    return "convolution" if tensor.kernel else "other"


def _use(tensor: Stored, stream: int | None) -> Use:
    if tensor.depthwise or not (len(tensor.shape) == 2 or tensor.kernel):
        return "other"
    rows, columns = tensor.shape[:2]
    if stream == columns:
        return "stream" if rows == stream else "reads"
    if stream == rows:
        return "writes"
    return "hidden" if rows == columns else "other"


def _biases(vectors: Sequence[Stored], roles: Sequence[Role], stream: int | None) -> Found:
    """Biases of the matrices with a role: beside them by path, or named `b`, `c` in a block of bare matrices."""
    owners: dict[tuple[str, ...], list[Role]] = {}
    for role in roles:
        owners.setdefault(take_apart(role.suffix, role.shape).path, []).append(role)
    found = Found()
    for vector in vectors:
        if vector.leaf == "bias" and len(vector.shape) == 1:
            found += Found([_bias(vector, role) for role in owners.get(vector.path, ())])
        elif vector.suffix in ("b", "c", "bias"):
            found += Found([_bare_bias(vector, roles, stream)])
    return found


def _bias(vector: Stored, role: Role) -> Role:
    use: Use = "hidden bias" if role.use in ("reads", "hidden") else "bias" if role.use != "other" else "other"
    shape = (role.shape[0],) if role.rows else vector.shape
    name = f"{role.name}.bias" if vector.path else vector.suffix
    return Role(name, role.part, use, vector.suffix, shape, rows=role.rows)


def _bare_bias(vector: Stored, roles: Sequence[Role], stream: int | None) -> Role:
    reads = [role for role in roles if role.use == "reads" and vector.shape == role.shape[:1]]
    inner = bool(reads) and (vector.shape != (stream,) or vector.suffix != "c")
    return Role(
        vector.suffix, "mlp" if reads else "other", "hidden bias" if inner else "bias", vector.suffix, vector.shape
    )


def _vectors(vectors: Sequence[Stored], block: Sequence[Stored], stream: int | None) -> Found:
    """Norms, scales of branches, and whatever else is no matrix."""
    norms = [t for t in vectors if _is_norm(t, block)]
    inner = _inner_norms(norms, block, stream)
    found = [_norm(t, stream, inner=t.path in inner) for t in norms]
    return Found(found + [_scale_or_other(t, stream) for t in vectors if t not in norms])


def _is_norm(tensor: Stored, block: Sequence[Stored]) -> bool:
    """Named like a norm, or with a vector for its weight, or with averages or a shift beside it."""
    if not tensor.leaf:
        return bool(NORM.search(tensor.last)) and not is_matrix(tensor.shape)
    beside = {t.leaf for t in block if t.path == tensor.path}
    weight = any(t.leaf == "weight" and not t.matrix for t in block if t.path == tensor.path)
    return weight or bool(beside & {"average", "shift"}) or bool(NORM.search(tensor.last))


def _norm(tensor: Stored, stream: int | None, *, inner: bool) -> Role:
    names = {"weight": "gain", "gain": "gain", "": "gain", "bias": "bias", "shift": "bias"}
    kind = names.get(tensor.leaf)
    use: Use = "other"
    if kind is not None and inner:
        use = "hidden bias"
    elif kind is not None and tensor.shape == (stream,):
        use = "gain" if kind == "gain" else "bias"
    path = ".".join(tensor.path) or "norm"
    return Role(f"{path}.{kind}" if kind else tensor.suffix, "norm", use, tensor.suffix, tensor.shape)


def _inner_norms(norms: Sequence[Stored], block: Sequence[Stored], stream: int | None) -> set[tuple[str, ...]]:
    """Norms on hidden units: of another size than the stream; of two convolutions of equal size, the one between them.

    That is the second one where they take turns, norm first (pre-activation), and else, as in a file sorted by name, the first.
    """
    hidden = {t.shape[:1] for t in block if t.matrix and t.shape[0] != stream}
    paths = sorted({t.path: t for t in norms}.values(), key=lambda t: t.natural)
    kernels = [t.order for t in block if t.kernel and not t.depthwise]
    if len(kernels) == 2 and [t.shape for t in paths] == [(stream,)] * 2:
        first, second = (min(t.order for t in norms if t.path == norm.path) for norm in paths)
        before = first < min(kernels) < second < max(kernels)
        return {paths[1].path if before else paths[0].path}
    return {t.path for t in norms if t.shape in hidden}


def _scale_or_other(tensor: Stored, stream: int | None) -> Role:
    named = any(SCALE.match(word) for word in tensor.path[-2:]) or tensor.leaf == "gain"
    fits = tensor.shape in ((), (1,), (stream,)) or [size for size in tensor.shape if size > 1] == [stream]
    if named and fits:
        return Role(".".join(tensor.path), "scale", "scale", tensor.suffix, tensor.shape)
    return Role(tensor.suffix or "value", _part(tensor), "other", tensor.suffix, tensor.shape)
