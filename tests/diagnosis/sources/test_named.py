"""Networks by name. timm is not needed: a small library of the same functions stands in for it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources.named import from_function, from_name, from_timm, from_transformers
from tests.diagnosis.sources.test_folder import SMALL


@pytest.fixture
def timm(tmp_path, monkeypatch):
    """A library that knows `tiny`, whose weights lie in the cache of the hub."""
    file = tmp_path / "model.safetensors"
    save_file({"weight": torch.full((2, 2), 7.0), "bias": torch.zeros(2)}, file)

    def create_model(name: str, *, pretrained: bool, pretrained_cfg_overlay: dict[str, str]) -> nn.Module:
        assert name == "tiny"
        assert pretrained
        module = nn.Linear(2, 2)
        module.load_state_dict(load_file(pretrained_cfg_overlay["file"]))
        return module

    def download(home: str, name: str, *, local_files_only: bool) -> str:
        asked.append((home, name, local_files_only))
        if home == "timm/elsewhere" and local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")
        return str(file)

    asked: list[tuple[str, str, bool]] = []
    library = ModuleType("timm")
    library.__spec__ = importlib.machinery.ModuleSpec("timm", None)
    homes = {"tiny": "timm/tiny", "elsewhere": "timm/elsewhere", "nowhere": None}
    models = SimpleNamespace(get_pretrained_cfg=lambda name: SimpleNamespace(hf_hub_id=homes[name]))
    vars(library).update(is_model=homes.__contains__, create_model=create_model, models=models)
    monkeypatch.setitem(sys.modules, "timm", library)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_a_model_of_timm_is_read_from_the_cache_alone(timm):
    for source in (from_timm("tiny"), from_name("tiny")):
        assert source.title == "timm:tiny"
        assert source.read("weight").tolist() == [[7, 7], [7, 7]]
    assert timm == [("timm/tiny", "model.safetensors", True)] * 2
    with pytest.raises(
        InputError, match=r"timm:elsewhere: expected trained weights in the local cache \(nothing is downloaded"
    ):
        from_timm("elsewhere")
    from_timm("tiny", download=True)
    assert timm[-1] == ("timm/tiny", "model.safetensors", False)
    with pytest.raises(InputError, match=r"timm:nowhere: .*no weights on the Hugging Face hub"):
        from_timm("nowhere")
    with pytest.raises(InputError, match="timm:other: expected a model of timm, found no such name"):
        from_timm("other")


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for load, name in [(from_timm, "timm"), (from_transformers, "transformers")]:
        with pytest.raises(InputError, match=rf"expected the library {name} \(pip install 'deeplimit\[{name}\]'\)"):
            load("x")
    with pytest.raises(InputError, match="found none of that name"):
        from_name("resnet18")


def test_a_model_of_transformers_is_read(tmp_path):
    model = transformers.AutoModel.from_config(SMALL["bert"])
    model.save_pretrained(tmp_path)
    source = from_transformers(str(tmp_path))
    assert source.title == f"transformers:{tmp_path}"
    name = "encoder.layer.2.output.dense.weight"
    assert torch.equal(source.read(name), model.state_dict()[name])
    assert source.config["model_type"] == "bert"


def test_what_is_not_in_the_cache_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = r"transformers:nobody/nothing: expected trained weights in the local cache \(nothing is downloaded without --download\)"
    with pytest.raises(InputError, match=message) as error:
        from_transformers("nobody/nothing")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="nobody/nothing: expected a file, a folder"):
        from_name("nobody/nothing")


def test_a_name_that_both_know_must_say_which(timm, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: "there")
    with pytest.raises(InputError, match="write timm:tiny or transformers:tiny, found it in timm and transformers"):
        from_name("tiny")
    assert timm == []


def test_a_function_must_return_a_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef net(): return nn.Linear(2, 3)\ndef number(): return 3\ndef broken(): 1 / 0\n"
    )
    assert dict(from_function("mine.py:net").shapes) == {"weight": (3, 2), "bias": (3,)}
    with pytest.raises(InputError, match=r":\w+: module: expected a torch\.nn\.Module, found int"):
        from_function("mine.py:number")
    with pytest.raises(
        InputError,
        match=r"mine\.py:broken: expected a function that returns .*: ZeroDivisionError.* \(mine\.py, line 4\)",
    ):
        from_function("mine.py:broken")
