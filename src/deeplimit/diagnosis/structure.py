"""Where depth is in a trained network: runs of blocks of equal structure, found from names and shapes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from deeplimit import checks
from deeplimit.diagnosis.group import Group, LeftOut
from deeplimit.diagnosis.roles import find_roles
from deeplimit.diagnosis.source import Source
from deeplimit.diagnosis.words import POSITIONS, SEPARATORS, SIDE_BY_SIDE, is_matrix, take_apart

_NUMBER = re.compile(rf"(?<!\d)(\d{{1,9}})(?=[{re.escape(SEPARATORS)}]|$)")
_LONGEST_PERIOD = 8
_SHOWN = 8  # patterns of names in an error, differences in a reason
_LONGEST_NAME = 120  # letters of a name in an error
_DEEPEST = 16  # numbers of one name that are looked at

Shape = tuple[int, ...]
Structure = frozenset[tuple[str, Shape | str]]


def find_groups(source: Source) -> tuple[Group, ...]:
    """Groups of consecutive blocks of equal structure, deepest first.

    Any number in a name, followed by a separator or the end, may be the number of a block; what stands before it is the group's name.
    Numbers only give the order: gaps do not matter. The structure of a block is the suffixes and shapes of its matrices and kernels, with
    the class of the submodule where it is known; vectors, and biases of positions, that only some blocks have do not part blocks.

    A block of another structure ends a run of equal ones, and is left out. Runs of at least two blocks are groups; where one candidate has
    several runs they are named by the numbers of their blocks, `layers[0:3]`. Structures that alternate with a period of at most 8 are one
    group each: `layers[1::2]`, or `layers[0,1,2::4]` where three of every four are equal.

    A tensor belongs to one group. Of runs inside each other the one of more blocks counts, the outer one where they are as many; blocks of
    a single matrix count half, since projections numbered within an attention are no depth, and only three of them are a group. Heads,
    experts and the like stand beside each other and are never depth.

    Raises:
        InputError: nothing was found; the message says what names there are.
    """
    chosen: dict[_Candidate, list[_Run]] = {}
    taken: set[str] = set()
    runs = [(candidate, run) for candidate in _candidates(source) for run in candidate.runs]
    for candidate, run in sorted(runs, key=lambda pair: (-pair[1].weight, len(pair[0].prefix))):
        names = set(candidate.names(run))
        if not names & taken:
            taken |= names
            chosen.setdefault(candidate, []).append(run)
    groups = [group for candidate, own in chosen.items() for group in _groups(candidate, own, source)]
    if not groups:
        raise checks.InputError(
            f"{source.title}: expected at least 2 blocks of equal structure, one after the other, found none among {_seen(source)}"
        )
    return tuple(sorted(groups, key=lambda group: (-group.depth, _natural(group.name))))


def choose(
    groups: Sequence[Group], *, group: str | None = None, roles: Sequence[str] | None = None
) -> tuple[Group, ...]:
    """One of the groups, or all, with some of their roles, or all; a pair stays where both of its roles do.

    Raises:
        InputError: no group or role of that name.
    """
    if group is not None:
        checks.one_of("group", group, [found.name for found in groups])
    kept = [found for found in groups if group in (None, found.name)]
    if roles is None:
        return tuple(kept)
    for name in roles:
        checks.one_of("role", name, {role.name for found in kept for role in found.roles})
    return tuple(_with_roles(found, roles) for found in kept if any(role.name in roles for role in found.roles))


def _with_roles(group: Group, names: Sequence[str]) -> Group:
    roles = tuple(role for role in group.roles if role.name in names)
    pairs = tuple(pair for pair in group.pairs if pair.first in names and pair.second in names)
    return replace(group, roles=roles, pairs=pairs)


# ----------------------------------------------------------------------------------------------------------- candidates


@dataclass(frozen=True)
class _Run:
    """Blocks that follow each other with a period: positions `start` to `end` of a candidate's blocks."""

    start: int
    end: int
    period: int
    weight: float

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class _Block:
    """One numbered part of a name with all that follows it."""

    name: str
    number: int
    tensors: Mapping[str, Shape]
    kind: str

    @cached_property
    def structure(self) -> Structure:
        """What must be equal in blocks of one group."""
        matrices = {(suffix, shape) for suffix, shape in self.tensors.items() if _parts(suffix, shape)}
        return frozenset(matrices | {("class", self.kind)}) if matrices else frozenset()


