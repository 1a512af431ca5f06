"""The factor with which a network adds its branches to the stream, and whether it was applied twice.

A block adds u = Σ_p c_p y_p, y_p the output of the layer with which part p writes to the stream and c_p its multiplier, often L^(−1/2) or
1/L. The c_p are what least squares finds from one batch, where it fits. Weights that were made smaller by the same factor at the start, or
when they were saved, then have it twice: what the part writes with is smaller than what it reads with, entry by entry times the root of the
inputs, by about c_p once more.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeplimit.diagnosis.function import hooked
from deeplimit.diagnosis.report import Finding
from deeplimit.diagnosis.sources.module import unwrapped

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deeplimit.diagnosis.blocks.group import Group, Role
    from deeplimit.diagnosis.weights.profiles import Observed

FITS = 1e-3
"""Share of u's square that the y_p may leave unexplained; more, and the block does something else with them."""

SMALL, TWICE = 2.0, 1.5
"""A multiplier of up to SMALL/√L is one that depth asks for; ratios of up to TWICE times the multiplier look like the same again, where
they are nearer to it than to 1, as those of weights without it are. A multiplier above 1/TWICE cannot be told from 1."""


def multipliers(module: nn.Module, group: Group, *, batch: Any) -> dict[str, tuple[float, ...]]:
    """Role that writes to the stream -> its multiplier in each block; empty where blocks do not add such outputs.

    Args:
        module: the network.
        group: its blocks; roles that write must be the weights of submodules of their own.
        batch: as the network takes it.
    """
    network = unwrapped(module)
    layers = {role.name: _layers(network, group, role) for role in group.roles if role.use == "writes"}
    if not layers or not all(layers.values()):
        return {}
    outputs: dict[nn.Module, Any] = {}
    factors: list[list[float] | None] = []

    def edit(block: int, call: hooked.Call) -> None:
        written = [outputs.get(found[block]) for found in layers.values()]
        factors.append(_factors(call.after - call.before, written))
        outputs.clear()  # not needed any more, and as large as the batch

    def keep(layer: nn.Module, args: Any, output: Any) -> None:
        outputs[layer] = output

    hooks = [layer.register_forward_hook(keep) for found in layers.values() for layer in found]
    try:
        with hooked.observing(network):
            parts = dict(zip(group.blocks, hooked.submodules(network, group.blocks), strict=True))
            hooked.forward(network, parts, batch=batch, edit=edit)
    finally:
        for hook in hooks:
            hook.remove()
    found = [row for row in factors if row is not None]
    if len(found) < group.depth:
        return {}
    return dict(zip(layers, zip(*found, strict=True), strict=True))


def doubled(factors: Mapping[str, Sequence[float]], observed: Sequence[Observed], *, group: Group) -> list[Finding]:
    """Groups whose multiplier is in their weights once more."""
    ratio = _ratios(observed, group)
    found = []
    for name, column in factors.items():
        factor, part = statistics.median(column), group.role(name).part
        small = 0 < factor <= min(SMALL / math.sqrt(group.depth), 1 / TWICE)
        limit = min(TWICE * factor, math.sqrt(max(factor, 0.0)))
        if small and 0 < ratio.get(part, 0.0) <= limit:
            why = (
                f"the network multiplies what {name} writes by {factor:.2g}, and its weights are {ratio[part]:.2g} times the size of those "
                "it reads with: the multiplier may have been applied twice"
            )
            blocks = tuple(range(group.depth))
            found.append(Finding("scale", blocks, name, why, limit / ratio[part]))
    return found


def _layers(network: nn.Module, group: Group, role: Role) -> list[nn.Module]:
    """The submodules whose weight the role is, one per block; empty where there are none."""
    known = dict(network.named_modules())
    paths = [group.tensor(block, role).removesuffix(".weight") for block in range(group.depth)]
    return [known[path] for path in paths] if all(path in known for path in paths) else []


def _factors(update: Tensor, written: Sequence[Any]) -> list[float] | None:
    """Least squares of what a block adds on what its parts write; None where it does not fit."""
    import torch

    if not all(isinstance(one, torch.Tensor) and one.shape == update.shape for one in written):
        return None
    columns = torch.stack([one.double().reshape(-1) for one in written], dim=1)
    target = update.double().reshape(-1)
    gram = columns.T @ columns
    if not bool(gram.isfinite().all()) or float(torch.linalg.matrix_rank(gram)) < len(gram):
        return None
    solution = torch.linalg.solve(gram, columns.T @ target)
    rest = (target - columns @ solution).square().sum()
    return solution.tolist() if float(rest) <= FITS * float(target.square().sum()) else None


def _ratios(observed: Sequence[Observed], group: Group) -> dict[str, float]:
    """Part -> size of what it writes with beside what it reads with: root mean square times the root of the number of inputs."""
    sizes: dict[str, dict[str, list[float]]] = {}
    for one in observed:
        role = next((role for role in group.roles if role.name == one.profile.name), None)
        if role is not None and one.profile.view == "raw" and role.use in ("reads", "writes") and all(one.finite):
            gain = statistics.median(one.profile.curves["norm"]) / math.sqrt(role.shape[0])
            sizes.setdefault(role.part, {}).setdefault(role.use, []).append(gain)
    return {
        part: statistics.mean(uses["writes"]) / statistics.mean(uses["reads"])
        for part, uses in sizes.items()
        if len(uses) == 2 and statistics.mean(uses["reads"]) > 0
    }
