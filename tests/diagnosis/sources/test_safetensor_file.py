"""Networks in safetensors files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources.safetensor_file import SafetensorsSource, read_header


def written(file: Path, header: object, data: bytes = b"") -> Path:
    """A file of a header, whatever it says, and these bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file


def row(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_number_comes_back_in_its_own_type(tmp_path, dtype):
    tensors = {"h.0.w": torch.arange(6).reshape(2, 3).to(dtype), "h.0.b": torch.tensor(0.5, dtype=dtype)}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    source = SafetensorsSource(tmp_path / "a.safetensors")
    assert dict(source.shapes) == {"h.0.b": (), "h.0.w": (2, 3)}
    for name, tensor in tensors.items():
        assert source.read(name).dtype == dtype
        assert torch.equal(source.read(name), tensor)
    assert torch.equal(source.read_at("h.0.w", 1), tensors["h.0.w"][1])
    assert torch.equal(source.read_at("h.0.w", 1, 2), tensors["h.0.w"][1, 2])
    assert source.notes == ()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_numbers_of_8_bits_are_read_as_float32(tmp_path, dtype):
    tensor = torch.tensor([[0.5, -2.0]]).to(dtype)
    save_file({"w": tensor}, tmp_path / "a.safetensors")
    source = SafetensorsSource(tmp_path / "a.safetensors")
    assert source.read("w").dtype == source.read_at("w", 0).dtype == torch.float32
    assert source.read("w").tolist() == [[0.5, -2.0]]


def test_whole_numbers_are_not_listed_and_said_so(tmp_path):
    save_file({"w": torch.ones(2), "ids": torch.arange(3), "mask": torch.ones(2).bool()}, tmp_path / "a.safetensors")
    source = SafetensorsSource(tmp_path / "a.safetensors")
    assert list(source.shapes) == ["w"]
    (note,) = source.notes
    assert "no floating-point numbers" in note
    assert "ids" in note
    assert "mask" in note
    with pytest.raises(InputError, match="tensor: expected one of w; found 'ids'"):
        source.read("ids")


def test_what_was_read_does_not_stay_in_memory(tmp_path):
    size = 2**24
    save_file({name: torch.ones(size // 4) for name in "abcdefgh"}, tmp_path / "a.safetensors")
    source = SafetensorsSource(tmp_path / "a.safetensors")

    def resident() -> int:
        fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return sum(int(fields[key].split()[0]) * 1024 for key in ("RssAnon", "RssFile"))

    before, kept, most = resident(), None, 0
    for name in "abcdefgh":
        kept = source.read(name)
        assert kept.sum() == size // 4
        most = max(most, resident() - before)
    assert size / 2 < most < 3 * size  # the one being read, and the one before


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"w": row([2], 0, 8, "F7")}, 8, "w: expected a dtype among .*, found 'F7'"),
        ({"w": row([2], 0, 4)}, 8, r"w: expected 8 bytes for F32 \(2,\), found offsets 0 to 4"),
        ({"w": row([-2], 0, 8)}, 8, "w: expected sizes and two offsets of at least 0"),
        ({"w": row([2], 8, 0)}, 8, r"w: expected 8 bytes for F32 \(2,\), found offsets 8 to 0"),
        ({"w": row([2**40, 2**40], 0, 8)}, 8, "expected .* bytes for F32"),
        ({"w": row([2**63], 0, 2**65)}, 8, "expected sizes"),
        ({"w": row([True], 0, 4)}, 4, "expected sizes"),
        ({"w": row([2.0], 0, 8)}, 8, "expected sizes"),  # type: ignore[list-item]
        ({"w": {"dtype": "F32"}}, 8, "w: expected dtype, shape and data_offsets"),
        ({"w": 3}, 8, "w: expected dtype, shape and data_offsets, found 3"),
        ({"w": row([2], 0, 8), "v": row([2], 4, 12)}, 12, "v: expected numbers from offset 8 on, found offset 4"),
        ({"w": row([2], 0, 8), "v": row([2], 12, 20)}, 20, "v: expected numbers from offset 8 on, found offset 12"),
        ({"w": row([2], 0, 8)}, 4, "expected 8 bytes of numbers after its header, found 4"),
        ({"w": row([2], 0, 8)}, 12, "expected 8 bytes of numbers after its header, found 12"),
        (b'{"w": 1, "w": 2}', 0, "expected a JSON object, found ValueError: a name twice: 'w'"),
        (b"[" * 100_000, 0, "expected a JSON object, found RecursionError"),
        (b"\xff\xfe", 0, "expected a JSON object, found UnicodeDecodeError"),
        (b"[1]", 0, "expected a JSON object, found list"),
        (b"{", 0, "expected a JSON object, found JSONDecodeError"),
    ],
)
def test_a_header_that_is_wrong_is_refused(tmp_path, header, data, message):
    file = written(tmp_path / "a.safetensors", header, bytes(data))
    with pytest.raises(InputError, match=message) as error:
        SafetensorsSource(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


def test_a_header_longer_than_the_file_is_not_read(tmp_path):
    for length, found in [(2**60, f"a header of {2**60} bytes in a file of 10"), (3, "a header of 3 bytes")]:
        (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
        with pytest.raises(InputError, match=found):
            read_header(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"123")
    with pytest.raises(InputError, match="found 3 bytes"):
        read_header(tmp_path / "a.safetensors")
    assert read_header(written(tmp_path / "a.safetensors", {"__metadata__": {}})) == {}
