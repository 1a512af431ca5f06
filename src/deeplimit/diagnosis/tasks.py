"""What `deeplimit diagnose` is asked for: one network, two of them, a folder of checkpoints, or a family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit.checks import InputError
from deeplimit.diagnosis.checkpoints import checkpoints
from deeplimit.diagnosis.comparing import Comparison, Timeline, compare, over_time, same_structure, weight_changes

if TYPE_CHECKING:
    from deeplimit.diagnosis.blocks.group import Group
    from deeplimit.diagnosis.report import Report
    from deeplimit.diagnosis.sources.source import Source
    from deeplimit.regimes import Regime

    Found = tuple[Source, tuple[Group, ...]]


@dataclass(frozen=True)
class Options:
    """How networks are looked at.

    Args:
        group: the one group that is wanted.
        roles: the roles that are wanted; all where empty.
        batch: inputs; None for weights alone.
        download: whether a library may fetch what is not there.
        progress: called with the number of tensors read of a group and of all that will be.
    """

    group: str | None = None
    roles: Sequence[str] = ()
    batch: Any = None
    download: bool = False
    progress: Callable[[int, int], None] | None = None


def find(target: str, options: Options) -> Found:
    """Open a target, and choose among the groups in it.

    Raises:
        InputError: it cannot be read, or nothing in it is recognised.
    """
    from deeplimit.diagnosis.blocks.structure import choose, find_groups
    from deeplimit.diagnosis.sources import open_target

    source = open_target(target, download=options.download)
    return source, choose(find_groups(source), group=options.group, roles=options.roles or None)


def carry_out(targets: Sequence[str], options: Options) -> tuple[Report | Comparison | Timeline, Report]:
    """Diagnose what the targets are.

    Returns:
        What was found: a report on one network, a comparison of two, or a timeline of a folder of checkpoints; and the report that
        conditions are about: that of the network, of the second, of the last checkpoint.

    Raises:
        InputError: other than one or two targets, or what one of them lacks.
    """
    if len(targets) == 2:
        return _compared(targets, options)
    if len(targets) != 1:
        raise InputError(f"targets: expected one or two, or --family; found {len(targets)}")
    steps = checkpoints(Path(targets[0]))
    if steps:
        reports = {step: _report(find(str(path), options), options) for step, path in steps.items()}
        return over_time(reports, targets[0]), reports[max(reports)]
    report = _report(find(targets[0], options), options)
    return report, report


def _compared(targets: Sequence[str], options: Options) -> tuple[Comparison, Report]:
    """Two networks; their weights are read again, one tensor of each at a time, once their structures are known to be the same."""
    found = [find(target, options) for target in targets]
    first, second = (_report(one, options) for one in found)
    same_structure(first, second)
    (a, groups_a), (b, groups_b) = found
    pairs = zip(groups_a, groups_b, strict=True)
    moved = [weight_changes((a, ours), (b, theirs)) for ours, theirs in pairs]
    return compare(first, second, moved=moved), second


def _report(found: Found, options: Options) -> Report:
    from deeplimit.diagnosis.diagnose import report_on

    return report_on(*found, batch=options.batch, progress=options.progress)


def as_family(targets: Sequence[str], options: Options) -> Regime:
    """The regime of networks of growing depth, from the deepest group of each.

    Raises:
        InputError: fewer than three depths, or no roles that all of them have.
    """
    from deeplimit.diagnosis.family import family

    found = [find(target, options) for target in targets]
    return family([(source, groups[0]) for source, groups in found])
