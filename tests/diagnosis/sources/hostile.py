"""Files that are broken, or made to do harm: each from a seed, all different.

`python -m tests.diagnosis.sources.hostile FOLDER FIRST LAST [trusting]` opens those of the seeds FIRST to LAST − 1 and reads
every tensor that is listed. It prints one JSON object: how each ended, whether code of a file was run, by how many bytes the
memory of the process grew at most, and how many files were different. `trusting` has PyTorch unpickle whatever a file says,
to see that the corpus bites.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import random
import resource
import shutil
import struct
import sys
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

MARKER = "code-was-run"


def network(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"up.weight": (6, 4), "up.bias": (6,), "down.weight": (4, 6)}
    prefix = f"net{seed}.h"
    return {
        f"{prefix}.{k}.{name}": torch.randn(shape, generator=generator)
        for k in range(3)
        for name, shape in shapes.items()
    }


# ---------------------------------------------------------------------------------------------------------- whole files


def saved(content: Any, *, zipped: bool = True, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return buffer.getvalue()


def graph(seed: int, change: Callable[[Any], None] = lambda proto: None) -> bytes:
    """An ONNX graph of three layers; `change` is done to the first weight."""
    from onnx import TensorProto, helper, numpy_helper

    tensors = network(seed)
    weights = [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in tensors.items() if "weight" in name]
    nodes = [
        helper.make_node("MatMul", [f"x{k}", weight.name], [f"x{k + 1}"], name=f"/h.{k}/MatMul")
        for k, weight in enumerate(weights)
    ]
    change(weights[0])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x0", f"x{len(weights)}")]
    written: bytes = helper.make_model(
        helper.make_graph(nodes, "g", [ends[0]], [ends[1]], initializer=weights)
    ).SerializeToString()
    return written


def whole(kind: str, chance: random.Random) -> bytes:
    """A file that is as it should be."""
    seed = chance.randrange(10**9)
    if kind == "safetensors":
        return save(network(seed))
    if kind == "onnx":
        return graph(seed)
    return saved({"state_dict": network(seed), "epoch": 3}, zipped=kind == "pt")


SUFFIXES = {"safetensors": ".safetensors", "pt": ".pt", "old": ".pth", "onnx": ".onnx"}


def any_whole(chance: random.Random) -> tuple[str, bytearray]:
    kind = chance.choice(list(SUFFIXES))
    return SUFFIXES[kind], bytearray(whole(kind, chance))


# ------------------------------------------------------------------------------------------------------- spoiled at random


def cut(folder: Path, chance: random.Random) -> Path:
    suffix, content = any_whole(chance)
    return put(folder / f"cut{suffix}", content[: chance.randrange(40, len(content))])


def flipped(folder: Path, chance: random.Random) -> Path:
    suffix, content = any_whole(chance)
    for _ in range(chance.choice((1, 2, 8, 64))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return put(folder / f"flipped{suffix}", content)


def spliced(folder: Path, chance: random.Random) -> Path:
    """A piece taken out, doubled, or put in from another file."""
    suffix, content = any_whole(chance)
    _, other = any_whole(chance)
    start, end = sorted(chance.choices(range(len(content)), k=2))
    piece = (b"", content[start:end] * 2, other[: end - start])[chance.randrange(3)]
    return put(folder / f"spliced{suffix}", content[:start] + piece + content[end:])


def noise(folder: Path, chance: random.Random) -> Path:
    start = chance.choice((b"", b"\x80\x02", b"PK\x03\x04", b"\x08\x08", b"\x40" + bytes(7) + b"{"))
    name = "noise" + chance.choice((*SUFFIXES.values(), ".bin", ".ckpt", ""))
    return put(folder / name, start + chance.randbytes(chance.randrange(400)))


# ------------------------------------------------------------------------------------------------------------ safetensors


def bad_header(folder: Path, chance: random.Random) -> Path:
    """A header with one row that is wrong."""
    size = chance.randrange(1, 50)
    row: dict[str, Any] = {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}
    wrong: list[tuple[str, Any]] = [
        ("dtype", chance.choice(("F33", "", None, 32, "f32", "F8_E9M9", ["F32"]))),
        ("dtype", chance.choice(("F64", "BF16", "C64", "BOOL", "F4", "F6_E2M3", "F8_E8M0"))),
        ("shape", chance.choice(([2**60], [2**60, 2**60], [-size], [size, 0], "12", None, [[size]], [size + 0.5]))),
        ("shape", [2 ** chance.randrange(20, 70), chance.randrange(3)]),
        ("data_offsets", [chance.randrange(-9, 9), chance.randrange(2**63)]),
        ("data_offsets", chance.choice(([4 * size, 0], [0], [0, 4 * size, 9], [0, -4], None, {}, [0.0, 4.0 * size]))),
    ]
    key, value = chance.choice(wrong)
    rows = {f"h{chance.random()}.0.w": {**row, key: value}, "h.1.w": {**row, "data_offsets": [4 * size, 8 * size]}}
    return put(folder / "header.safetensors", headed(json.dumps(rows).encode(), 8 * size))


def overlapping(folder: Path, chance: random.Random) -> Path:
    begins = [chance.randrange(0, 64, 4) for _ in range(4)]
    rows = {f"h.{k}.w": {"dtype": "F32", "shape": [8], "data_offsets": [b, b + 32]} for k, b in enumerate(begins)}
    return put(folder / "overlapping.safetensors", headed(json.dumps(rows).encode(), chance.randrange(150)))


def strange_json(folder: Path, chance: random.Random) -> Path:
    depth = chance.randrange(2000, 50_000)
    row = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    name = str(chance.randrange(10**6)).encode()
    text = chance.choice(
        [
            b"[" * depth,
            b'{"a":' * depth,
            b'{"a":' + b"[" * depth + b"]" * depth + b"}",
            b'{"' + name + b'":' + row + b',"' + name + b'":' + row + b"}",
            b"\xff\xfe" + name,
            b'{"' + name + b'\xc3\x28":' + row + b"}",
            b"{" + name,
            name,
            b'{"w":{"dtype":"F32","shape":[' + b"9" * chance.randrange(10, 9000) + b'],"data_offsets":[0,4]}}',
            b'{"w\\n\\u001b[31m' + name + b'":' + row + b"}",
            b'{"__metadata__":' + name + b"}",
            b" " * chance.randrange(9999) + b"{}",
        ]
    )
    return put(folder / "json.safetensors", headed(text, 4))


def long_header(folder: Path, chance: random.Random) -> Path:
    content = bytearray(whole("safetensors", chance))
    content[:8] = struct.pack("<Q", chance.choice((2 ** chance.randrange(64), chance.randrange(2000))))
    return put(folder / "long.safetensors", content)


def no_layers(folder: Path, chance: random.Random) -> Path:
    suffix = chance.choice((*SUFFIXES.values(), ".bin"))
    tensors = {"w" * chance.randrange(1, 500): torch.zeros(0, chance.randrange(99), chance.randrange(99))}
    content = chance.choice(
        (save(tensors), saved(tensors), saved({"epoch": chance.random()}), saved([chance.random()]))
    )
    return put(folder / f"none{suffix}", content)


def not_numbers(folder: Path, chance: random.Random) -> Path:
    """NaN and infinities are legal."""
    tensors = network(chance.randrange(10**6))
    for tensor in tensors.values():
        tensor[chance.random() < 0.5] = chance.choice((float("nan"), float("inf")))
    kind = chance.choice(("a.safetensors", "a.pt"))
    return put(folder / kind, save(tensors) if kind == "a.safetensors" else saved(tensors))


def headed(header: bytes, size: int) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(size)


# -------------------------------------------------------------------------------------------------------------- pickles


class Call:
    """What unpickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def harm(folder: Path, chance: random.Random) -> Any:
    """A call that leaves a mark, at some place in a checkpoint."""
    marker = str(folder / MARKER)
    order = f"open({marker!r}, 'w').write('{chance.random()}')"
    call = chance.choice(
        [
            Call(os.system, f"touch {marker} # {chance.random()}"),
            Call(exec, order),
            Call(eval, order),
            Call(Path.touch, Path(marker), chance.randrange(0o777)),
            Call(os.open, marker, os.O_CREAT | os.O_RDONLY, chance.randrange(0o777)),
        ]
    )
    clean = dict(network())
    return chance.choice([call, {"state_dict": clean, "hyper": call}, {**clean, "h.0.up.weight": call}, [call, clean]])


