"""Networks in ONNX files, written by PyTorch's exporter and by hand."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources.onnx_file import OnnxSource


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner: torch.Tensor = self.down(torch.relu(self.up(self.norm(x))))
        return x + inner


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.conv = nn.ModuleList(Block() for _ in range(3)), nn.Conv1d(5, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        y: torch.Tensor = self.conv(x)
        return y


def exported(file: Path, module: nn.Module, x: torch.Tensor) -> OnnxSource:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the exporter that needs no further package
        torch.onnx.export(module.eval(), (x,), file, dynamo=False)
    return OnnxSource(file)


def test_what_pytorch_exports_has_the_names_and_shapes_of_its_parameters(tmp_path):
    torch.manual_seed(0)
    net = Net()
    source = exported(tmp_path / "a.onnx", net, torch.ones(2, 5, 4))
    assert set(source.shapes) == set(net.state_dict())
    for name, tensor in net.state_dict().items():
        assert source.shapes[name] == tuple(tensor.shape)
        assert torch.equal(source.read(name), tensor), name


def test_tied_weights_stand_in_every_block(tmp_path):
    net = Net()
    for block in net.blocks[1:]:
        block.up.weight = net.blocks[0].up.weight  # type: ignore[union-attr]
    source = exported(tmp_path / "a.onnx", net, torch.ones(2, 5, 4))
    assert set(source.shapes) == set(net.state_dict())
    assert torch.equal(source.read("blocks.2.up.weight"), net.blocks[0].up.weight)  # type: ignore[arg-type, union-attr]


def written(file: Path, *tensors: Any, nodes: list[Any] | None = None) -> Path:
    nodes = nodes or [
        helper.make_node("MatMul", ["x", tensor.name], ["y"], name="/h.0/up/MatMul") for tensor in tensors
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], initializer=list(tensors))), file)
    return file


STORED = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "FLOAT8E5M2"])
@pytest.mark.parametrize("raw", [True, False])
def test_every_type_of_numbers_is_read(tmp_path, kind, raw):
    number = getattr(TensorProto, kind)
    if raw:
        dtype = {"DOUBLE": torch.float64, "FLOAT16": torch.float16, "BFLOAT16": torch.bfloat16}.get(kind, torch.float32)
        dtype = torch.float8_e5m2 if kind == "FLOAT8E5M2" else dtype
        data = bytes(STORED.to(dtype).view(torch.uint8).flatten().tolist())
        proto = helper.make_tensor("w", number, [2, 3], data, raw=True)
    else:
        proto = helper.make_tensor("w", number, [2, 3], STORED.flatten().tolist())
    source = OnnxSource(written(tmp_path / "a.onnx", proto))
    assert dict(source.shapes) == {"h.0.up.weight": (3, 2)}
    read = source.read("h.0.up.weight")
    assert read.dtype == {"DOUBLE": torch.float64, "FLOAT16": torch.float16, "BFLOAT16": torch.bfloat16}.get(
        kind, torch.float32
    )
    assert torch.equal(read.double(), STORED.T.double())


@pytest.mark.parametrize(
    ("operation", "options", "name", "expected"),
    [
        ("MatMul", {}, "onnx::MatMul_3", ("h.0.up.weight", STORED.T)),
        ("MatMul", {}, "model/dense/kernel:0", ("h.0.up.weight", STORED.T)),
        ("MatMul", {}, "h.0.up.W", ("h.0.up.W", STORED)),
        ("Gemm", {}, "onnx::Gemm_3", ("h.0.up.weight", STORED.T)),
        ("Gemm", {"transB": 1}, "7", ("h.0.up.weight", STORED)),
        ("Add", {}, "onnx::Add_3", ("h.0.up.bias", STORED)),
        ("Mul", {}, "onnx::Mul_3", ("h.0.up.mul", STORED)),
    ],
)
def test_a_constant_takes_the_path_of_the_node_that_uses_it(tmp_path, operation, options, name, expected):
    node = helper.make_node(operation, ["x", name], ["y"], name=f"/h.0/up/{operation}", **options)
    source = OnnxSource(written(tmp_path / "a.onnx", numpy_helper.from_array(STORED.numpy(), name), nodes=[node]))
    assert list(source.shapes) == [expected[0]]
    assert torch.equal(source.read(expected[0]), expected[1])


def test_constant_nodes_are_read_and_whole_numbers_left_out(tmp_path):
    scale, axes = (numpy_helper.from_array(values.numpy(), "v") for values in (torch.tensor(0.5), torch.arange(2)))
    nodes = [
        helper.make_node("Constant", [], ["c"], name="/h.0/Constant", value=scale),
        helper.make_node("Constant", [], ["axes"], name="/h.0/Constant_1", value=axes),
        helper.make_node("Mul", ["x", "c"], ["y"], name="/h.0/Mul"),
    ]
    source = OnnxSource(written(tmp_path / "a.onnx", nodes=nodes))
    assert dict(source.shapes) == {"h.0.mul": ()}
    assert source.read("h.0.mul") == 0.5
    assert "left out: axes" in source.notes[0]


def elsewhere(name: str, **entries: str) -> Any:
    proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        entry = proto.external_data.add()
        entry.key, entry.value = key, value
    return proto


def test_data_beside_the_graph_is_mapped(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(4096) + STORED.numpy().tobytes())
    source = OnnxSource(written(tmp_path / "a.onnx", elsewhere("w", location="w.bin", offset="4096", length="24")))
    read = source.read("h.0.up.weight")
    assert torch.equal(read, STORED.T)
    read.mul_(2)
    assert torch.equal(source.read("h.0.up.weight"), STORED.T)  # the file is as it was


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../w.bin"}, "expected the name of a file in its folder, found '../w.bin'"),
        ({"location": "/dev/zero"}, "expected the name of a file in its folder"),
        ({"location": "no.bin"}, "expected no.bin beside it, found no such file"),
        ({}, "expected the name of a file in its folder, found None"),
        (
            {"location": "w.bin", "offset": "8"},
            r"expected 24 bytes for \(2, 3\), found None bytes from 8 on in a file of 24",
        ),
        ({"location": "w.bin", "length": "20"}, "expected 24 bytes .* found 20 bytes"),
        ({"location": "w.bin", "offset": "-8"}, "expected an offset and a length"),
    ],
)
def test_data_elsewhere_or_of_another_size_is_refused(tmp_path, entries, message):
    (tmp_path / "inner").mkdir()
    for file in (tmp_path / "w.bin", tmp_path / "inner" / "w.bin"):
        file.write_bytes(STORED.numpy().tobytes())
    file = written(tmp_path / "inner" / "a.onnx", elsewhere("w", **entries))
    with pytest.raises(InputError, match=message):
        OnnxSource(file)


def spoiled(change: Callable[[Any], None]) -> Any:
    proto = numpy_helper.from_array(STORED.numpy(), "w")
    change(proto)
    return proto


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda proto: proto.dims.append(2**40), "expected .* bytes"),
        (lambda proto: proto.dims.__setitem__(0, -2), "expected sizes of at least 0"),
        (lambda proto: setattr(proto, "raw_data", b"123"), r"expected 24 bytes for \(2, 3\), found 3"),
        (lambda proto: proto.ClearField("raw_data"), r"expected 6 numbers for \(2, 3\), found 0"),
    ],
)
def test_a_tensor_that_is_not_as_large_as_it_says_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        OnnxSource(written(tmp_path / "a.onnx", spoiled(change)))


def test_what_is_no_graph_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_bytes(b"\x08\xff\xff")
    with pytest.raises(InputError, match="expected an ONNX model, found DecodeError"):
        OnnxSource(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="expected an ONNX model with a graph"):
        OnnxSource(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"expected the library onnx \(pip install 'deeplimit\[onnx\]'\), found none"):
        OnnxSource(tmp_path / "a.onnx")
