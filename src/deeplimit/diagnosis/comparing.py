"""Two diagnoses of one architecture against each other, and many over training time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from deeplimit.checks import InputError
from deeplimit.diagnosis.report import Finding, Verdict
from deeplimit.regimes.verdict import plain

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.group import Group
    from deeplimit.diagnosis.report import GroupReport, Profile, Report
    from deeplimit.diagnosis.source import Source


@dataclass(frozen=True)
class Moved:
    """How far the weights of one role went, block by block.

    Args:
        distance: ‖B_k − A_k‖ / ‖A_k‖.
        cosine: of the angle between A_k and B_k.
        step: ‖B_k − A_k‖.
        size: ‖A_k‖.
    """

    distance: tuple[float, ...]
    cosine: tuple[float, ...]
    step: tuple[float, ...]
    size: tuple[float, ...]


@dataclass(frozen=True)
class RoleChange:
    """One role or pair in both networks: curve -> B over A, for each block or pair of neighbours."""

    name: str
    view: str
    ratios: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class BlockChange:
    """How much one block changed.

    Args:
        block: its number.
        size: ‖B − A‖/‖A‖ of all its tensors together; where only the reports are known, the largest |log(‖B‖/‖A‖)| of its roles.
        where: role or pair with the largest share in it.
    """

    block: int
    size: float
    where: str


@dataclass(frozen=True)
class GroupComparison:
    """One group in both networks; pairs are (in A, in B).

    Args:
        name: of the group in A.
        blocks: number of blocks.
        weights, function: both verdicts.
        roles: ratios of all curves.
        changed: every block, the most changed first.
        came, went: findings that are in B alone, and in A alone.
        moved: role -> how far its weights went; empty where the weights themselves were not compared.
    """

    name: str
    blocks: int
    weights: tuple[Verdict, Verdict]
    function: tuple[Verdict, Verdict]
    roles: tuple[RoleChange, ...]
    changed: tuple[BlockChange, ...]
    came: tuple[Finding, ...]
    went: tuple[Finding, ...]
    moved: Mapping[str, Moved] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Network B against network A."""

    a: str
    b: str
    groups: tuple[GroupComparison, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything as plain dicts, lists, numbers and text; numbers that JSON cannot hold as None."""
        return {"format": "deeplimit.comparison/1", **plain(asdict(self))}


def compare(a: Report, b: Report, *, moved: Sequence[Mapping[str, Moved]] = ()) -> Comparison:
    """Put two reports side by side, block by block.

    Args:
        a, b: on networks of one structure; names of groups may differ, since a wrapper adds to them.
        moved: of each group, what `weight_changes` says.

    Raises:
        InputError: the groups differ, and in what.
    """
    same_structure(a, b)
    moved = moved or [{}] * len(a.groups)
    found = (_group(*groups, moved=far) for *groups, far in zip(a.groups, b.groups, moved, strict=True))
    return Comparison(a.target, b.target, tuple(found))


def same_structure(a: Report, b: Report) -> None:
    """Check that two reports have groups of the same depth with the same roles.

    Raises:
        InputError: they do not, and what differs.
    """
    if len(a.groups) != len(b.groups):
        raise InputError(f"{b.target}: expected {len(a.groups)} groups as in {a.target}, found {len(b.groups)}")
    for first, second in zip(a.groups, b.groups, strict=True):
        if first.depth != second.depth:
            raise InputError(
                f"{b.target}: expected {first.depth} blocks in {second.name} as in {a.target}, found {second.depth}"
            )
        ours, theirs = _shapes(first), _shapes(second)
        odd = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
        if odd:
            said = ", ".join(f"{name} {ours.get(name, 'absent')} and {theirs.get(name, 'absent')}" for name in odd[:5])
            raise InputError(f"{b.target}: expected the roles of {a.target} in {second.name}, found {said}")


def _shapes(group: GroupReport) -> dict[str, tuple[int, ...]]:
    return {_label(profile): profile.shape for profile in group.profiles}


def _label(profile: Profile) -> str:
    return profile.name if profile.view == "raw" else f"{profile.name} ({profile.view})"


def _group(a: GroupReport, b: GroupReport, *, moved: Mapping[str, Moved]) -> GroupComparison:
    theirs = {_label(profile): profile for profile in b.profiles}
    roles = tuple(_role(profile, theirs[_label(profile)]) for profile in a.profiles)
    keys_a, keys_b = ({_key(finding) for finding in group.findings} for group in (a, b))
    return GroupComparison(
        a.name,
        a.depth,
        (a.weights, b.weights),
        (a.function, b.function),
        roles,
        _changed(a.depth, roles, moved=moved),
        tuple(finding for finding in b.findings if _key(finding) not in keys_a),
        tuple(finding for finding in a.findings if _key(finding) not in keys_b),
        moved,
    )


def _key(finding: Finding) -> tuple[object, ...]:
    return finding.kind, finding.blocks, finding.where


def _role(a: Profile, b: Profile) -> RoleChange:
    shared = [name for name, curve in a.curves.items() if len(b.curves.get(name, ())) == len(curve)]
    ratios = {name: tuple(map(_ratio, a.curves[name], b.curves[name])) for name in shared}
    return RoleChange(a.name, a.view, ratios)


def _ratio(a: float, b: float) -> float:
    """b / a; 1 where both are 0, NaN where only a is."""
    if a == 0:
        return 1.0 if b == 0 else math.nan
    return b / a


def _changed(depth: int, roles: Sequence[RoleChange], *, moved: Mapping[str, Moved]) -> tuple[BlockChange, ...]:
    """Blocks by their change; one whose change is not a number is the most changed of all."""
    norms = {role.name: role.ratios["norm"] for role in roles if len(role.ratios.get("norm", ())) == depth}
    if moved:
        found = [_together(block, moved) for block in range(depth)]
    elif norms:
        found = [_largest(block, norms) for block in range(depth)]
    else:
        found = []
    return tuple(sorted(found, key=lambda change: -change.size))


def _together(block: int, moved: Mapping[str, Moved]) -> BlockChange:
    """The tensors of a block as one vector."""
    steps = {role: far.step[block] for role, far in moved.items()}
    step, size = math.hypot(*steps.values()), math.hypot(*(far.size[block] for far in moved.values()))
    where = max(steps, key=lambda role: math.inf if math.isnan(steps[role]) else steps[role])
    ratio = _relative(step, size)
    return BlockChange(block, math.inf if math.isnan(ratio) else ratio, where)


def _largest(block: int, norms: Mapping[str, tuple[float, ...]]) -> BlockChange:
    here = {role: _log_size(ratios[block]) for role, ratios in norms.items()}
    where = max(here, key=here.__getitem__)
    return BlockChange(block, here[where], where)


def _log_size(ratio: float) -> float:
    return abs(math.log(ratio)) if 0 < ratio < math.inf else math.inf


def weight_changes(a: tuple[Source, Group], b: tuple[Source, Group]) -> dict[str, Moved]:
    """How far each block of each role went from network A to network B, one tensor of each in memory at a time.

    Args:
        a, b: a source and a group in it, with the same roles and depth.

    Returns:
        role -> distances and cosines, for roles that both groups have in the same shape.
    """
    (source_a, group_a), (source_b, group_b) = a, b
    theirs = {role.name: role for role in group_b.roles}
    found = {}
    for role in group_a.roles:
        other = theirs.get(role.name)
        if other is not None and other.shape == role.shape and group_a.depth == group_b.depth:
            both = (
                _moved(group_a.read(source_a, block, role), group_b.read(source_b, block, other))
                for block in range(group_a.depth)
            )
            found[role.name] = Moved(*zip(*both, strict=True))
    return found


def _moved(a: Tensor, b: Tensor) -> tuple[float, float, float, float]:
    """Two tensors as `Moved` has them, summed in double precision."""
    import torch

    size, other = (float(torch.linalg.vector_norm(x, dtype=torch.float64)) for x in (a, b))
    step = float(torch.linalg.vector_norm(b - a, dtype=torch.float64))
    product = float((a * b).sum(dtype=torch.float64))
    cosine = product / (size * other) if size and other else math.nan
    return _relative(step, size), cosine, step, size


def _relative(step: float, size: float) -> float:
    """step / size, 0 where nothing moved."""
    if step == 0:
        return 0.0
    return step / size if size else math.inf


# Over training time --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GroupTimeline:
    """One group at every step.

    Args:
        name: of the group.
        blocks: number of blocks.
        weights, function: labels of the verdicts, one a step.
        findings: how many, one a step.
        curves: `role.curve` (and `role (view).curve`, `passage.curve`) -> for each step a number for each block, state or pair of
            neighbours.
    """

    name: str
    blocks: int
    weights: tuple[str, ...]
    function: tuple[str, ...]
    findings: tuple[int, ...]
    curves: Mapping[str, tuple[tuple[float, ...], ...]]

    def growth(self) -> tuple[tuple[float, ...], ...]:
        """For each step and block the norm over that of the first step, as the geometric mean over roles as they are stored."""
        norms = [
            rows
            for name, rows in self.curves.items()
            if name.endswith(".norm") and not name.endswith(").norm") and len(rows[0]) == self.blocks
        ]
        return tuple(
            tuple(_mean_ratio([(rows[0][k], rows[t][k]) for rows in norms]) for k in range(self.blocks))
            for t in range(len(self.weights))
        )


@dataclass(frozen=True)
class Timeline:
    """The diagnoses of one training run, in the order of its steps."""

    title: str
    steps: tuple[int, ...]
    groups: tuple[GroupTimeline, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything as plain dicts, lists, numbers and text; numbers that JSON cannot hold as None."""
        return {"format": "deeplimit.timeline/1", **plain(asdict(self))}


def over_time(reports: Mapping[int, Report], title: str = "training") -> Timeline:
    """Put the reports of one training run in a row.

    Args:
        reports: step -> report; all of one structure.
        title: what the run is called.

    Raises:
        InputError: no reports, or groups that differ, and in what.
    """
    if not reports:
        raise InputError(f"{title}: expected checkpoints, found none")
    steps = tuple(sorted(reports))
    for step in steps[1:]:
        same_structure(reports[steps[0]], reports[step])
    groups = zip(*(reports[step].groups for step in steps), strict=True)
    return Timeline(title, steps, tuple(_timeline(rows) for rows in groups))


def _timeline(rows: Sequence[GroupReport]) -> GroupTimeline:
    every = [_curves(row) for row in rows]
    shared = [name for name in every[0] if len({len(curves.get(name, ())) for curves in every}) == 1]
    return GroupTimeline(
        rows[0].name,
        rows[0].depth,
        tuple(row.weights.label for row in rows),
        tuple(row.function.label for row in rows),
        tuple(len(row.findings) for row in rows),
        {name: tuple(curves[name] for curves in every) for name in shared},
    )


def _curves(group: GroupReport) -> dict[str, tuple[float, ...]]:
    found = {f"{_label(row)}.{name}": curve for row in group.profiles for name, curve in row.curves.items()}
    passage = group.passage.curves if group.passage else {}
    return {**found, **{f"passage.{name}": curve for name, curve in passage.items()}}


def _mean_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Geometric mean of b/a over pairs that have one; NaN where none has."""
    logs = [math.log(b / a) for a, b in pairs if a > 0 and 0 < b / a < math.inf]
    return math.exp(statistics.fmean(logs)) if logs else math.nan
