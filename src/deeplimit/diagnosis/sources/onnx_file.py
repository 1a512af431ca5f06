"""Networks in ONNX files: the constants of a graph, under the names that they had as parameters."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit import checks, machine
from deeplimit.diagnosis.sources.reading import bad, beside, computable, listed, short
from deeplimit.diagnosis.sources.source import Source

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {
    1: "float32",
    10: "float16",
    11: "float64",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
}
"""Numbers of ONNX for types of floating-point numbers, and PyTorch's names."""

_PARAMETER = re.compile(r"[A-Za-z_]\w*(\.\w+)+")  # blocks.0.up.weight, but not onnx::MatMul_30 or model/dense/MatMul


@dataclass(frozen=True)
class _Constant:
    """A constant of the graph as it is presented."""

    proto: Any
    transposed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        dims = tuple(self.proto.dims)
        return dims[::-1] if self.transposed else dims


class OnnxSource(Source):
    """The floating-point constants of an ONNX graph: initializers and Constant nodes.

    An exporter keeps the names of most parameters (`blocks.0.up.bias`), but stores the transposed weight of a linear layer under a name of
    its own (`onnx::MatMul_30`). Such a constant takes the path of the node that uses it, `/blocks.0/up/MatMul`, as `blocks.0.up.weight`;
    used by several nodes, it stands once for each. As the second operand of MatMul or Gemm it is presented as PyTorch holds it,
    `[out, in]`. A parameter that kept its name is presented as it is stored; one that is only a copy of another (Identity) stands under
    both names.

    The graph is held in memory with what it contains (at most 2 GiB, the limit of the format); data in files beside it is mapped, one
    tensor at a time, and read from the folder of the graph alone.

    Raises:
        InputError: the library is not there, or the file is not as the format says.
    """

    def __init__(self, file: Path) -> None:
        self.title, self._file = str(file), file
        graph = _graph(file)
        constants = dict(_constants(graph))
        floats = {name: proto for name, proto in constants.items() if proto.data_type in _DTYPES}
        self._constants = _presented(graph, floats)
        for name, constant in self._constants.items():
            _check_size(constant.proto, f"{file}: {short(name)}", file)
        others = [*(constants.keys() - floats.keys()), *(sparse.values.name for sparse in graph.sparse_initializer)]
        if others:
            said = listed(sorted(others))
            self.notes = (
                f"{file.name}: constants that hold no floating-point numbers, or are sparse, are left out: {said}",
            )

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: constant.shape for name, constant in self._constants.items()}

    def read(self, name: str) -> Tensor:
        checks.one_of(f"{self.title}: tensor", name, self._constants)
        constant = self._constants[name]
        try:
            tensor = _numbers(constant.proto, self._file)
        except (ValueError, RuntimeError, OSError, TypeError) as problem:
            raise bad(self.title, f"the numbers of {short(name)}", problem) from problem
        return computable(tensor.T if constant.transposed else tensor)


def _graph(file: Path) -> Any:
    """The graph of a file, without data that lies elsewhere."""
    try:
        import onnx
    except ImportError as problem:
        raise checks.InputError(f"{file}: {checks.no_library('onnx')}") from problem
    machine.check_memory(str(file), 2.0 * file.stat().st_size)  # read as a whole, and taken apart
    try:
        model = onnx.load_model(file, load_external_data=False)
    except Exception as problem:
        raise bad(file, "an ONNX model", problem) from problem
    if not model.HasField("graph") or not model.graph.node:
        raise bad(file, "an ONNX model with a graph", "none, or an empty one")
    if not all(isinstance(text, str) for text in _texts(model.graph)):
        raise bad(file, "an ONNX model", "names that are not UTF-8")
    return model.graph


def _texts(graph: Any) -> Iterator[object]:
    """All texts of a graph that are looked at; protobuf gives bytes for what is not UTF-8."""
    for node in graph.node:
        yield from (node.name, node.op_type, *node.input, *node.output, *(entry.name for entry in node.attribute))
    protos = [*graph.initializer, *(entry.t for node in graph.node for entry in node.attribute)]
    for proto in (*protos, *(sparse.values for sparse in graph.sparse_initializer)):
        yield proto.name
        yield from (text for entry in proto.external_data for text in (entry.key, entry.value))


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """Name -> tensor, of initializers and of Constant nodes."""
    for proto in graph.initializer:
        yield proto.name, proto
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1:
            yield from (
                (node.output[0], entry.t) for entry in node.attribute if entry.name == "value" and entry.HasField("t")
            )


