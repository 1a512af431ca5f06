"""A batch from a file: tensors, and no code."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deeplimit.checks import InputError
from deeplimit.diagnosis.batches import read_batch


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_one_tensor_is_a_positional_argument(tmp_path):
    x = torch.arange(6.0).reshape(2, 3)
    save_file({"x": x}, tmp_path / "x.safetensors")
    np.save(tmp_path / "x.npy", x.numpy())
    np.savez(tmp_path / "x.npz", x=x.numpy())
    for name in ("x.safetensors", "x.npy", "x.npz"):
        found = read_batch(tmp_path / name)
        assert isinstance(found, torch.Tensor)
        assert torch.equal(found, x)


def test_several_tensors_are_keyword_arguments(tmp_path):
    both = {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.tensor([[1, 1]])}
    save_file(both, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", input_ids=both["input_ids"].numpy(), attention_mask=both["attention_mask"].numpy())
    for name in ("x.safetensors", "x.npz"):
        found = read_batch(tmp_path / name)
        assert isinstance(found, dict)
        assert sorted(found) == sorted(both)
        assert found["input_ids"].dtype == torch.int64


@pytest.mark.parametrize("name", ["x.safetensors", "x.npy", "x.npz", "x.pt"])
@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"PK\x03\x04broken", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_a_broken_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_batch(tmp_path / name)


def test_no_code_of_a_file_runs(tmp_path):
    trapped = np.empty(1, dtype=object)
    trapped[0] = Trap(tmp_path / "trapped")
    np.save(tmp_path / "x.npy", trapped)
    np.savez(tmp_path / "x.npz", x=trapped)
    (tmp_path / "pickled.npy").write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    for name in ("x.npy", "x.npz", "pickled.npy"):
        with pytest.raises(InputError, match="expected arrays of numbers"):
            read_batch(tmp_path / name)
    assert not (tmp_path / "trapped").exists()


def test_what_is_not_there_or_empty_is_said(tmp_path):
    with pytest.raises(InputError, match="expected a file with a batch, found none"):
        read_batch(tmp_path / "absent.npy")
    np.savez(tmp_path / "x.npz")
    with pytest.raises(InputError, match="expected at least one tensor"):
        read_batch(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.array(["a", "b"]))
    with pytest.raises(InputError, match="expected arrays of numbers"):
        read_batch(tmp_path / "x.npy")


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(1_000_000))
    np.save(tmp_path / "x.npy", np.zeros(1_000_000))
    save_file({"x": torch.zeros(1_000_000)}, tmp_path / "x.safetensors")
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    monkeypatch.setattr("deeplimit.machine.memory", lambda device="cpu": 5e6)
    for name in ("bomb.npz", "x.npy", "x.safetensors"):
        with pytest.raises(
            InputError, match=rf"{name}: expected to fit into the 5\.0 MB .* fewer inputs would need less"
        ):
            read_batch(tmp_path / name)
    monkeypatch.setattr("deeplimit.machine.memory", lambda device="cpu": 17e6)
    batch = read_batch(tmp_path / "bomb.npz")
    assert isinstance(batch, torch.Tensor)
    assert batch.shape == (1_000_000,)


def test_a_header_that_claims_more_than_its_file_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content.replace(b"(3,), }" + b" " * 12, b"(3000000000000,), }"))
    assert b"3000000000000" in (tmp_path / "x.npy").read_bytes()
    with pytest.raises(InputError, match="expected arrays of numbers"):
        read_batch(tmp_path / "x.npy")
