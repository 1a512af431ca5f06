"""The members of an ensemble: weights and data of each seed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from deeplimit.draws import Draw, NamedDraw
from deeplimit.networks import ensemble

if TYPE_CHECKING:
    from deeplimit.data import Pairs
    from deeplimit.networks import Parameters, ResidualStack
    from deeplimit.training.step import Batch


def draw_members(
    network: ResidualStack,
    data: Pairs,
    *,
    seeds: tuple[int, ...],
    draw: Draw | None = None,
    dtype: str = "float64",
    device: str = "cpu",
) -> tuple[Parameters, Batch]:
    """Weights and data of all seeds: for each one stream, weights first.

    Args:
        network: whose parameters.
        data: the pairs.
        seeds: one member each.
        draw: how a seed becomes a stream; `NamedDraw` unless given.
        dtype, device: of the result; the numbers drawn do not depend on them.

    Returns:
        Parameters `[E, …]` by role, and the batch x, y `[E, n, …]`.
    """
    import torch

    precision = getattr(torch, dtype)
    members, pairs = [], []
    for seed in seeds:
        stream = (draw or NamedDraw()).stream(seed)
        members.append(network.initialise(stream, dtype=precision))
        pairs.append(data.sample(stream))
    params = {role: tensor.to(device) for role, tensor in ensemble(members).items()}
    x, y = (torch.stack(column).to(device, precision) for column in zip(*pairs, strict=True))
    return params, (x, y)


def checksum(batch: Batch, before: str = "") -> str:
    """SHA-256 of a batch's numbers; with the checksum of what came before, of both."""
    digest = hashlib.sha256(before.encode())
    for tensor in batch:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