def _presented(graph: Any, floats: Mapping[str, Any]) -> dict[str, _Constant]:
    """The constants under the names of parameters."""
    known = dict(floats)
    for node in graph.node:
        if node.op_type == "Identity" and len(node.input) == len(node.output) == 1 and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
    uses: dict[str, list[tuple[Any, int]]] = {name: [] for name in known}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in uses and node.op_type != "Identity":
                uses[name].append((node, place))
    rows = [row for name, proto in known.items() for row in _names_of(name, proto, uses[name])]
    counts = Counter(name for name, _ in rows)
    seen: Counter[str] = Counter()
    presented = {}
    for name, constant in rows:
        seen[name] += 1
        presented[name if counts[name] == 1 else f"{name}.{seen[name]}"] = constant
    return presented


def _names_of(name: str, proto: Any, uses: list[tuple[Any, int]]) -> Iterator[tuple[str, _Constant]]:
    """The names that a constant is presented under: its own, or one for each node that uses it."""
    if _PARAMETER.fullmatch(name):
        yield name, _Constant(proto, transposed=False)
        return
    found = [(_name_by_use(node, place), _is_transposed(node, place) and len(proto.dims) == 2) for node, place in uses]
    for recovered, transposed in found or [("", False)]:
        yield recovered or name, _Constant(proto, transposed)


def _name_by_use(node: Any, place: int) -> str:
    """`/blocks.0/up/MatMul` -> `blocks.0.up.weight`; empty where the node has no such path."""
    scope, slash, _ = node.name.strip("/").rpartition("/")
    if not slash:
        return ""
    ending = "bias" if node.op_type == "Add" or place == 2 else "weight" if _has_weight(node) else node.op_type.lower()
    return f"{scope.replace('/', '.')}.{ending}"


def _has_weight(node: Any) -> bool:
    return node.op_type in (
        "MatMul",
        "Gemm",
        "Conv",
        "ConvTranspose",
        "Gather",
        "BatchNormalization",
        "LayerNormalization",
    )


def _is_transposed(node: Any, place: int) -> bool:
    """Whether a node multiplies by this operand from the right, as x W, where a linear layer holds Wᵀ."""
    flipped = any(entry.name == "transB" and entry.i for entry in node.attribute)
    return node.op_type in ("MatMul", "Gemm") and place == 1 and not flipped


def _count(proto: Any) -> tuple[int, int]:
    """The numbers of a tensor and their bytes, as its shape says."""
    import torch

    count = math.prod(proto.dims)
    itemsize: int = getattr(torch, _DTYPES[proto.data_type]).itemsize
    return count, count * itemsize


def _check_size(proto: Any, where: str, file: Path) -> None:
    """A tensor holds as many numbers as its shape says, before memory is asked for."""
    if any(size < 0 for size in proto.dims):
        raise bad(where, "sizes of at least 0", f"{tuple(proto.dims)}")
    count, size = _count(proto)
    if proto.data_location == 1:
        path, offset, length = _elsewhere(proto, where, file)
        if length not in (None, size) or offset + size > path.stat().st_size:
            found = f"{length} bytes from {offset} on in a file of {path.stat().st_size}"
            raise bad(where, f"{size} bytes for {tuple(proto.dims)}", found)
    elif proto.HasField("raw_data"):
        if len(proto.raw_data) != size:
            raise bad(where, f"{size} bytes for {tuple(proto.dims)}", len(proto.raw_data))
    elif (stored := max(map(len, (proto.float_data, proto.int32_data, proto.double_data)))) != count:
        raise bad(where, f"{count} numbers for {tuple(proto.dims)}", stored)


def _elsewhere(proto: Any, where: str, file: Path) -> tuple[Path, int, int | None]:
    """The file beside the graph that holds a tensor, from which byte on, and how many bytes where that is said."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    numbers = {key: entries.get(key, "0") for key in ("offset", "length")}
    if not all(re.fullmatch(r"[0-9]{1,18}", value) for value in numbers.values()):
        raise bad(where, "an offset and a length", f"{numbers}")
    length = int(numbers["length"]) if "length" in entries else None
    return beside(file, entries.get("location")), int(numbers["offset"]), length


def _numbers(proto: Any, file: Path) -> Tensor:
    """The tensor as it is stored."""
    import numpy as np
    import onnx.numpy_helper
    import torch

    count, _ = _count(proto)
    dtype = getattr(torch, _DTYPES[proto.data_type])
    if not count:
        return torch.empty(tuple(proto.dims), dtype=dtype)
    if proto.data_location == 1:
        path, offset, _ = _elsewhere(proto, proto.name, file)
        # Copied when written to: PyTorch wants memory that may be written to.
        data: np.ndarray[Any, Any] = np.memmap(path, np.uint8, "c", offset, (count * dtype.itemsize,))
    elif proto.HasField("raw_data"):
        data = np.frombuffer(bytearray(proto.raw_data), np.uint8)
    else:
        stored = onnx.numpy_helper.to_array(proto)
        return torch.from_numpy(np.array(stored, np.float64 if proto.data_type == 11 else np.float32)).to(dtype)
    return torch.from_numpy(data).view(dtype).reshape(tuple(proto.dims))
