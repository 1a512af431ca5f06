"""The diagnosis of one trained network, from the target to the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.diagnosis.blocks.structure import choose, find_groups
from deeplimit.diagnosis.consequences import consequences
from deeplimit.diagnosis.function.multiplier import doubled, multipliers
from deeplimit.diagnosis.function.passage import pass_through
from deeplimit.diagnosis.function.verdict import judge_passage
from deeplimit.diagnosis.report import GroupReport, Report, Verdict
from deeplimit.diagnosis.sources import ModuleSource, open_target
from deeplimit.diagnosis.sources.source import Source
from deeplimit.diagnosis.weights.faults import find_faults
from deeplimit.diagnosis.weights.profiles import observe_weights
from deeplimit.diagnosis.weights.verdict import judge_weights, not_finite

if TYPE_CHECKING:
    from torch import nn

    from deeplimit.diagnosis.blocks.group import Group

    Progress = Callable[[int, int], None]

NO_BATCH = Verdict(
    "undecided", "the function is seen only with a module and a batch of inputs", "a module, and inputs (`--batch`)"
)


def diagnose(
    target: Source | nn.Module | str,
    batch: Any = None,
    *,
    group: str | None = None,
    roles: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Say which regime a trained network is in, and whether its depth is used.

    Args:
        target: a network, or what names one (`sources.open_target`).
        batch: inputs as the network takes them: a tensor, a tuple of positional or a mapping of keyword arguments; without them there is no
            verdict on the function.
        group: name of the one group of blocks that is wanted.
        roles: names of the roles that are wanted.
        progress: called with the number of tensors read of a group and of all that will be.

    Raises:
        InputError: the target cannot be read, nothing in it is recognised as blocks of equal structure, or the batch does not fit.

    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> blocks = [nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8)) for _ in range(12)]
    >>> diagnose(nn.Sequential(*blocks)).groups[0].weights.label
    'no order'
    """
    source = _source(target)
    chosen = choose(find_groups(source), group=group, roles=roles)
    return report_on(source, chosen, batch=batch, progress=progress)


def report_on(
    source: Source, groups: Sequence[Group], *, batch: Any = None, progress: Progress | None = None
) -> Report:
    """The diagnosis of groups that have been found in a source.

    Raises:
        InputError: there is a batch and no module, or the batch does not fit.
    """
    if batch is not None and source.module is None:
        raise checks.InputError(
            f"{source.title}: expected a module that the batch can pass through, found weights alone;"
            f" {_as_module(source.title)}"
        )
    reports = tuple(_diagnose(source, one, batch, progress) for one in groups)
    return Report(source.title, reports, tuple(source.notes))


def _as_module(title: str) -> str:
    """How the same weights could be had as a module."""
    folder = Path(title)
    if (folder / "config.json").is_file():
        place = title if folder.is_absolute() else f"./{folder}"
        return f"the target transformers:{place} is the folder as a module, where that library knows its kind"
    return "the target FILE.py:FUNCTION is a module of yours, which a function returns"


def _source(target: Source | nn.Module | str) -> Source:
    if isinstance(target, Source):
        return target
    return open_target(target) if isinstance(target, str) else ModuleSource(target)


def _diagnose(source: Source, group: Group, batch: Any, progress: Progress | None) -> GroupReport:
    observed = observe_weights(source, group, progress=progress)
    weights, function, passage = judge_weights(observed, group.depth), NO_BATCH, None
    findings = list(find_faults(observed, group))
    if source.module is not None and batch is not None:
        passage = pass_through(source.module, group.blocks, batch)
        function = judge_passage(passage, group.depth)
        findings += doubled(multipliers(source.module, group, batch=batch), observed, group=group)
    broken = not_finite(observed)
    if broken:
        function = replace(function, reason=f"{broken}; {function.reason}")
    return GroupReport(
        group.name,
        group.blocks,
        group.stream,
        weights,
        function,
        tuple(one.profile for one in observed),
        passage,
        tuple(sorted(findings, key=lambda found: -found.strength)),
        consequences(weights, function, passage=passage, findings=findings),
        group.left_out,
    )
