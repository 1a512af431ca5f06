"""Networks by name: a function of the user's, a model of timm or transformers."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deeplimit import checks
from deeplimit.diagnosis.sources.folder import WEIGHTS, FolderSource
from deeplimit.diagnosis.sources.module import ModuleSource
from deeplimit.diagnosis.sources.reading import bad, json_file
from deeplimit.diagnosis.sources.safetensor_file import SafetensorsSource
from deeplimit.diagnosis.sources.source import Source
from deeplimit.failures import users_code
from deeplimit.loading import load_function

LIBRARIES = ("timm", "transformers")
_FETCH = "nothing is downloaded without --download"
_FETCHED = ["config.json", "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"]
_COUNTS = re.compile(r"(layers?|blocks?|depth)$")
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def from_function(text: str) -> Source:
    """The module that the function `MODULE:function` returns; its tensors are those of the user's own process.

    Raises:
        InputError: there is no such function, it fails, or returns something else.
    """
    build = load_function(text)
    with users_code(f"{text}: expected a function that returns a torch.nn.Module"):
        module = build()
    try:
        return ModuleSource(module, title=text)
    except checks.InputError as problem:
        raise checks.InputError(f"{text}: {problem}") from problem


def from_transformers(name: str, *, download: bool = False) -> Source:
    """A model of transformers, without its head, with its trained weights: of a folder, or from the local cache.

    Code that lies beside the weights is never run, and weights are read from safetensors files alone.

    Raises:
        InputError: the library or the weights are not there, or code would have to be run.
    """
    transformers, title = _library("transformers"), f"transformers:{name}"
    with _in_words(title, download=download):
        folder = Path(name) if os.path.isdir(name) else _snapshot(name, download=download)
        config = _harmless(folder, title)
    if "auto_map" in config and config.get("model_type") not in transformers.CONFIG_MAPPING:
        found = f"code of its own (auto_map), which is never run; the target {folder} is its weights alone"
        raise bad(title, "a model that transformers itself knows", found)
    with _in_words(title, download=download), _offline():
        model = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    return ModuleSource(model, title=title)


def _snapshot(name: str, *, download: bool) -> Path:
    """The folder of a model in the local cache; nothing is fetched but its configuration and its weights."""
    import huggingface_hub

    try:
        found = huggingface_hub.snapshot_download(name, allow_patterns=_FETCHED, local_files_only=not download)
    except huggingface_hub.errors.HFValidationError as problem:
        expected = "a folder that is there, or a name of the Hugging Face hub"
        raise bad(f"transformers:{name}", expected, "neither") from problem
    return Path(found)


def _harmless(folder: Path, title: str) -> Mapping[str, Any]:
    """The configuration of a model's folder, in which nothing names code.

    Raises:
        InputError: something does, or there are no weights that hold numbers alone.
    """
    config = json_file(folder / "config.json") if (folder / "config.json").is_file() else {}
    if (folder / "adapter_config.json").is_file() or not config:
        raise bad(title, "a whole model with its config.json", f"{'none' if not config else 'an adapter'} in {folder}")
    kernels = [value for key, value in _entries(config) if key.endswith("_implementation") and "/" in str(value)]
    if kernels:
        raise bad(title, "a model without code of others", f"the kernel {kernels[0]!r} in its config.json")
    if not any((folder / weights).is_file() for weights in WEIGHTS[:2]):
        found = f"none; the target {folder} is whatever weights it has, read without running code"
        raise bad(title, f"{WEIGHTS[0]} or its shards in {folder}", found)
    held = len(FolderSource(folder, SafetensorsSource).shapes)
    for key, value in _entries(config):
        # The library would build them all, whatever the weights hold.
        if _COUNTS.search(key) and isinstance(value, int) and value > held:
            raise bad(title, f"a {key} that its {held} tensors can be of", f"{value} in its config.json")
    return config


def _entries(value: object) -> Iterator[tuple[str, object]]:
    """All names in an object of JSON, with their values, at every depth."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def from_timm(name: str, *, download: bool = False) -> Source:
    """A model of timm with its trained weights, a safetensors file of the local cache.

    Raises:
        InputError: the library or the weights are not there.
    """
    timm, title = _library("timm"), f"timm:{name}"
    if not timm.is_model(name):
        raise bad(title, "a model of timm", "no such name")
    with _in_words(title, download=download):
        file = _timm_weights(timm.models.get_pretrained_cfg(name), download=download)
        with _offline():
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": file, "source": "file"})
    return ModuleSource(model, title=title)


@contextmanager
def _in_words(title: str, *, download: bool) -> Iterator[None]:
    """Say of whatever a library raises that there are no weights; what is said in words already is passed on."""
    try:
        yield
    except checks.InputError:
        raise
    except Exception as problem:
        hint = "" if download else f" ({_FETCH})"
        raise _misfit(title, problem) or bad(
            title, f"trained weights{'' if download else ' in the local cache'}{hint}", problem
        ) from problem


@contextmanager
def _offline() -> Iterator[None]:
    """Let nothing be fetched by who makes a module of files that are here."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _timm_weights(cfg: Any, *, download: bool) -> str:
    """The file that the weights of a name lie in: timm itself would look for it on the network."""
    import huggingface_hub

    home = getattr(cfg, "hf_hub_id", None)
    if not home:
        raise LookupError("no weights on the Hugging Face hub")
    return huggingface_hub.hf_hub_download(home, "model.safetensors", local_files_only=not download)


def from_name(name: str, *, download: bool = False) -> Source:
    """A model of that library which knows the name.

    Raises:
        InputError: none does, or both do.
    """
    knowing = [library for library in LIBRARIES if _is_there(library) and _knows(library, name)]
    if len(knowing) > 1:
        either = " or ".join(f"{library}:{name}" for library in knowing)
        raise bad(name, f"a name that one library knows: write {either}", f"it in {' and '.join(knowing)}")
    if not knowing:
        expected = "a file, a folder, MODULE:function, timm:NAME or transformers:NAME"
        raise bad(name, expected, f"none of that name ({_FETCH})" if not download else "none of that name")
    return {"timm": from_timm, "transformers": from_transformers}[knowing[0]](name, download=download)


def _knows(library: str, name: str) -> bool:
    """Whether timm has a model, or the local cache a configuration, of that name."""
    if not _NAME.fullmatch(name):
        return False
    if library == "timm":
        return bool(_library("timm").is_model(name))
    import huggingface_hub

    try:
        return isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str)
    except huggingface_hub.errors.HFValidationError:
        return False


def _is_there(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _library(name: str) -> Any:
    """The library of that name.

    Raises:
        InputError: it is not there, or cannot be imported; the message says what to install.
    """
    if not _is_there(name):
        raise checks.InputError(f"{name}: expected the library {name} (pip install 'deeplimit[{name}]'), found none")
    try:
        return importlib.import_module(name)
    except Exception as problem:
        raise _misfit(name, problem) or bad(
            name, f"the library {name} (pip install 'deeplimit[{name}]')", problem
        ) from problem


def _misfit(where: str, problem: Exception) -> checks.InputError | None:
    """The error where torchvision is not there or was built for another PyTorch, as happens when one of them is replaced alone."""
    if "torchvision" not in str(problem):
        return None
    import torch

    version, _, build = torch.__version__.partition("+")
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    command = f"pip uninstall -y torchvision; pip install torchvision torch=={version}{index}"
    return bad(where, f"a torchvision that fits torch {torch.__version__} ({command})", problem)
