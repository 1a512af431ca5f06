"""Weights whose regime is known, saved in every format: the same verdict as from the tensors themselves."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deeplimit.diagnosis.diagnose import diagnose
from deeplimit.diagnosis.sources import ModuleSource
from deeplimit.diagnosis.tasks import Options, as_family
from deeplimit.regimes import judge_weights, smoothness
from deeplimit.regimes.zoo import FAMILIES

DEPTHS, DEPTH, WIDTH = (16, 32, 64), 32, 10


@cache
def stacked(name, seed=0):
    """Depth -> weights `[L, 10, 10]` of a family."""
    family = next(family for family in FAMILIES if family.name == name)
    drawn = family.draw(DEPTHS, WIDTH**2, seed=seed)
    return {depth: weights[0].reshape(depth, WIDTH, WIDTH).contiguous() for depth, weights in drawn.items()}


def named(weights):
    return {f"encoder.blocks.{k}.A": layer.clone() for k, layer in enumerate(weights)}


def as_safetensors(weights, folder):
    save_file(named(weights), folder / "net.safetensors")
    return folder / "net.safetensors"


def as_stack(weights, folder):
    save_file({"A": weights}, folder / "stack.safetensors")
    return folder / "stack.safetensors"


def as_state_dict(weights, folder):
    torch.save(
        {"state_dict": {f"module.{name}": layer for name, layer in named(weights).items()}, "step": 3},
        folder / "net.pt",
    )
    return folder / "net.pt"


def as_folder(weights, folder):
    tensors = named(weights)
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, own in shards.items():
        save_file({name: tensors[name] for name in own}, folder / shard)
    index = {"weight_map": {name: shard for shard, own in shards.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"model_type": "stack"}))
    return folder


def as_onnx(weights, folder):
    onnx = pytest.importorskip("onnx", exc_type=ImportError)
    tensors = named(weights)
    values = [onnx.numpy_helper.from_array(layer.numpy(), name) for name, layer in tensors.items()]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, [1, WIDTH]) for name in ("x", "y")]
    nodes = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], values)
    onnx.save(onnx.helper.make_model(graph), str(folder / "net.onnx"))
    return folder / "net.onnx"


def as_function(weights, folder):
    as_safetensors(weights, folder)
    (folder / "net.py").write_text(
        "from pathlib import Path\n"
        "from safetensors.torch import load_file\n"
        "from torch import nn\n"
        "def net():\n"
        "    tensors = load_file(Path(__file__).with_name('net.safetensors'))\n"
        "    blocks = [nn.ParameterDict({'A': tensors[f'encoder.blocks.{k}.A']}) for k in range(len(tensors))]\n"
        "    return nn.ModuleDict({'encoder': nn.ModuleDict({'blocks': nn.ModuleList(blocks)})})\n"
    )
    return f"{folder / 'net.py'}:net"


FORMATS = (as_safetensors, as_stack, as_state_dict, as_folder, as_onnx, as_function)


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("name", [family.name for family in FAMILIES])
def test_every_format_gives_the_verdict_of_the_tensors(name, write, tmp_path: Path):
    weights = stacked(name)[DEPTH]
    expected = smoothness(weights[None])
    (group,) = diagnose(str(write(weights, tmp_path))).groups
    (profile,) = group.profiles
    assert (group.depth, profile.view) == (DEPTH, "raw")
    assert profile.order == expected
    assert group.weights.label == expected.label


def test_a_module_gives_the_verdict_of_its_tensors():
    weights = stacked("smooth, β = 0")[DEPTH]
    blocks = [nn.ParameterDict({"A": layer}) for layer in weights]
    (group,) = diagnose(ModuleSource(nn.ModuleList(blocks))).groups
    assert group.profiles[0].order == smoothness(weights[None])


@pytest.mark.parametrize("name", [family.name for family in FAMILIES])
def test_networks_of_several_depths_get_the_verdict_of_the_family(name, tmp_path: Path):
    files = []
    for depth, weights in stacked(name).items():
        (tmp_path / str(depth)).mkdir()
        files.append(str(as_safetensors(weights, tmp_path / str(depth))))
    found = as_family(files, Options(None, (), None, False, None)).weights
    expected = judge_weights({depth: weights[None] for depth, weights in stacked(name).items()}, "A")
    assert {role: verdict.label for role, verdict in found.items()} == {"A": expected.label}
