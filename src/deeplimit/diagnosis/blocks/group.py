"""Blocks of equal structure, one after the other: what depth is in a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.sources.source import Source

Part = Literal["attention", "mlp", "convolution", "norm", "scale", "other"]
Use = Literal["reads", "writes", "stream", "hidden", "gain", "bias", "hidden bias", "scale", "other"]
"""What a tensor does beside the residual stream of width d and the m hidden units of its part.

    reads        [m, d, …]   from the stream to hidden units
    writes       [d, m, …]   from hidden units back to the stream
    stream       [d, d, …]   from the stream to the stream: no hidden units
    hidden       [m, m, …]   among hidden units
    gain, bias   [d]         of a norm or of what is added to the stream; a coordinate is the same in every block
    hidden bias  [m]         units may stand in another order in every block
    scale        [d] or []   multiplies a whole branch (LayerScale, residual multiplier)
"""


@dataclass(frozen=True)
class Role:
    """One tensor of every block.

    Args:
        name: unique in its group, e.g. `attention.query`, `mlp.up`; the suffix where nothing better is known.
        part: of the block.
        use: see `Use`.
        suffix: of the tensor's name, after the block's prefix and a dot; with its own separator in front where that is not a dot, empty
            where the prefix is the whole name.
        shape: of one block's tensor as `[out, in, …]`, after `transposed` and `rows`.
        transposed: stored as `[in, out]`, as in GPT-2's Conv1D.
        rows: of a fused tensor, the ranges of its first axis (after transposing) that are this role's, joined; empty for all.
    """

    name: str
    part: Part
    use: Use
    suffix: str
    shape: tuple[int, ...]
    transposed: bool = False
    rows: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two roles that meet in hidden units, which may be permuted in any block without a change of its function.

    Their product is a map of the residual stream that no such permutation changes.

    Args:
        name: `mlp`, `attention.scores` (queries and keys), `attention.values` (values and output), `convolutions`.
        part: of the block.
        first: role `[m, d, …]`.
        second: role `[d, m, …]`, or `[m, d]` where `scores`.
        scores: the product is firstᵀ second (queries and keys) and not second · first.
    """

    name: str
    part: Part
    first: str
    second: str
    scores: bool = False


@dataclass(frozen=True)
class LeftOut:
    """A block or tensor that does not take part, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Group:
    """Consecutive blocks of equal structure.

    Args:
        name: what is common to the blocks' names, e.g. `encoder.layer`.
        blocks: prefixes of the blocks, in the order of depth.
        roles: the tensors of a block.
        pairs: of roles that meet in hidden units.
        stream: d, the width of the residual stream; None where the shapes do not tell.
        left_out: blocks beside them that are of another structure, and tensors of no use.
    """

    name: str
    blocks: tuple[str, ...]
    roles: tuple[Role, ...]
    pairs: tuple[Pair, ...] = ()
    stream: int | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def role(self, name: str) -> Role:
        """The role of that name.

        Raises:
            InputError: there is none.
        """
        checks.one_of(f"role of {self.name}", name, [role.name for role in self.roles])
        return next(role for role in self.roles if role.name == name)

    def tensor(self, block: int, role: Role) -> str:
        """The name of the tensor that holds one role of one block."""
        plain = role.suffix and role.suffix[0] not in "./:_-"
        return f"{self.blocks[block]}.{role.suffix}" if plain else self.blocks[block] + role.suffix

    def read(self, source: Source, block: int, role: Role) -> Tensor:
        """One role of one block, `[out, in, …]` in float32 or float64.

        Raises:
            InputError: the tensor holds complex numbers.
        """
        import torch

        stored = source.read(self.tensor(block, role))
        if stored.is_complex():
            raise checks.InputError(f"{self.tensor(block, role)}: expected real numbers, found {stored.dtype}")
        tensor = stored.transpose(0, 1) if role.transposed else stored
        if role.rows:
            tensor = torch.cat([tensor[start:end] for start, end in role.rows])
        return tensor if tensor.dtype == torch.float64 else tensor.float()
