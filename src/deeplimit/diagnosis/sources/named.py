"""Networks by name: a function of the user's, a model of timm or transformers."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from deeplimit import checks
from deeplimit.diagnosis.sources.module import ModuleSource
from deeplimit.diagnosis.sources.reading import bad
from deeplimit.diagnosis.sources.source import Source
from deeplimit.failures import users_code
from deeplimit.loading import load_function

LIBRARIES = ("timm", "transformers")
_FETCH = "nothing is downloaded without --download"
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


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
    """A model of transformers, without its head, with its trained weights from the local cache.

    Raises:
        InputError: the library or the weights are not there.
    """
    _check_library("transformers")
    import transformers

    title = f"transformers:{name}"
    try:
        model: Any = transformers.AutoModel.from_pretrained(name, local_files_only=not download)
    except Exception as problem:
        hint = "" if download else f" ({_FETCH})"
        raise bad(title, f"trained weights{'' if download else ' in the local cache'}{hint}", problem) from problem
    return ModuleSource(model, title=title)


def from_timm(name: str, *, download: bool = False) -> Source:
    """A model of timm with its trained weights, a safetensors file of the local cache.

    Raises:
        InputError: the library or the weights are not there.
    """
    _check_library("timm")
    import timm

    title = f"timm:{name}"
    if not timm.is_model(name):
        raise bad(title, "a model of timm", "no such name")
    try:
        file = _timm_weights(timm.models.get_pretrained_cfg(name), download=download)
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": file, "source": "file"})
    except Exception as problem:
        hint = "" if download else f" ({_FETCH})"
        raise bad(title, f"trained weights{'' if download else ' in the local cache'}{hint}", problem) from problem
    return ModuleSource(model, title=title)


def _timm_weights(cfg: Any, *, download: bool) -> str:
    """The file that the weights of a name lie in: timm itself would look for it on the network."""
    import huggingface_hub

    home = getattr(cfg, "hf_hub_id", None)
    if not home:
        raise checks.InputError("no weights on the Hugging Face hub")
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
        import timm

        return bool(timm.is_model(name))
    import huggingface_hub

    try:
        return isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str)
    except huggingface_hub.errors.HFValidationError:
        return False


def _is_there(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _check_library(library: str) -> None:
    if not _is_there(library):
        raise checks.InputError(
            f"{library}: expected the library {library} (pip install 'deeplimit[{library}]'), found none"
        )
