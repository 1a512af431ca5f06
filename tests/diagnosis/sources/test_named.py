"""Networks by name. timm is not needed: a small library of the same functions stands in for it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import shutil
import sys
from fnmatch import fnmatch
from types import ModuleType, SimpleNamespace
from typing import Any

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


@pytest.fixture
def bert(tmp_path):
    """The folder of a small model, and a function that changes its configuration."""
    transformers.AutoModel.from_config(SMALL["bert"]).save_pretrained(tmp_path)
    file = tmp_path / "config.json"

    def change(**entries: object) -> str:
        file.write_text(json.dumps(json.loads(file.read_text()) | entries))
        return str(tmp_path)

    return change


def test_code_beside_a_model_is_not_run_and_nobody_is_asked(bert, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    (tmp_path / "mine.py").write_text("raise SystemExit('the code of the folder was run')")
    code = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}
    assert from_transformers(bert(auto_map=code)).config["model_type"] == "bert"
    with pytest.raises(
        InputError, match=r"expected a model that transformers itself knows, found code of its own \(auto_map\)"
    ):
        from_transformers(bert(auto_map=code, model_type="mine"))


@pytest.mark.parametrize(
    "entries",
    [
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": {"": "somebody/kernel:function"}, "text_config": [{"experts_implementation": "a/b"}]},
    ],
)
def test_a_configuration_that_names_code_of_others_is_refused(bert, entries):
    with pytest.raises(
        InputError, match=r"expected a model without code of others, found the kernel .* in its config\.json"
    ):
        from_transformers(bert(**entries))


def test_an_adapter_and_a_pickle_are_refused(bert, tmp_path):
    folder = bert()
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "/somewhere/else"}')
    with pytest.raises(InputError, match=r"expected a whole model with its config\.json, found an adapter"):
        from_transformers(folder)
    (tmp_path / "adapter_config.json").unlink()
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weight": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        InputError,
        match=r"expected model\.safetensors or its shards in .*, found none; the target .* is whatever weights",
    ):
        from_transformers(folder)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"expected a whole model with its config\.json, found none in"):
        from_transformers(folder)


def test_a_model_of_the_cache_is_read(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    home, commit = tmp_path / "cache" / "models--somebody--bert", "0" * 40
    for path in (home / "refs", home / "snapshots"):
        path.mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    bert()
    shutil.copytree(tmp_path, home / "snapshots" / commit, ignore=shutil.ignore_patterns("cache"))
    assert from_transformers("somebody/bert").title == "transformers:somebody/bert"
    assert from_name("somebody/bert").config["model_type"] == "bert"


def test_nothing_is_fetched_but_numbers_and_the_library_itself_stays_offline(bert, monkeypatch):
    asked, loading = [], transformers.AutoModel.from_pretrained

    def snapshot(name: str, *, allow_patterns: list[str], local_files_only: bool) -> object:
        asked.append((name, local_files_only))
        files = ("mine.py", "pytorch_model.bin", "config.json")
        assert {"config.json"} == {file for file in files for pattern in allow_patterns if fnmatch(file, pattern)}
        return bert()

    def offline(*words: Any, **options: Any) -> Any:
        assert huggingface_hub.is_offline_mode()
        return loading(*words, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", offline)
    online = huggingface_hub.is_offline_mode()
    for download in (False, True):
        assert from_transformers("somebody/bert", download=download).title == "transformers:somebody/bert"
    assert asked == [("somebody/bert", True), ("somebody/bert", False)]
    assert huggingface_hub.is_offline_mode() == online


@pytest.mark.parametrize("said", ["operator torchvision::nms does not exist", "No module named 'torchvision'"])
def test_a_torchvision_of_another_torch_is_said_with_the_command_that_helps(tmp_path, monkeypatch, said):
    (tmp_path / "timm.py").write_text(f"raise RuntimeError({said!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    version = torch.__version__.partition("+")[0]
    for load in (from_timm, from_name):
        with pytest.raises(
            InputError, match=r"timm: expected a torchvision that fits torch .* \(pip uninstall -y torchvision; pip"
        ) as error:
            load("resnet18")
        assert f"install torchvision torch=={version}" in str(error.value)
        assert str(error.value).endswith(f"found RuntimeError: {said}")
    (tmp_path / "timm.py").write_text("raise RuntimeError('something else')")
    with pytest.raises(
        InputError, match=r"timm: expected the library timm \(pip install .*, found RuntimeError: something else"
    ):
        from_timm("resnet18")


def test_what_is_not_in_the_cache_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = r"transformers:nobody/nothing: expected trained weights in the local cache \(nothing is downloaded without --download\)"
    with pytest.raises(InputError, match=message) as error:
        from_transformers("nobody/nothing")
    assert "\n" not in str(error.value)
    for name in ("./nothing", "", "a/b/c", "/no/such/folder"):
        with pytest.raises(
            InputError, match="expected a folder that is there, or a name of the Hugging Face hub, found neither"
        ):
            from_transformers(name)
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


def test_a_configuration_of_more_layers_than_the_weights_can_be_of_is_refused(tmp_path):
    transformers.AutoModel.from_config(SMALL["bert"]).save_pretrained(tmp_path)
    assert from_transformers(str(tmp_path)).shapes
    config = json.loads((tmp_path / "config.json").read_text())
    for layers in (10**9, 10**30):
        (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
        with pytest.raises(
            InputError, match=rf"expected a num_hidden_layers that its \d+ tensors can be of, found {layers} in"
        ):
            from_transformers(str(tmp_path))
