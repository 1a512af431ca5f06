"""A few numbers of a group of blocks, cheap enough to be taken while the network trains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.diagnosis.blocks.group import Group, Role
from deeplimit.diagnosis.function import hooked
from deeplimit.diagnosis.sources.module import unwrapped
from deeplimit.statistics.rounding import ROUNDING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

ENTRIES, START = 2**12, 2**12
"""Entries of a tensor that neighbours are compared by, and entries of all tensors whose start is kept."""

FIRST = 10
"""Steps of the power iteration at the first reading; each later one goes on by a single step from where the last one stood."""

_SMALLEST, _LAYERS = 3, 5  # blocks that have an order; blocks that second differences at lag 2 need


@dataclass(frozen=True)
class Reading:
    """What the weights of a group are at one moment.

    Args:
        gains: of each block, a bound of the norm of its branch as a map of the stream, as far as matrices and scales tell it: the sum over
            its parts of the product of the operator norms from the stream to the stream.
        order_ratio: Σ‖A_k − A_{k−1}‖² / Σ‖A_k − mean‖², mean over roles: near 2 where neighbours are no closer than others; 0 where all
            are equal.
        roughness: local Hurst index, mean over roles: 0 for white noise, up to 2 for smooth weights; NaN below 5 blocks.
        spread: (Σ‖A_k − mean‖² / Σ‖A_k‖²)^½, root mean square over roles: how much the blocks differ at all.
        increment: root mean square over k of ‖A_k − A_{k−1}‖ / ‖A_k‖, over roles too.
        movement: ‖A − A_start‖ / ‖A_start‖ of all weights together.
    """

    gains: tuple[float, ...]
    order_ratio: float
    roughness: float
    spread: float
    increment: float
    movement: float


class WeightGauge:
    """Reads the matrices of a group where they lie, with one transfer at the end.

    Neighbours are compared by at most `ENTRIES` entries of each tensor, evenly spread with random offsets and always the same ones.
    Operator norms come from a power iteration whose vectors are kept from one reading to the next: after `FIRST` steps at the start it
    follows the weights by one step a reading, two products of a matrix with a vector. A kernel of a convolution counts as the matrix by
    which it maps images of one colour.

    Args:
        model: not wrapped any more: see `whole`.
        group: of its blocks.

    Raises:
        InputError: fewer than 3 blocks, no matrices among the roles, a tensor that the model lacks, or one that is spread over processes.
    """

    def __init__(self, model: nn.Module, group: Group) -> None:
        if group.depth < _SMALLEST:
            raise checks.InputError(f"{group.name}: expected at least {_SMALLEST} blocks, found {group.depth}")
        self.group = group
        self._matrices = [role for role in group.roles if len(role.shape) >= 2 and role.use != "scale"]
        self._scales = [role for role in group.roles if role.use == "scale"]
        if not self._matrices:
            raise checks.InputError(f"{group.name}: expected a role of matrices, found none")
        self._paths = branch_paths(group, self._matrices)
        known = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
        self._tensors = {
            role.name: [_whole(known, f"{block}.{role.suffix}") for block in group.blocks]
            for role in (*self._matrices, *self._scales)
        }
        self._entries = {role.name: _entries(role, self._tensors[role.name][0]) for role in self._matrices}
        self._vectors: dict[str, Tensor] = {}
        self.start: list[float] = []

    def read(self) -> Reading:
        """The numbers of this moment; those of the first reading are the start that movement is counted from."""
        import torch

        depth, device = self.group.depth, self._tensors[self._matrices[0].name][0].device
        with torch.no_grad():
            samples = [self._sample(role, device) for role in self._matrices]
            kept = max(16, START // (len(samples) * depth))
            marks = [sample[:, :: max(1, sample.shape[1] // kept)][:, :kept].flatten() for sample in samples]
            norms = [self._operator_norms(role, device) for role in self._matrices]
            scales = [self._scale(role, device) for role in self._scales]
            parts = torch.cat([*(_sums(sample) for sample in samples), *norms, *scales, *marks]).tolist()
        roles, sums = [*self._matrices, *self._scales], 5 * len(samples)
        by_role = {role.name: parts[sums + at * depth :][:depth] for at, role in enumerate(roles)}
        now = parts[sums + len(roles) * depth :]
        self.start = self.start or now
        order, roughness, spread, increment = compared([parts[at : at + 5] for at in range(0, sums, 5)], depth)
        return Reading(
            tuple(self._gain(by_role, block) for block in range(depth)),
            order,
            roughness if depth >= _LAYERS else math.nan,
            spread,
            increment,
            _distance(now, self.start),
        )

    def _sample(self, role: Role, device: torch.device) -> Tensor:
        """The entries that neighbours are compared by, `[L, n]`."""
        import torch

        rows, entries = [], self._entries[role.name]
        for tensor in self._tensors[role.name]:
            flat = tensor.detach().reshape(-1)
            if entries.device != flat.device:
                entries = self._entries[role.name] = entries.to(flat.device)
            rows.append(flat.index_select(0, entries).to(device, torch.float32))
        return torch.stack(rows)

    def _operator_norms(self, role: Role, device: torch.device) -> Tensor:
        """Largest singular values `[L]`, from below: √‖AᵀA v‖ for the vectors v of norm 1 that come nearest so far."""
        import torch

        matrices = [_matrix(tensor, role) for tensor in self._tensors[role.name]]
        steps, vectors = 1, self._vectors.get(role.name)
        if vectors is None:
            drawn = torch.randn(len(matrices), matrices[0].shape[1], generator=torch.Generator().manual_seed(0))
            steps, vectors = FIRST, torch.nn.functional.normalize(drawn, dim=1).to(device)
        for _ in range(steps):
            images = [
                (matrix.T @ (matrix @ vector.to(matrix.device))).to(device)
                for matrix, vector in zip(matrices, vectors, strict=True)
            ]
            image = torch.stack(images)
            squares = image.norm(dim=1)
            # A matrix that is 0, or not finite, leaves its vector as it is: it may be another one next time.
            good = ((squares > 0) & squares.isfinite())[:, None]
            vectors = torch.where(good, image / squares.where(good[:, 0], 1.0)[:, None], vectors)
        self._vectors[role.name] = vectors
        norms: Tensor = squares.sqrt()
        return norms

    def _scale(self, role: Role, device: torch.device) -> Tensor:
        """Root mean square of a scale in each block, `[L]`."""
        import torch

        values = [_as_role(tensor.detach(), role).to(device, torch.float32) for tensor in self._tensors[role.name]]
        root: Tensor = torch.stack(values).flatten(1).square().mean(1).sqrt()
        return root

    def _gain(self, norms: Mapping[str, Sequence[float]], block: int) -> float:
        return sum(math.prod(norms[name][block] for name in path) for path in self._paths)


def branch_paths(group: Group, matrices: Sequence[Role]) -> list[tuple[str, ...]]:
    """For each way of a block's branch from the stream to the stream, the names of the roles whose sizes multiply.

    A way ends at a role that writes to the stream; it begins at the first role that is paired with it, or at the last that reads in the
    same part, and has what is among hidden units of that part, and the scales, between. A role from the stream to the stream that has no
    partner is a way by itself. Where nothing is known to write, each matrix is a way.
    """
    partners = {pair.second: pair.first for pair in reversed(group.pairs) if not pair.scores}
    partnered = {name for pair in group.pairs for name in (pair.first, pair.second)}

    def ends(role: Role) -> bool:
        lone = role.use == "stream" and role.name not in partnered
        return role.name in partners or role.use == "writes" or lone

    def path(end: Role) -> tuple[str, ...]:
        def of(use: str, *parts: str) -> list[str]:
            return [role.name for role in group.roles if role.use == use and role.part in (end.part, *parts)]

        begin = [partners[end.name]] if end.name in partners else of("reads")[-1:] if end.use == "writes" else []
        return (end.name, *begin, *(of("hidden") if begin else []), *of("scale", "scale", "other"))

    return [path(role) for role in [role for role in matrices if ends(role)] or matrices]


def compared(sums: Sequence[Sequence[float]], depth: int) -> tuple[float, float, float, float]:
    """Order ratio, roughness, spread and increment, means over roles, from their sums over depth as `_sums` gives them.

    A role of equal blocks has no order: it takes part in spread and increment alone, one that is 0 in none. Not a number
    where weights are not finite.
    """
    ratios, indices, spreads, increments = [], [], [], []
    for level, spread, steps, near, far in sums:
        if not math.isfinite(level + spread + steps):
            return math.nan, math.nan, math.nan, math.nan
        if level == 0:
            continue
        spreads.append(spread / level)
        increments.append(steps / (depth - 1) / (level / depth))
        if spread > ROUNDING * level:
            ratios.append(steps / spread)
        if near > ROUNDING * level and far > 0:
            indices.append(math.log2(far / near) / 2)
        elif near <= ROUNDING * level:
            indices.append(2.0)
    far, near = (math.sqrt(_mean(squares, 0.0)) for squares in (spreads, increments))
    return _mean(ratios, 0.0), _mean(indices, math.nan), far, near


def whole(model: nn.Module) -> nn.Module:
    """The module inside torch.compile and DistributedDataParallel.

    Raises:
        InputError: it is no module, or its weights are spread over processes (FullyShardedDataParallel).
    """
    from torch import nn

    if not isinstance(model, nn.Module):
        raise checks.InputError(f"model: expected a module of PyTorch, found {type(model).__name__}")
    model = unwrapped(model)
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        raise _sharded(type(model).__name__)
    return model


def passage(model: nn.Module, group: Group, *, batch: Any) -> tuple[tuple[float, ...], float]:
    """How a batch passes: ‖update‖ / ‖stream‖ of each block, and the mean cosine between successive updates, from one forward pass.

    Args:
        model: not wrapped any more: see `whole`.
        group: of its blocks, each with its residual connection.
        batch: a tensor, a sequence of arguments or a mapping of named ones.

    Raises:
        InputError: the network cannot run on the batch, or its blocks are no chain of states of one shape.
    """
    import torch

    updates: list[Tensor] = []
    ratios: list[Tensor] = []

    def listen(_: int, call: hooked.Call) -> None:
        updates.append((call.after - call.before).float())
        ratios.append(updates[-1].norm() / call.before.float().norm())

    with hooked.observing(model):
        blocks = dict(zip(group.blocks, hooked.submodules(model, group.blocks), strict=True))
        hooked.forward(model, blocks, batch=batch, edit=listen)
    cosines = [
        torch.cosine_similarity(left.flatten(), right.flatten(), dim=0)
        for left, right in itertools.pairwise(updates)
        if left.shape == right.shape
    ]
    *found, mean = torch.stack([*ratios, torch.stack(cosines).mean()]).tolist()
    return tuple(found), mean


def _whole(known: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in known:
        raise checks.InputError(
            f"model: expected a parameter or buffer {name}, found none; weights that are computed from others cannot be watched"
        )
    tensor = known[name]
    # DTensor of fully_shard and tensor parallelism; DeepSpeed's third stage.
    if hasattr(tensor, "placements") or hasattr(tensor, "ds_id"):
        raise _sharded(name)
    return tensor


def _sharded(name: str) -> checks.InputError:
    return checks.InputError(
        f"{name}: expected whole weights, as under DistributedDataParallel; found weights that are spread over processes"
    )


def _as_role(tensor: Tensor, role: Role) -> Tensor:
    """As `Group.read` turns what is stored."""
    import torch

    turned = tensor.transpose(0, 1) if role.transposed else tensor
    return torch.cat([turned[start:end] for start, end in role.rows]) if role.rows else turned


def _matrix(tensor: Tensor, role: Role) -> Tensor:
    """`[out, in]` in float32; of a kernel, the sum over its places."""
    matrix = _as_role(tensor.detach(), role).float()
    return matrix.flatten(2).sum(2) if matrix.dim() > 2 else matrix


def _entries(role: Role, stored: Tensor) -> Tensor:
    """Places, in what is stored, of at most `ENTRIES` entries of a role: one in each of equal stretches, drawn once and for all."""
    import torch

    count, inner = math.prod(role.shape), math.prod(role.shape[1:])
    if count <= ENTRIES:
        places = torch.arange(count)
    else:
        offsets = torch.rand(ENTRIES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        places = ((torch.arange(ENTRIES) + offsets) * (count / ENTRIES)).long().clamp_max(count - 1)
    row, rest = places // inner, places % inner
    if role.rows:
        row = torch.cat([torch.arange(start, end) for start, end in role.rows])[row]
    if not role.transposed:
        return row * inner + rest
    beyond = math.prod(role.shape[2:])
    return (rest // beyond * stored.shape[1] + row) * beyond + rest % beyond


def _sums(sample: Tensor) -> Tensor:
    """Of `[L, n]`: Σ‖A‖², Σ‖A − mean‖², Σ‖ΔA‖², and the mean squares of second differences at lags 1 and 2 (0 where there are none)."""
    import torch

    steps = sample.diff(dim=0)
    parts = [sample.square().sum(), (sample - sample.mean(0)).square().sum(), steps.square().sum()]
    for lag in (1, 2):
        if len(sample) > 2 * lag:
            second = sample[2 * lag :] - 2 * sample[lag:-lag] + sample[: -2 * lag]
            parts.append(second.square().mean())
        else:
            parts.append(torch.zeros_like(parts[0]))
    return torch.stack(parts)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _distance(now: Iterable[float], start: Sequence[float]) -> float:
    moved = math.sqrt(sum((a - b) ** 2 for a, b in zip(now, start, strict=True)))
    base = math.sqrt(sum(b * b for b in start))
    return moved / base if base > 0 else (0.0 if moved == 0 else math.inf)
