"""The statistics of a group of blocks over depth, from its weights alone, reading one tensor at a time.

Hidden units may stand in another order in every block without a change of the network's function. So each role and pair is looked at in up
to three views: `raw`, entry by entry as stored; `aligned`, after the hidden units of a block have been matched with those of the one before
it; `invariant`, through maps of the residual stream alone, on which a permutation has no effect: products W_out·W_in, and Gram matrices.
The verdict rests on what no permutation changes; the other views are shown beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from deeplimit.diagnosis.report import Profile
from deeplimit.diagnosis.weights import sketches
from deeplimit.diagnosis.weights.alignment import LARGEST, Aligner
from deeplimit.regimes import smoothness
from deeplimit.statistics.roughness import ROUNDING

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.blocks.group import Group, Pair, Role
    from deeplimit.diagnosis.sources.source import Source

    Progress = Callable[[int, int], None]

MATRICES = ("reads", "writes", "stream", "hidden")


@dataclass(frozen=True)
class Observed:
    """A profile with what stands behind it.

    Args:
        profile: its numbers.
        path: `[L, P]`, entries or a sketch of each block, in float64.
        decides: whether the verdict on weights may rest on it.
        finite: for each block, whether all its numbers were.
        width: d, where it is a map `[d, d]` of the residual stream, whose multiple of the identity can be told apart.
    """

    profile: Profile
    path: Tensor
    decides: bool
    finite: tuple[bool, ...]
    width: int | None = None


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
class _Track:
    """What is gathered while walking along the depth."""

    path: list[Tensor] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    finite: list[bool] = field(default_factory=list)

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
        order = smoothness(path[None]) if len(path) >= 3 and bool(path.any()) else None
        curves = {name: tuple(values) for name, values in self.curves.items()}
        profile = Profile(what.name, what.part, view, shape, curves, order, _numbers(path))
        return Observed(profile, path, decides, tuple(self.finite), width)


def _observe_role(role: Role, tensors: Iterator[Tensor], *, alone: bool, decides: bool) -> list[Observed]:
    """The raw view, and of a matrix to or from hidden units its Gram matrix over the stream."""
    raw, gram = _Track(), _Track()
    before: Tensor | None = None
    permutable = role.use in ("reads", "writes") and len(role.shape) >= 2
    square = len(role.shape) == 2 and role.use == "stream"
    for stored in tensors:
        tensor, finite = _finite(stored)
        for track in (raw, gram):
            track.finite.append(finite)
        _note_sizes(raw, tensor, finite=finite)
        if before is not None:
            raw.note(increment=float((tensor - before).double().norm()))
        before = tensor
        raw.path.append(_entries(tensor))
        if permutable:
            hidden_first = tensor if role.use == "reads" else tensor.transpose(0, 1)
            # The taps of a kernel count as hidden units: what is left is a map of the stream's channels.
            stream_last = hidden_first.movedim(1, -1).flatten(0, -2)
            gram.path.append(sketches.gram_sketch(stream_last))
    own = role.shape[0] if square else None
    views = [raw.observed(role, "raw", shape=role.shape, decides=decides or role.use == "stream", width=own)]
    if permutable:
        gram.curves = {name: raw.curves[name] for name in ("norm", "operator_norm", "participation")}
        width = stream_last.shape[1]
        views.append(gram.observed(role, "invariant", shape=role.shape, decides=alone, width=width))
    return views


def _observe_pair(pair: Pair, firsts: Iterator[Tensor], seconds: Iterator[Tensor]) -> list[Observed]:
    """The product of two roles, and both of them with their hidden units aligned from block to block."""
    product, aligned = _Track(), _Track()
    aligner = Aligner()
    for first, second in zip(firsts, seconds, strict=True):
        (inner, fine), (outer, also) = _finite(first), _finite(second)
        right, left = _factors(inner, outer, scores=pair.scores)
        for track in (product, aligned):
            track.finite.append(fine and also)
        product.path.append(sketches.product_sketch(left, right))
        _note_spectrum(product, sketches.product_spectrum(left, right), finite=fine and also)
        gain = sketches.map_norm(left, right, linear=pair.part == "attention")
        product.note(map_norm=gain if product.finite[-1] else math.nan)
        if not pair.scores and len(right) <= LARGEST:
            _align(aligned, aligner, right, left.T)
    _note_increments(product)
    shape = (left.shape[0], right.shape[1])
    width = shape[0] if shape[0] == shape[1] and inner.dim() == 2 else None
    views = [product.observed(pair, "invariant", shape=shape, decides=True, width=width)]
    if aligned.path:
        _note_increments(aligned)
        views.append(
            aligned.observed(pair, "aligned", shape=(len(right), right.shape[1] + left.shape[0]), decides=False)
        )
    return views


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


def _finite(tensor: Tensor) -> tuple[Tensor, bool]:
    """The tensor with 0 where it is not finite, and whether it was finite throughout."""
    if bool(tensor.isfinite().all()):
        return tensor, True
    return tensor.nan_to_num(0.0, 0.0, 0.0), False


def _note_sizes(track: _Track, tensor: Tensor, *, finite: bool) -> None:
    if tensor.dim() >= 2:
        _note_spectrum(track, sketches.spectrum(tensor.flatten(1)), finite=finite)
        return
    values = tensor.double()
    track.note(norm=float(values.norm()) if finite else math.nan, mean=float(values.mean()) if finite else math.nan)


def _note_spectrum(track: _Track, found: sketches.Spectrum, *, finite: bool) -> None:
    numbers = (found.norm, found.top, found.participation) if finite else (math.nan,) * 3
    track.note(norm=numbers[0], operator_norm=numbers[1], participation=numbers[2])


def _note_increments(track: _Track) -> None:
    for before, after in itertools.pairwise(track.path):
        track.note(increment=float((after - before).norm()))


def _numbers(path: Tensor) -> dict[str, float]:
    """How many blocks carry the weights, and how much of their variance over depth is white noise."""
    squares = path.square().sum(1)
    if not bool(squares.any()):
        return {}
    numbers = {"carriers": float(squares.sum().square() / squares.square().sum())}
    variance = float((path - path.mean(0)).square().mean(0).sum())
    if len(path) >= 3 and variance > ROUNDING * float(squares.mean()):
        second = path[2:] - 2 * path[1:-1] + path[:-2]
        numbers["noise_share"] = min(1.0, float(second.square().mean(0).sum()) / 6 / variance)
    return numbers
