"""Folders of a model, as Hugging Face lays them out: weights in one file or in shards, and config.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.diagnosis.sources.reading import bad, beside, json_file, listed
from deeplimit.diagnosis.sources.source import Source

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin",
    "model.onnx",
)
"""Where the weights of a folder are looked for, in this order; else a single file that ends in .safetensors."""


class FolderSource(Source):
    """The tensors of a model's folder, whose shards are opened one by one.

    Args:
        folder: the folder.
        open_file: gives the source of one file.

    Raises:
        InputError: there are no weights, or the index and the shards contradict each other.
    """

    def __init__(self, folder: Path, open_file: Callable[[Path], Source]) -> None:
        self.title = str(folder)
        weights = _weights(folder)
        self._config = json_file(folder / CONFIG) if (folder / CONFIG).is_file() else {}
        self._parts = _shards(weights, open_file) if weights.suffix == ".json" else (open_file(weights),)
        self._home = {name: part for part in self._parts for name in part.shapes}
        self.notes = tuple(note for part in self._parts for note in part.notes)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: part.shapes[name] for name, part in self._home.items()}

    def read(self, name: str) -> Tensor:
        return self.read_at(name)

    def read_at(self, name: str, *index: int) -> Tensor:
        checks.one_of(f"{self.title}: tensor", name, self._home)
        return self._home[name].read_at(name, *index)

    @property
    def config(self) -> Mapping[str, Any]:
        return self._config


def _weights(folder: Path) -> Path:
    """The file of a folder that holds its weights, or says where they are."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    single = sorted(folder.glob("*.safetensors"))
    if len(single) == 1 and single[0].is_file():
        return single[0]
    found = listed(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise bad(folder, f"a model's folder, with {WEIGHTS[0]}, {WEIGHTS[1]} or {WEIGHTS[4]}", found)


def _shards(index: Path, open_file: Callable[[Path], Source]) -> Sequence[Source]:
    """The sources of all shards that an index names."""
    listed_in = json_file(index).get("weight_map")
    if not isinstance(listed_in, dict) or not listed_in:
        raise bad(index, "a weight_map from tensors to files", repr(listed_in))
    paths = {name: beside(index, name) for name in listed_in.values() if isinstance(name, str)}
    strange = [name for name, file in listed_in.items() if not isinstance(file, str)]
    if strange:
        raise bad(index, "the name of a file for every tensor", f"none for {listed(strange)}")
    homes = {file: open_file(path) for file, path in paths.items()}
    lost = [name for name, file in listed_in.items() if not _holds(homes[file], name)]
    if lost:
        raise bad(index, "every tensor where the index says", f"{listed(lost)} elsewhere or nowhere")
    parts = list(homes.values())
    names = [name for part in parts for name in part.shapes]
    twice = {name for name, count in Counter(names).items() if count > 1}
    if twice:
        raise bad(index, "every tensor in one shard", f"{listed(sorted(twice))} in several")
    return parts


def _holds(source: Source, name: str) -> bool:
    """Whether a shard lists the tensor, or says that it left something out."""
    return name in source.shapes or bool(source.notes)
