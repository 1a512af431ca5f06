"""Networks that PyTorch saved."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources.torch_file import StateDictSource, find_state_dict, is_zip, load_checkpoint
from tests.diagnosis.sources.hostile import Call, network

NET = network()
SHAPES = {name: tuple(tensor.shape) for name, tensor in NET.items()}


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in NET.items()}


@pytest.mark.parametrize(
    "checkpoint",
    [
        NET,
        OrderedDict(NET),
        {"state_dict": NET, "epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}},
        {"model_state_dict": NET},
        {"model": {"state_dict": NET}, "args": {"depth": 3}},
        {"model": prefixed("module.")},
        prefixed("_orig_mod."),
        {"state_dict": prefixed("module._orig_mod.")},
        {"pytorch-lightning_version": "2.6", "state_dict": NET, "loops": {}, "callbacks": {}},
        {**NET, "ids": torch.arange(3)},
    ],
)
def test_a_state_dict_is_found_wherever_it_lies(tmp_path, checkpoint):
    torch.save(checkpoint, tmp_path / "a.pt")
    source = StateDictSource(tmp_path / "a.pt")
    assert dict(source.shapes) == SHAPES
    assert all(torch.equal(source.read(name), tensor) for name, tensor in NET.items())
    assert bool(source.notes) == ("ids" in checkpoint)


def test_names_that_merely_begin_alike_are_left():
    mixed = {"module.a": NET["net0.h.0.up.bias"], "head": NET["net0.h.0.up.bias"]}
    assert find_state_dict(mixed, Path("a.pt"))[0].keys() == mixed.keys()


def test_averages_over_training_are_noted():
    double = {name: 2 * tensor for name, tensor in NET.items()}
    beside = {"state_dict": NET, "state_dict_ema": double}
    inside = {**NET, **{f"model_ema.{name}": tensor for name, tensor in double.items()}}
    for checkpoint, name in [(beside, "state_dict_ema"), (inside, "model_ema")]:
        state, (note,) = find_state_dict(checkpoint, Path("a.pt"))
        assert all(state[name] is tensor for name, tensor in NET.items())
        assert len(state) == len(NET)
        assert f"({name}) stands beside the weights and is left out" in note
    state, (note,) = find_state_dict({"ema": double}, Path("a.pt"))
    assert all(state[name] is tensor for name, tensor in double.items())
    assert "is what was read" in note
    assert find_state_dict(NET, Path("a.pt"))[1] == ()


def test_the_old_format_is_read_and_said_so(tmp_path):
    torch.save(NET, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert not is_zip(tmp_path / "old.pt")
    loaded, (note,) = load_checkpoint(tmp_path / "old.pt")
    assert loaded.keys() == NET.keys()
    assert "before PyTorch 1.6" in note


def test_numbers_are_mapped_and_not_loaded(tmp_path):
    torch.save({"w": torch.ones(2**22)}, tmp_path / "a.pt")
    assert is_zip(tmp_path / "a.pt")
    tensor = StateDictSource(tmp_path / "a.pt").read("w")
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines if line.endswith("/a.pt")]
    assert any(start <= tensor.data_ptr() < end for start, end in ranges)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "asked"),
    [(Call(os.system, "touch run"), r"(posix|nt)\.system"), (nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear")],
)
def test_what_needs_code_is_refused_with_its_name_and_the_way_out(tmp_path, monkeypatch, zipped, content, asked):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": NET, "extra": content}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=f"needs the code of {asked}; .*model.state_dict") as error:
        StateDictSource(tmp_path / "a.pt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_torchscript_program_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/constants.pkl", b"")
    with pytest.raises(InputError, match="expected a state dict, found a TorchScript program"):
        StateDictSource(tmp_path / "a.pt")


def test_a_view_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    torch.save({"w": torch.ones(1).expand(2**40)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="w: expected no more numbers than the file holds"):
        StateDictSource(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "found"),
    [([torch.ones(2)], "list"), ({"epoch": 3}, "the entries epoch"), (torch.ones(2), "Tensor"), ({}, "the entries")],
)
def test_what_holds_no_state_dict_is_refused(tmp_path, content, found):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"expected a state dict, a dictionary of tensors by name, found {found}"):
        StateDictSource(tmp_path / "a.pt")


def test_a_pickle_of_a_later_protocol_is_refused_with_the_way_out(tmp_path):
    import pickle

    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"blocks.0.weight": [1.0, 2.0]}, protocol=4))
    with pytest.raises(InputError, match=r"a pickle of something else; .*safetensors"):
        load_checkpoint(tmp_path / "net.pkl")
