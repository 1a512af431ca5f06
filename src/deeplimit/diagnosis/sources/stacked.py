"""Weights stacked over depth, `[L, …]`, read as L blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.diagnosis.sources.reading import listed
from deeplimit.diagnosis.sources.source import Source

if TYPE_CHECKING:
    from torch import Tensor, nn

BESIDE = ("states", "outputs")
INITIAL = "initial."
"""What stands beside the stacked weights of a run: hidden states and outputs, and the weights before training."""

_RUN = re.compile(r"(\d+)/(.+)")  # DEPTH/ROLE, as a run keeps its weights
_NUMBERED = re.compile(r"(.*[./])?\d+[./].*")
_SCANNED = re.compile(r"(.*?(?:^|[./_])(?:layers?|blocks?|h))[./](?!\d+(?:[./]|$))(.+)")


@dataclass(frozen=True)
class _Place:
    """Where a presented tensor lies: a stored name, and the index of its first axes."""

    name: str
    index: tuple[int, ...]
    shape: tuple[int, ...]


class StackedSource(Source):
    """The blocks of weights that are stored together, one slice at a time.

    Three ways of storing are known:

        ROLE [L, …]                 all tensors of one first size: `blocks.K.ROLE`; `initial.ROLE`, `states`, `outputs` may stand beside
        DEPTH/ROLE [E, DEPTH, …]    the runs of `deeplimit study`, E seeds: `depth64.blocks.K.ROLE` of the first seed
        PREFIX.layers.ROLE [L, …]   networks whose layers are scanned, as in JAX: `PREFIX.layers.K.ROLE`

    Args:
        source: what is stored.

    Raises:
        InputError: it is stored in none of these ways.
    """

    def __init__(self, source: Source) -> None:
        self.title, self._source = source.title, source
        layout = _layout(source.shapes)
        if layout is None:
            found = ", ".join(f"{name} {shape}" for name, shape in list(source.shapes.items())[:5]) or "nothing"
            raise checks.InputError(f"{self.title}: expected weights [depth, ...] of one depth, found {found}")
        self._places, note = layout
        self.notes = (*source.notes, note)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: place.shape for name, place in self._places.items()}

    def read(self, name: str) -> Tensor:
        return self.read_at(name)

    def read_at(self, name: str, *index: int) -> Tensor:
        checks.one_of(f"{self.title}: tensor", name, self._places)
        place = self._places[name]
        return self._source.read_at(place.name, *place.index, *index)

    @property
    def config(self) -> Mapping[str, Any]:
        return self._source.config

    @property
    def module(self) -> nn.Module | None:
        return self._source.module


Layout = tuple[dict[str, _Place], str]


def is_stacked(source: Source) -> bool:
    """Whether weights are stored in one of the ways of `StackedSource`."""
    return _layout(source.shapes) is not None


def _layout(shapes: Mapping[str, tuple[int, ...]]) -> Layout | None:
    return _runs(shapes) or _all_stacked(shapes) or _scanned(shapes)


def _all_stacked(shapes: Mapping[str, tuple[int, ...]]) -> Layout | None:
    """ROLE `[L, …]`.

    Without anything beside them that says so, weights count as stacked only where no tensor is a vector and one has more sizes than a
    matrix: a single layer's `weight` `[d, m]` and `bias` `[d]` share their first size, too.
    """
    beside = [name for name in shapes if name in BESIDE or name.startswith(INITIAL)]
    roles = {name: shape for name, shape in shapes.items() if name not in beside}
    numbered = not beside and any(map(_NUMBERED.fullmatch, roles))
    if numbered or not _one_depth(roles, sure=bool(beside)):
        return None
    places = _blocks("blocks", roles, depth=next(iter(roles.values()))[0])
    also = f"; left out beside them: {listed(beside)}" if beside else ""
    return places, f"{len(roles)} tensors stacked over depth are read as blocks{also}"


def _runs(shapes: Mapping[str, tuple[int, ...]]) -> Layout | None:
    """DEPTH/ROLE `[E, …]`."""
    found = [(name, _RUN.fullmatch(name)) for name in shapes]
    if not found or not all(match and shapes[name] for name, match in found):
        return None
    places: dict[str, _Place] = {}
    for name, match in found:
        depth, role = match.groups()  # type: ignore[union-attr]
        members, *shape = shapes[name]
        if not members:
            return None
        stacked = bool(shape) and shape[0] == int(depth)
        blocks = [(f"blocks.{k}.", (0, k)) for k in range(shape[0])] if stacked else [("", (0,))]
        for prefix, index in blocks:
            places[f"depth{depth}.{prefix}{role}"] = _Place(name, index, tuple(shape[1:] if stacked else shape))
    return places, "the weights of a run of deeplimit: of its seeds, the first is read"


def _scanned(shapes: Mapping[str, tuple[int, ...]]) -> Layout | None:
    """PREFIX.layers.ROLE `[L, …]`, beside tensors of other names."""
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        match = _SCANNED.fullmatch(name)
        if match:
            groups.setdefault(match[1], {})[name] = shape
    places: dict[str, _Place] = {}
    taken: set[str] = set()
    for prefix, members in groups.items():
        if _one_depth(members):
            taken |= members.keys()
            places |= _blocks(prefix, members, depth=next(iter(members.values()))[0])
    rest = {name: _Place(name, (), shape) for name, shape in shapes.items() if name not in taken}
    note = f"{len(taken)} tensors stacked over depth are read as blocks"
    return ({**places, **rest}, note) if places else None


def _one_depth(members: Mapping[str, tuple[int, ...]], *, sure: bool = False) -> bool:
    """Whether all tensors have one first size, which is a depth: `sure`, or as `_all_stacked` says."""
    depths = {shape[0] if shape else 0 for shape in members.values()}
    ranks = [len(shape) for shape in members.values()]
    return len(depths) == 1 and min(depths) > 0 and (sure or (min(ranks) >= 2 and max(ranks) >= 3))


def _blocks(prefix: str, roles: Mapping[str, tuple[int, ...]], *, depth: int) -> dict[str, _Place]:
    """The places of PREFIX.K.ROLE, block by block."""
    return {
        f"{prefix}.{k}.{name.removeprefix(prefix).lstrip('./')}".replace("/", "."): _Place(name, (k,), shape[1:])
        for k in range(depth)
        for name, shape in roles.items()
    }
