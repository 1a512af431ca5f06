"""Runs read from safetensors files, one file a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deeplimit import checks, machine
from deeplimit.regimes.observe import Runs, movement_of, passage_of

if TYPE_CHECKING:
    from torch import Tensor

STATES, OUTPUTS, INITIAL = "states", "outputs", "initial."


def read_runs(files: Sequence[Path]) -> dict[int, list[Runs]]:
    """Runs by depth, from files of stacked weights.

    A file holds a tensor `[L, *shape]` for each role, whose first size is the depth; `initial.ROLE` of the same shape, the weights before
    training, and `states` `[L + 1, n, …]`, hidden states on inputs that are the same in all files, and `outputs` `[n, …]` may stand beside
    them.

    Raises:
        InputError: a file is not there, is no safetensors file, or its tensors do not fit together, or into memory.
    """
    there = [file.stat().st_size for file in files if file.is_file()]
    # All runs are held together, and in double precision while they are compared.
    machine.check_memory("files", 3.0 * sum(there), remedy="fewer files")
    runs: dict[int, list[Runs]] = {}
    for file in files:
        depth, run = _run(file, _tensors(file))
        runs.setdefault(depth, []).append(run)
    return runs


def _tensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise checks.InputError(f"{file}: expected a safetensors file, found none")
    try:
        return load_file(file)
    except SafetensorError as problem:
        raise checks.InputError(f"{file}: expected a safetensors file, found {problem}") from problem


def _run(file: Path, tensors: dict[str, Tensor]) -> tuple[int, Runs]:
    states, outputs = tensors.pop(STATES, None), tensors.pop(OUTPUTS, None)
    initial = {name.removeprefix(INITIAL): tensors.pop(name) for name in list(tensors) if name.startswith(INITIAL)}
    depths = {tensor.shape[0] if tensor.dim() else 0 for tensor in tensors.values()}
    if len(depths) != 1 or 0 in depths:
        found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items()) or "none"
        raise checks.InputError(f"{file}: expected weights [depth, ...] of one depth, found {found}")
    (depth,) = depths
    for role, tensor in initial.items():
        checks.one_of(f"{file}: role of {INITIAL}{role}", role, tensors)
        checks.shape(f"{file}: {INITIAL}{role}", tuple(tensor.shape), tuple(tensors[role].shape))
    passage = None
    if states is not None:
        checks.shape(f"{file}: {STATES}", tuple(states.shape), (depth + 1, *[None] * (states.dim() - 1)))
        passage = passage_of(states[:, None], None if outputs is None else outputs[None])
    weights, started = ({role: tensor[None] for role, tensor in part.items()} for part in (tensors, initial))
    return depth, Runs(weights, passage, movement_of(weights, started))