def running(folder: Path, chance: random.Random) -> Path:
    """A pickle that runs code, in each of the formats, alone or as a shard."""
    if chance.random() < 0.2:
        content = pickle.dumps(harm(folder, chance), protocol=chance.choice((2, 3, 4, 5)))
    else:
        content = saved(harm(folder, chance), zipped=chance.random() < 0.5, protocol=chance.choice((2, 2, 3, 4)))
    if chance.random() < 0.7:
        return put(
            folder / ("run" + chance.choice((".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".onnx", ""))), content
        )
    put(folder / "pytorch_model-1.bin", content)
    put(folder / "pytorch_model.bin.index.json", json.dumps({"weight_map": {"w": "pytorch_model-1.bin"}}).encode())
    return folder


class Storage:
    """What pickles as a reference to numbers of the archive."""

    def __init__(self, key: str, count: int) -> None:
        self.reference = "storage", torch.FloatStorage, key, "cpu", count


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.reference if isinstance(obj, Storage) else None


def claiming(folder: Path, chance: random.Random) -> Path:
    """A state dict whose tensors claim more numbers than there are."""
    size = chance.choice((2 ** chance.randrange(64), chance.randrange(-9, 9)))
    count = chance.choice((4, size, 2 ** chance.randrange(60)))
    shape, stride = chance.choice(
        [((size,), (1,)), ((size,), (0,)), ((size, size), (1, 1)), ((2, 2), (chance.randrange(-9, 9), 1))]
    )
    rebuilt = Call(
        torch._utils._rebuild_tensor_v2,
        Storage("0", count),
        chance.choice((0, 0, 2**40)),
        shape,
        stride,
        False,
        OrderedDict(),
    )
    large = chance.choice((2 ** chance.randrange(20, 36), 2**62))
    tensor = chance.choice(
        [rebuilt, rebuilt, rebuilt, Call(bytearray, large), Call(torch.Size, Call(bytearray, large))]
    )
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"h.0.w": tensor, "h.1.w": torch.Size([chance.randrange(10**6)])})
    return put(folder / "claims.pt", archive({"a/data.pkl": buffer.getvalue(), "a/data/0": chance.randbytes(16)}))


def archive(entries: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as zipped:
        for name, content in {**entries, "a/byteorder": b"little", "a/version": b"3\n"}.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


def bad_zip(folder: Path, chance: random.Random) -> Path:
    """A bomb, wrong sums, entries that are missing, doubled or of strange names."""
    with zipfile.ZipFile(io.BytesIO(whole("pt", chance))) as zipped:
        entries = {name.replace("archive", "a"): zipped.read(name) for name in zipped.namelist()}
    way = chance.randrange(5)
    if way == 0:
        bomb = {**entries, "a/data.pkl": bytes(chance.randrange(2**22, 2**24))}
        return put(folder / "bomb.pt", archive(bomb, zipfile.ZIP_DEFLATED))
    if way == 1:
        content = bytearray(archive(entries))
        place = content.index(entries["a/data.pkl"]) + chance.randrange(len(entries["a/data.pkl"]))
        content[place] ^= chance.randrange(1, 256)
        return put(folder / "sum.pt", content)
    if way == 2:
        kept = {name: content for name, content in entries.items() if chance.random() < 0.7}
        return put(folder / "missing.pt", archive({**kept, "a/x": chance.randbytes(4)}))
    if way == 3:
        return put(folder / "two.pt", archive({**entries, f"b{chance.random()}/data.pkl": entries["a/data.pkl"]}))
    renamed = {
        f"../{chance.random()}/{name}" if chance.random() < 0.5 else name: content for name, content in entries.items()
    }
    return put(folder / "names.pt", archive(renamed))


# ------------------------------------------------------------------------------------------------------------------ ONNX


def bad_graph(folder: Path, chance: random.Random) -> Path:
    """A weight whose shape, type or place is wrong."""

    def change(proto: Any) -> None:
        way = chance.randrange(5)
        if way == 0:
            proto.dims[:] = [chance.choice((2**62, 2**40, -4, -1, 0)), chance.randrange(1, 99)]
        elif way == 1:
            proto.data_type = chance.choice((chance.randrange(40), 2**30))
        elif way == 2:
            proto.raw_data = chance.randbytes(chance.randrange(200))
        elif way == 3:
            proto.ClearField("raw_data")
            proto.float_data.extend([0.5] * chance.randrange(200))
        else:
            outside(proto, chance)

    put(folder.parent / "secret.bin", bytes(96))
    put(folder / "data.bin", bytes(chance.randrange(200)))
    return put(folder / "graph.onnx", graph(chance.randrange(10**9), change))


def outside(proto: Any, chance: random.Random) -> None:
    """Numbers that lie where they should not."""
    places = (
        "../secret.bin",
        "/dev/zero",
        "/etc/passwd",
        "data.bin/../../secret.bin",
        "",
        ".",
        "data.bin",
        "a\0b",
        "no.bin",
    )
    proto.ClearField("raw_data")
    proto.data_location = 1
    entries = {
        "location": chance.choice(places),
        "offset": chance.choice(("0", "-1", "9" * chance.randrange(1, 99), "x", "", "8")),
        "length": chance.choice(("96", "-96", "9" * chance.randrange(1, 99), "١", "96", "96", "95")),
    }
    for key, value in entries.items():
        if chance.random() < 0.9:
            entry = proto.external_data.add()
            entry.key, entry.value = key, value


# --------------------------------------------------------------------------------------------------------------- folders


def bad_config(folder: Path, chance: random.Random) -> Path:
    put(folder / "model.safetensors", whole("safetensors", chance))
    name = str(chance.random()).encode()
    contents = [
        b"",
        b"[" * chance.randrange(2000, 99_999),
        b"\xff" + name,
        name,
        b'{"a":1,"a":' + name + b"}",
        b'{"a":' + name,
    ]
    put(folder / "config.json", chance.choice(contents))
    return folder


def bad_index(folder: Path, chance: random.Random) -> Path:
    """An index whose shards are missing, broken, elsewhere or no names."""
    put(folder.parent / "secret.safetensors", whole("safetensors", chance))
    put(folder / "one.safetensors", whole("safetensors", chance))
    put(folder / "cut.safetensors", whole("safetensors", chance)[: chance.randrange(1000)])
    files = [
        "one.safetensors",
        "cut.safetensors",
        "absent.safetensors",
        "../secret.safetensors",
        "/etc/passwd",
        "/dev/zero",
    ]
    files += ["", ".", "..", "a\0b", "one.safetensors/", "x" * 5000, 3, None, [], {}]  # type: ignore[list-item]
    chosen: dict[str, Any] = {f"w{k}": chance.choice(files) for k in range(chance.randrange(1, 4))}
    content: Any = chance.choice(
        [{"weight_map": chosen}] * 5 + [{"weight_map": chance.random()}, {}, [chosen], {"weight_map": {}}]
    )
    text = json.dumps(content).encode() + b" " * chance.randrange(99)
    cut_at = chance.randrange(len(text)) if chance.random() < 0.1 else len(text)
    put(folder / "model.safetensors.index.json", text[:cut_at])
    return folder


# ------------------------------------------------------------------------------------------------------------ the corpus

KINDS = (
    cut, flipped, spliced, noise, bad_header, overlapping, strange_json, long_header, no_layers, not_numbers,
    running, running, claiming, bad_zip, bad_graph, bad_graph, bad_config, bad_index, flipped, cut,
)  # fmt: skip


def put(file: Path, content: bytes | bytearray) -> Path:
    file.write_bytes(content)
    return file


def made(seed: int, folder: Path) -> Path:
    """Makes the target of a seed inside an empty folder."""
    chance = random.Random(seed)
    return KINDS[seed % len(KINDS)](folder, chance)


def outcome(target: Path) -> str:
    """`read`, what was wrong, or an error that should not be."""
    from deeplimit.checks import InputError
    from deeplimit.diagnosis.diagnose import diagnose
    from deeplimit.diagnosis.sources import open_target

    try:
        source = open_target(str(target))
        numbers = [source.read(name).numel() for name in source.shapes]
        with contextlib.suppress(InputError):  # no blocks in it
            diagnose(source)
    except InputError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 1000 else f"not one short line: {error}"
    except Exception as error:  # noqa: BLE001  (what must not happen is what is looked for)
        return f"{type(error).__name__}: {error}"
    return "read" if sum(numbers) < 10**6 else f"{sum(numbers)} numbers"


def opened(folder: Path, seeds: range) -> dict[str, Any]:
    """How all of them end."""
    ends: dict[int, str] = {}
    before, run, different = peak(), [], set()
    for seed in seeds:
        place = folder / "outer" / "inner"
        place.mkdir(parents=True)
        target = made(seed, place)
        different.add(
            hashlib.sha256(b"".join(f.name.encode() + f.read_bytes() for f in sorted(place.iterdir()))).digest()
        )
        ends[seed] = outcome(target)
        if (place / MARKER).exists():
            run.append(seed)
        shutil.rmtree(folder / "outer")
    strange = {seed: end for seed, end in ends.items() if end not in ("read", "refused")}
    grown = peak() - before
    return {"ends": Counter(ends.values()), "strange": strange, "run": run, "grown": grown, "different": len(different)}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if "trusting" in sys.argv:
        load = torch.load
        torch.load = lambda *args, **options: load(*args, **{**options, "weights_only": False})
    for kind in SUFFIXES:  # what the libraries take when they start is not counted
        whole(kind, random.Random(0))
    print(json.dumps(opened(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])))))
