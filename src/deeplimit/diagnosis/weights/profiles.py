"""The statistics of a group of blocks over depth, from its weights alone, reading one tensor at a time.

Hidden units may stand in another order in every block without a change of the network's function. So each role and pair is looked at in up
to three views: `raw`, entry by entry as stored; `aligned`, after the hidden units of a block have been matched with those of the one before
it; `invariant`, through maps of the residual stream alone, on which a permutation has no effect: products W_out·W_in, and Gram matrices.
The verdict rests on what no permutation changes; the other views are shown beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from deeplimit.diagnosis.blocks.group import Role
from deeplimit.diagnosis.report import Profile
from deeplimit.diagnosis.weights import sketches
from deeplimit.diagnosis.weights.alignment import LARGEST, Aligner
from deeplimit.regimes import Smoothness, smoothness
from deeplimit.regimes.precheck import Unit, listed, values
from deeplimit.statistics.rounding import Precision, exponent, in_range, norm

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.blocks.group import Group, Pair
    from deeplimit.diagnosis.sources.source import Source

    Progress = Callable[[int, int], None]

MATRICES = ("reads", "writes", "stream", "hidden")
UNFIT = ("empty", "not finite", "out of range")
"""States of a path of which no statistic is taken."""

OF_STREAM = ("gain", "bias", "stream", "scale", "other")


@dataclass(frozen=True)
class Observed:
    """A profile with what stands behind it.

    Args:
        profile: its numbers.
        path: `[L, P]`, entries or a sketch of each block, in float64.
        decides: whether the verdict on weights may rest on it.
        finite: for each block, whether all its numbers were.
        broken: what is not finite, in words; empty where all is.
        comparable: whether no order of hidden units shows in it.
        width: d, where it is a map `[d, d]` of the residual stream, whose multiple of the identity can be told apart.
    """

    profile: Profile
    path: Tensor
    decides: bool
    finite: tuple[bool, ...]
    broken: str = ""
    comparable: bool = True
    width: int | None = None

    @property
    def sound(self) -> bool:
        """Whether statistics may be taken of the path."""
        return self.profile.order is not None and self.profile.order.state not in UNFIT


def observe_weights(source: Source, group: Group, *, progress: Progress | None = None) -> tuple[Observed, ...]:
    """Every role and pair of a group, over its depth.

    At most two tensors of a role, or one of each role of a pair, are held at a time.

    Args:
        source: where the weights are.
        group: blocks and roles.
        progress: called with the number of tensors read so far and of all that will be.
    """
    total = group.depth * (len(group.roles) + 2 * len(group.pairs))
    done = 0

    def read(role: Role) -> Iterator[Tensor]:
        nonlocal done
        for block in range(group.depth):
            yield group.read(source, block, role)
            done += 1
            if progress is not None:
                progress(done, total)

    paired = {name for pair in group.pairs for name in (pair.first, pair.second)}
    only_vectors = not any(role.use in MATRICES for role in group.roles)
    found: list[Observed] = []
    for role in group.roles:
        found += _observe_role(role, read(role), alone=role.name not in paired, decides=only_vectors)
    for pair in group.pairs:
        first, second = group.role(pair.first), group.role(pair.second)
        found += _observe_pair(pair, read(first), read(second))
    return tuple(found)


@dataclass
class _Stored:
    """What is known of the numbers of one role, block by block: which are not finite, and in which format they are."""

    name: str
    counts: dict[int, int] = field(default_factory=dict)
    precision: Precision = field(default_factory=Precision)
    blocks: int = 0
    squares: float = 0.0
    entries: int = 0
    extreme: bool = False

    def take(self, tensor: Tensor) -> tuple[Tensor, bool]:
        """The next block, with 0 where it is not finite, and whether it was finite throughout."""
        import torch

        finite = bool(tensor.isfinite().all())
        if not finite:
            self.counts[self.blocks] = int((~tensor.isfinite()).sum())
            tensor = tensor.nan_to_num(0.0, 0.0, 0.0)
        self.blocks += 1
        self.precision.add(tensor)
        self.squares += float(torch.linalg.vector_norm(tensor, dtype=torch.float64).square())
        self.entries += tensor.numel()
        self.extreme |= exponent(tensor) != 0
        return tensor, finite

    @property
    def share(self) -> float:
        """The square of a unit of rounding beside that of a number."""
        mean_square = self.squares / max(self.entries, 1)
        usual = 0 < mean_square < math.inf
        return self.precision.unit(mean_square) / mean_square if usual else self.precision.epsilon**2

    @property
    def broken(self) -> str:
        """What is not finite, in words; empty where all is."""
        return (
            f"{values(sum(self.counts.values()), self.name)}, in {listed('block', list(self.counts))}"
            if self.counts
            else ""
        )


@dataclass
class _Track:
    """What is gathered while walking along the depth.

    `stored` are the roles that it is made of; `spreads` the squares that errors of their numbers, relative to them, have in each block.
    """

    stored: Sequence[_Stored]
    path: list[Tensor] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    finite: list[bool] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)

    def note(self, **numbers: float) -> None:
        """Add a number to curves."""
        for name, value in numbers.items():
            self.curves.setdefault(name, []).append(value)

    def observed(
        self,
        what: Role | Pair,
        view: Literal["raw", "aligned", "invariant"],
        *,
        shape: tuple[int, ...],
        decides: bool,
        width: int | None = None,
    ) -> Observed:
        """All of it, with whether the order of the blocks matters."""
        import torch

        path = torch.stack(self.path)
        broken = "; ".join(filter(None, (one.broken for one in self.stored)))
        order = self._ordered(path, broken) if len(path) >= 3 else None
        curves = {name: tuple(curve) for name, curve in self.curves.items()}
        numbers = _numbers(path, order)
        profile = Profile(what.name, what.part, view, shape, curves, order, numbers)
        comparable = view == "invariant" or (view == "raw" and isinstance(what, Role) and what.use in OF_STREAM)
        return Observed(profile, path, decides, tuple(self.finite), broken, comparable, width)

    def _unit(self) -> Unit:
        """What rounding of the stored numbers does to the path; errors of entries stay as they are."""
        precise = [one.precision for one in self.stored]
        square = sum(float(one.square().sum()) for one in self.path)
        gain = sum(self.spreads) / square if self.spreads and square > 0 else 1.0
        coarse = max(precise, key=lambda one: one.epsilon)
        return Unit((gain if math.isfinite(gain) else 1.0) * sum(one.share for one in self.stored), coarse.name)

    def _ordered(self, path: Tensor, broken: str) -> Smoothness:
        """Whether the order of the blocks matters."""
        if broken:
            return Smoothness("undecided", None, None, None, broken, "not finite")
        if self.spreads and any(one.extreme for one in self.stored):
            why = "its numbers are too large or too small to be multiplied"
            return Smoothness("undecided", None, None, None, why, "out of range")
        return smoothness(path[None], unit=self._unit())


def _observe_role(role: Role, tensors: Iterator[Tensor], *, alone: bool, decides: bool) -> list[Observed]:
    """The raw view, and of a matrix to or from hidden units its Gram matrix over the stream."""
    stored = _Stored(role.name)
    raw, gram = _Track([stored]), _Track([stored])
    before: Tensor | None = None
    permutable = role.use in ("reads", "writes") and len(role.shape) >= 2
    square = len(role.shape) == 2 and role.use == "stream"
    for found in tensors:
        tensor, finite = stored.take(found)
        for track in (raw, gram):
            track.finite.append(finite)
        _note_sizes(raw, tensor, finite=finite)
        if before is not None:
            raw.note(increment=_distance(before, tensor) if all(raw.finite[-2:]) else math.nan)
        before = tensor
        raw.path.append(_entries(tensor))
        if permutable:
            stream_last = _stream_last(role, tensor)
            gram.path.append(sketches.gram_sketch(stream_last))
            gram.spreads.append(2 * _spread(stream_last.T, stream_last))
    own = role.shape[0] if square else None
    views = [raw.observed(role, "raw", shape=role.shape, decides=decides or role.use == "stream", width=own)]
    if permutable:
        gram.curves = {name: raw.curves[name] for name in ("norm", "operator_norm", "participation")}
        width = stream_last.shape[1]
        views.append(gram.observed(role, "invariant", shape=role.shape, decides=alone, width=width))
    return views


def _stream_last(role: Role, tensor: Tensor) -> Tensor:
    """A tensor to or from hidden units as `[m, d]`; the taps of a kernel count as hidden units: what is left is the stream's channels."""
    hidden_first = tensor if role.use == "reads" else tensor.transpose(0, 1)
    return hidden_first.movedim(1, -1).flatten(0, -2)


