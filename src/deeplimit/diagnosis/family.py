"""Trained networks of growing depth as one family: what their weights become as depth grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deeplimit.checks import InputError
from deeplimit.regimes import regime

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.blocks.group import Group
    from deeplimit.diagnosis.sources.source import Source
    from deeplimit.regimes import Regime

FEWEST = 3
"""Depths that are needed."""


def family(networks: Sequence[tuple[Source, Group]]) -> Regime:
    """The regime of a family, from the roles that all its networks have in one shape.

    Hidden units may stand in another order in every block, so that entries of what reads from them or writes to them need not be a function
    of depth even where the block's function is one: the roles say each what they are.

    Args:
        networks: a source and a group in it for each network; networks of one depth are replicates.

    Raises:
        InputError: fewer than three depths, or no role of one shape in all.
    """
    depths = sorted({group.depth for _, group in networks})
    if len(depths) < FEWEST:
        raise InputError(f"family: expected networks of at least {FEWEST} depths, found {', '.join(map(str, depths))}")
    shapes = [{role.name: role.shape for role in group.roles} for _, group in networks]
    shared = [name for name, shape in shapes[0].items() if all(other.get(name) == shape for other in shapes)]
    if not shared:
        found = "; ".join(
            f"{source.title}: {', '.join(rows)}" for (source, _), rows in zip(networks, shapes, strict=True)
        )
        raise InputError(f"family: expected roles of one name and shape in all networks, found {found}")
    runs: dict[int, list[dict[str, Tensor]]] = {}
    for source, group in networks:
        runs.setdefault(group.depth, []).append({name: _stacked(source, group, name=name) for name in shared})
    return regime(runs)


def _stacked(source: Source, group: Group, *, name: str) -> Tensor:
    """One role of all blocks, `[L, …]`."""
    import torch

    return torch.stack([group.read(source, block, group.role(name)) for block in range(group.depth)])
