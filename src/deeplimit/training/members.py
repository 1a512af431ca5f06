"""The members of an ensemble: weights and data of each seed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

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
    members: list[Parameters] = []
    pairs: list[Batch] = []
    for seed in seeds:
        stream = (draw or NamedDraw()).stream(seed)
        members.append(network.initialise(stream, dtype=precision))
        drawn = data.sample(stream)
        # One after the other, because E copies of a large data set may not fit.
        pairs.append(pairs[0] if pairs and _equal(drawn, pairs[0]) else drawn)
    params = {role: tensor.to(device) for role, tensor in ensemble(members).items()}
    alike = all(pair is pairs[0] for pair in pairs)
    columns = zip(*(pairs[:1] if alike else pairs), strict=True)
    x, y = (torch.stack(column).to(device, precision) for column in columns)
    return params, (x.expand(len(seeds), *x.shape[1:]), y.expand(len(seeds), *y.shape[1:]))


def _equal(one: Batch, other: Batch) -> bool:
    return all(a.shape == b.shape and bool((a == b).all()) for a, b in zip(one, other, strict=True))


def checksum(batch: Batch, before: str = "") -> str:
    """SHA-256 of a batch's numbers; with the checksum of what came before, of both."""
    digest = hashlib.sha256(before.encode())
    for tensor in batch:
        for member in tensor:
            digest.update(member.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