def _observe_pair(pair: Pair, firsts: Iterator[Tensor], seconds: Iterator[Tensor]) -> list[Observed]:
    """The product of two roles, and both of them with their hidden units aligned from block to block."""
    stored = [_Stored(pair.first), _Stored(pair.second)]
    product, aligned = _Track(stored), _Track(stored)
    aligner = Aligner()
    for first, second in zip(firsts, seconds, strict=True):
        (inner, fine), (outer, also) = stored[0].take(first), stored[1].take(second)
        right, left = _factors(inner, outer, scores=pair.scores)
        product.path.append(sketches.product_sketch(left, right))
        product.spreads.append(_spread(left, right))
        for track in (product, aligned):
            track.finite.append(fine and also)
        _note_product(product, left, right, linear=pair.part == "attention")
        if not pair.scores and len(right) <= LARGEST:
            _align(aligned, aligner, right, left.T)
    _note_increments(product)
    shape = (left.shape[0], right.shape[1])
    width = shape[0] if shape[0] == shape[1] and inner.dim() == 2 else None
    views = [product.observed(pair, "invariant", shape=shape, decides=True, width=width)]
    if aligned.path:
        _note_increments(aligned)
        shape = (len(right), right.shape[1] + left.shape[0])
        views.append(aligned.observed(pair, "aligned", shape=shape, decides=False))
    return views