@dataclass(frozen=True, eq=False)
class _Candidate:
    """All blocks with the same text before their number."""

    prefix: str
    blocks: tuple[_Block, ...]

    @property
    def name(self) -> str:
        return self.prefix.strip(SEPARATORS) or "blocks"

    @cached_property
    def structures(self) -> list[Structure]:
        return [block.structure for block in self.blocks]

    @cached_property
    def runs(self) -> list[_Run]:
        """Runs of at least two blocks, without overlap, from the first block on."""
        found, position = [], 0
        while position < len(self.blocks):
            run = self._longest(position)
            if run is not None:
                found.append(run)
            position = position + 1 if run is None else run.end
        return found

    def _longest(self, start: int) -> _Run | None:
        runs = [_extent(self.structures, start, period) for period in range(1, _LONGEST_PERIOD + 1)]
        fitting = [run for run in runs if run.length >= 2 * run.period and self._deep(run)]
        return max(fitting, key=lambda run: (run.length, -run.period), default=None)

    def _deep(self, run: _Run) -> bool:
        """Whether a run may be depth: blocks of one matrix only where it is square and there are three of them."""
        matrices = [_matrices(block) for block in self.blocks[run.start : run.start + run.period]]
        return max(map(len, matrices)) > 1 or (run.length >= 3 * run.period and all(map(_square, matrices)))

    def names(self, run: _Run) -> Iterator[str]:
        for block in self.blocks[run.start : run.end]:
            yield from (block.name + suffix for suffix in block.tensors)


def _extent(structures: Sequence[Structure], start: int, period: int) -> _Run:
    """How far the structures from `start` on repeat themselves."""
    end = min(start + period, len(structures))
    while end < len(structures) and structures[end] == structures[end - period]:
        end += 1
    single = all(len(structure) == 2 for structure in structures[start : start + period])  # the class and one matrix
    return _Run(start, end, period, weight=(end - start) / (2 if single else 1))


def _matrices(block: _Block) -> list[Shape]:
    return [shape for suffix, shape in block.tensors.items() if _parts(suffix, shape)]


def _square(shapes: list[Shape]) -> bool:
    return len(shapes) == 1 and (len(set(shapes[0][:2])) == 1 or len(set(shapes[0][-2:])) == 1)


def _parts(suffix: str, shape: Shape) -> bool:
    """Whether a tensor that only some blocks have makes them blocks of another structure."""
    return is_matrix(shape) and not POSITIONS.search(suffix) and take_apart(suffix, shape).leaf != "bias"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


def _candidates(source: Source) -> list[_Candidate]:
    """Every text before a number, with at least two blocks that hold a matrix."""
    blocks: dict[str, dict[str, dict[str, Shape]]] = {}
    for name, shape in source.shapes.items():
        for found in islice(_NUMBER.finditer(name), _DEEPEST):
            prefix, block = name[: found.start()], name[: found.end()]
            blocks.setdefault(prefix, {}).setdefault(block, {})[name[found.end() :]] = shape
    candidates = [
        _Candidate(prefix, tuple(sorted(_with_matrices(found, source, prefix), key=lambda block: block.number)))
        for prefix, found in blocks.items()
        if not _beside(prefix)
    ]
    return [candidate for candidate in candidates if len(candidate.blocks) > 1]


def _with_matrices(blocks: Mapping[str, dict[str, Shape]], source: Source, prefix: str) -> Iterator[_Block]:
    """The blocks that hold a matrix, each with what is known of its kind: its class, and its entry in `layer_types`."""
    kinds, types = source.classes, source.config.get("layer_types")
    types = types if isinstance(types, list) and len(types) == len(blocks) else []
    for name, tensors in blocks.items():
        number = int(name[len(prefix) :])
        kind = f"{kinds.get(name, '')} {types[number] if number < len(types) else ''}".strip()
        block = _Block(name, number, tensors, kind)
        if block.structure:
            yield block


def _beside(prefix: str) -> bool:
    words = re.split(rf"[{re.escape(SEPARATORS)}]", prefix.rstrip(SEPARATORS))
    return words[-1].lower() in SIDE_BY_SIDE


# --------------------------------------------------------------------------------------------------------------- groups


def _groups(candidate: _Candidate, runs: Sequence[_Run], source: Source) -> Iterator[Group]:
    """The groups of each run: one, or one for each structure where they alternate; the first one says what is left out."""
    foreign = _foreign(candidate, runs)
    for run in runs:
        blocks = candidate.blocks[run.start : run.end]
        for structure in dict.fromkeys(block.structure for block in blocks):
            name = _name(candidate, run, structure, alone=len(runs) == 1)
            yield _group(name, [block for block in blocks if block.structure == structure], foreign, source)
            foreign = ()


