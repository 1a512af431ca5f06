"""The members of an ensemble: weights and data of each seed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from deeplimit.data import sample_members
from deeplimit.draws import Draw, NamedDraw
from deeplimit.networks import ensemble

if TYPE_CHECKING:
    from deeplimit.data import Pairs
    from deeplimit.networks import Network, Parameters
    from deeplimit.training.step import Batch


def draw_members(
    network: Network,
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
        Parameters `[E, …]` by role, and the batch x, y `[E, n, …]`. Data that all members draw alike (images, say) are kept once: x and y
        are then views with stride 0 along E.
    """
    import torch

    precision = getattr(torch, dtype)
    streams = [(draw or NamedDraw()).stream(seed) for seed in seeds]
    members = ensemble([network.initialise(stream, dtype=precision) for stream in streams])
    params = {role: tensor.to(device) for role, tensor in members.items()}
    return params, sample_members(data, streams, dtype=precision, device=device)


def checksum(batch: Batch, before: str = "") -> str:
    """SHA-256 of a batch's numbers; with the checksum of what came before, of both."""
    digest = hashlib.sha256(before.encode())
    for tensor in batch:
        for member in tensor:
            digest.update(member.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