def _note_product(track: _Track, left: Tensor, right: Tensor, *, linear: bool) -> None:
    """The sizes of a product whose sketch was taken."""
    finite = track.finite[-1] and bool(track.path[-1].isfinite().all())
    found = sketches.product_spectrum(left, right) if finite else sketches.Spectrum(math.nan, math.nan, math.nan)
    _note_spectrum(track, found, finite=finite)
    track.note(map_norm=sketches.map_norm(left, right, linear=linear) if finite else math.nan)


def _spread(left: Tensor, right: Tensor) -> float:
    """The square that independent errors of the entries, relative to them and of size 1, have in the product of `[p, m]` and `[m, q]`."""
    import torch

    columns = torch.linalg.vector_norm(left, dim=0, dtype=torch.float64)
    rows = torch.linalg.vector_norm(right, dim=1, dtype=torch.float64)
    return float((columns * rows).square().sum())


def _distance(before: Tensor, after: Tensor) -> float:
    found = float((after - before).double().norm())
    return found if math.isfinite(found) else norm(after.double() - before.double())


def _align(track: _Track, aligner: Aligner, incoming: Tensor, outgoing: Tensor) -> None:
    entries, matched = aligner.add(incoming, outgoing)
    track.path.append(entries)
    if matched is not None:
        track.note(matched=matched)


def _factors(inner: Tensor, outer: Tensor, *, scores: bool) -> tuple[Tensor, Tensor]:
    """The factors `[m, q]` and `[p, m]` of a pair's product; the taps of a convolution belong to the stream."""
    if scores:
        return outer, inner.T
    return inner.flatten(1), outer.transpose(0, 1).flatten(1).T


def _entries(tensor: Tensor) -> Tensor:
    """All entries of a small tensor, else a sketch of it as a matrix."""
    if tensor.numel() <= sketches.SIDE**2:
        return tensor.double().reshape(-1)
    return sketches.sketch(tensor.reshape(len(tensor), -1) if tensor.dim() > 1 else tensor[None])


def _note_sizes(track: _Track, tensor: Tensor, *, finite: bool) -> None:
    if tensor.dim() >= 2:
        _note_spectrum(track, sketches.spectrum(tensor.flatten(1)), finite=finite)
        return
    entries = tensor.double()
    track.note(norm=norm(entries) if finite else math.nan, mean=float(entries.mean()) if finite else math.nan)


def _note_spectrum(track: _Track, found: sketches.Spectrum, *, finite: bool) -> None:
    numbers = (found.norm, found.top, found.participation) if finite else (math.nan,) * 3
    track.note(norm=numbers[0], operator_norm=numbers[1], participation=numbers[2])


def _note_increments(track: _Track) -> None:
    pairs = zip(itertools.pairwise(track.path), itertools.pairwise(track.finite), strict=True)
    for (before, after), finite in pairs:
        far = norm(after - before) if all(finite) else math.nan
        track.note(increment=far if math.isfinite(far) else math.nan)


def _numbers(path: Tensor, order: Smoothness | None) -> dict[str, float]:
    """How many blocks carry the weights, and how much of their variance over depth is white noise."""
    if order is not None and order.state in (*UNFIT, "zero"):
        return {}
    path = in_range(path)
    squares = path.square().sum(1)
    if not bool(squares.isfinite().all() and squares.any()):
        return {}
    numbers = {"carriers": float(squares.sum().square() / squares.square().sum())}
    if order is not None and order.state != "tied":
        variance = float((path - path.mean(0)).square().mean(0).sum())
        second = path[2:] - 2 * path[1:-1] + path[:-2]
        numbers["noise_share"] = min(1.0, float(second.square().mean(0).sum()) / 6 / variance)
    return numbers