def _group(name: str, blocks: Sequence[_Block], foreign: Sequence[LeftOut], source: Source) -> Group:
    """Blocks of one structure with their roles; tensors that only some of them have are left out."""
    first = blocks[0]
    tensors = {
        suffix: shape
        for suffix, shape in first.tensors.items()
        if all(block.tensors.get(suffix) == shape for block in blocks)
    }
    inside = first.name + "."
    kinds = {path.removeprefix(inside): kind for path, kind in source.classes.items() if path.startswith(inside)}
    found = find_roles({_suffix(suffix): shape for suffix, shape in tensors.items()}, kinds=kinds, config=source.config)
    left_out = (*foreign, *_partial(blocks, tensors), *found.left_out)
    return Group(name, tuple(block.name for block in blocks), found.roles, found.pairs, found.stream, left_out)


def _suffix(rest: str) -> str:
    """What follows a block's name, without the dot in front, unless another separator comes after the dot."""
    return rest[1:] if rest[:1] == "." and rest[1:2] not in SEPARATORS else rest


def _name(candidate: _Candidate, run: _Run, structure: Structure, *, alone: bool) -> str:
    """`layers`, `layers[4:9]`, `layers[1::2]` or `layers[5:9:2]`, by the numbers of the blocks where they have no gaps."""
    numbers = [block.number for block in candidate.blocks]
    gaps = numbers != list(range(numbers[0], numbers[0] + len(numbers)))
    first = 0 if gaps else numbers[0]
    structures = candidate.structures[run.start : run.start + run.period]
    own = [first + run.start + at for at, found in enumerate(structures) if found == structure]
    end = "" if alone and run.end == len(numbers) else str(first + run.end)
    if run.period > 1:
        return f"{candidate.name}[{','.join(map(str, own))}:{end}:{run.period}]"
    return candidate.name if alone else f"{candidate.name}[{own[0]}:{first + run.end}]"


def _foreign(candidate: _Candidate, runs: Sequence[_Run]) -> tuple[LeftOut, ...]:
    """The blocks of a candidate that are in none of its runs, with what parts them from the first, which is the longest."""
    model = candidate.blocks[runs[0].start]
    inside = {position for other in runs for position in range(other.start, other.end)}
    return tuple(
        LeftOut(block.name, _difference(block, model))
        for position, block in enumerate(candidate.blocks)
        if position not in inside
    )


def _difference(block: _Block, model: _Block) -> str:
    """In words, why one block is not of the structure of another."""
    mine, theirs = dict(block.structure), dict(model.structure)
    found = [f"has {_suffix(name)} {_shape(mine[name])}" for name in sorted(mine.keys() - theirs.keys())]
    found += [f"has no {_suffix(name)}" for name in sorted(theirs.keys() - mine.keys())]
    found += [
        f"{_suffix(name)} is {_shape(mine[name])} and not {_shape(theirs[name])}"
        for name in sorted(mine.keys() & theirs.keys())
        if mine[name] != theirs[name]
    ]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    if not found:
        return f"equal to {model.name}, but a block of another structure lies between"
    return f"another structure than {model.name}: {', '.join(found[:3])}{more}"


def _shape(shape: Shape | str) -> str:
    return shape if isinstance(shape, str) else str(list(shape))


def _partial(blocks: Sequence[_Block], everywhere: Mapping[str, Shape]) -> Iterator[LeftOut]:
    """Tensors that only some blocks have, or that differ in size."""
    counts = Counter(suffix for block in blocks for suffix in block.tensors)
    for suffix, count in counts.items():
        if suffix not in everywhere:
            where = (
                f"in {count} of {len(blocks)} blocks only" if count < len(blocks) else "not of one shape in all blocks"
            )
            yield LeftOut(_suffix(suffix), where)


# --------------------------------------------------------------------------------------------------------------- errors


def _seen(source: Source) -> str:
    """Patterns of names, numbers as `#`, with how many tensors there are and one shape."""
    patterns: dict[str, list[Shape]] = {}
    for name, shape in source.shapes.items():
        patterns.setdefault(_NUMBER.sub("#", name[:_LONGEST_NAME]), []).append(shape)
    numbered = sorted(patterns.items(), key=lambda row: "#" not in row[0])
    shown = [f"{pattern} ({len(shapes)} × {_shapes(shapes)})" for pattern, shapes in numbered]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"{len(source.shapes)} tensors: {', '.join(shown[:_SHOWN])}{more}" if shown else "no tensors at all"


def _shapes(shapes: list[Shape]) -> str:
    return str(list(shapes[0])) + (", …" if len(set(shapes)) > 1 else "")
