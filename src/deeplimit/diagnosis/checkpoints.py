"""Which checkpoints a folder holds, and of which step each is."""

from __future__ import annotations

import re
from pathlib import Path

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources.folder import WEIGHTS

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".onnx")
SHARD = re.compile(r"-\d+-of-\d+$")


def checkpoints(folder: Path) -> dict[int, Path]:
    """Step -> checkpoint, in the order of steps; empty where the folder is a model itself, or no folder, or holds fewer than two.

    A checkpoint is a file of weights, or a folder with one in it, with a number in its name: the one after `step`, else the last
    (`checkpoint-500/`, `step_1000.safetensors`, `epoch=3-step=200.ckpt`).

    Raises:
        InputError: two checkpoints of one step.
    """
    if not folder.is_dir() or any(_is_own(path.name) for path in folder.iterdir()):
        return {}
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        step = step_of(path.stem if path.is_file() else path.name)
        if step is None or not _has_weights(path):
            continue
        if step in found:
            raise InputError(f"{folder}: expected one checkpoint a step, found {found[step].name} and {path.name}")
        found[step] = path
    return dict(sorted(found.items())) if len(found) > 1 else {}


def step_of(name: str) -> int | None:
    """The step in a name; None where there is no number.

    >>> step_of("checkpoint-500"), step_of("epoch=3-step=200"), step_of("step_10_of_run_2"), step_of("last")
    (500, 200, 10, None)
    """
    after = re.search(r"step\D{0,2}(\d+)", name, re.IGNORECASE)
    numbers = re.findall(r"\d+", name)
    return int(after[1]) if after else int(numbers[-1]) if numbers else None


def _is_own(name: str) -> bool:
    return name in WEIGHTS or name.endswith(".index.json") or bool(SHARD.search(Path(name).stem))


def _has_weights(path: Path) -> bool:
    if path.is_dir():
        return any(inner.suffix in SUFFIXES for inner in path.iterdir() if inner.is_file())
    return path.suffix in SUFFIXES
