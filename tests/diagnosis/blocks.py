"""A small residual network and its group of blocks, for tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deeplimit.diagnosis import Group, Pair, Role


class Block(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, h: Tensor) -> Tensor:
        update: Tensor = self.down(torch.tanh(self.up(h)))
        return h + update


class Residual(nn.Module):
    """Blocks h + down(tanh(up(h))), and a readout."""

    def __init__(self, depth: int = 8, width: int = 6, inner: int = 10, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.blocks = nn.ModuleList(Block(width, inner) for _ in range(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(x)
        return out

    def block(self, number: int) -> Block:
        found = self.blocks[number]
        assert isinstance(found, Block)
        return found


def group_of(network: Residual, prefix: str = "") -> Group:
    inner, width = network.block(0).up.weight.shape
    return Group(
        "blocks",
        tuple(f"{prefix}blocks.{number}" for number in range(len(network.blocks))),
        (
            Role("up", "mlp", "reads", "up.weight", (inner, width)),
            Role("down", "mlp", "writes", "down.weight", (width, inner)),
        ),
        (Pair("mlp", "mlp", "up", "down"),),
        width,
    )
