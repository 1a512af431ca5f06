"""Folders of a model."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import save_file

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources import open_target
from deeplimit.diagnosis.sources.folder import FolderSource
from deeplimit.diagnosis.sources.target import open_file

SMALL = {
    "bert": transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    ),
    "gpt2": transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=3, n_head=2, n_positions=16),
    "llama": transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    ),
}


@pytest.mark.parametrize("size", ["5GB", "12KB"])
@pytest.mark.parametrize("kind", SMALL)
def test_what_transformers_saved_is_read_back(tmp_path, kind, size):
    model = transformers.AutoModel.from_config(SMALL[kind])
    model.save_pretrained(tmp_path, max_shard_size=size)
    assert (
        len(list(tmp_path.glob("*.safetensors"))) == 1
        if size == "5GB"
        else len(list(tmp_path.glob("*.safetensors"))) > 2
    )
    source = open_target(str(tmp_path))
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    assert set(source.shapes) == set(state)
    assert all(torch.equal(source.read(name), tensor) for name, tensor in state.items())
    assert torch.equal(source.read_at(next(iter(state)), 2), next(iter(state.values()))[2])
    assert source.config["model_type"] == kind


def test_shards_of_torch_save_are_read(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-1.bin")
    torch.save({"b": torch.zeros(3)}, tmp_path / "pytorch_model-2.bin")
    places = {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    source = open_target(str(tmp_path))
    assert dict(source.shapes) == {"a": (2,), "b": (3,)}
    assert source.read("b").tolist() == [0, 0, 0]
    assert not source.config


def test_a_single_file_needs_no_name(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "weights.safetensors")
    assert list(FolderSource(tmp_path, open_file).shapes) == ["a"]
    save_file({"a": torch.ones(2)}, tmp_path / "others.safetensors")
    with pytest.raises(
        InputError, match=r"expected a model's folder, .* found others.safetensors, weights.safetensors"
    ):
        FolderSource(tmp_path, open_file)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "absent.safetensors"}}, "expected absent.safetensors beside it, found no such file"),
        ({"weight_map": {"a": "../one.safetensors"}}, "expected the name of a file in its folder"),
        ({"weight_map": {"a": 3}}, "expected the name of a file for every tensor, found none for a"),
        (
            {"weight_map": {"a": "one.safetensors", "b": "three.safetensors"}},
            "expected every tensor in one shard, found a in several",
        ),
        (
            {"weight_map": {"z": "one.safetensors"}},
            "expected every tensor where the index says, found z elsewhere or nowhere",
        ),
        ({"weight_map": {}}, "expected a weight_map from tensors to files"),
        ({}, "expected a weight_map from tensors to files, found None"),
    ],
)
def test_an_index_that_the_shards_contradict_is_refused(tmp_path, index, message):
    for folder in (tmp_path, tmp_path / "inner"):
        folder.mkdir(exist_ok=True)
        save_file({"a": torch.ones(2)}, folder / "one.safetensors")
        save_file({"a": torch.ones(2), "b": torch.ones(2)}, folder / "three.safetensors")
    (tmp_path / "inner" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=message):
        open_target(str(tmp_path / "inner"))


def test_a_configuration_that_is_broken_is_refused(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: expected a JSON object, found JSONDecodeError"):
        open_target(str(tmp_path))
