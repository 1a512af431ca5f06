"""The file that is streamed, and the memory that is measured."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.diagnose_large import Model, measured, write

HOLD = """
import sys, time
print("ready", flush=True)
sys.stdin.readline()
held = bytearray({size}) or b""
time.sleep(0.3)
print(sys.argv[1], sys.argv[2])
"""


def test_the_file_has_all_tensors_and_spectra_that_decay(tmp_path):
    model, path = Model(64, 3), tmp_path / "model.safetensors"
    write(model, path)
    state = load_file(path)
    assert {name: tuple(value.shape) for name, value in state.items()} == dict(model.tensors())
    assert sum(4 * value.numel() for name, value in state.items() if name.startswith("h.1.")) == model.layer
    first, second, last = (state[f"h.{k}.mlp.c_fc.weight"] for k in range(3))
    values = torch.linalg.svdvals(first)
    assert values[0] > 2 * values[8]
    low = [matrix - 0.02 * torch.randn(matrix.shape) for matrix in (first, second, last)]
    assert torch.dist(low[0], low[1]) < torch.dist(low[0], low[2])
    assert state["h.0.ln_1.weight"].eq(1).all()
    assert not state["h.0.mlp.c_fc.bias"].any()


def test_memory_is_what_a_process_takes_once_it_is_ready(tmp_path):
    size = 80_000_000
    spent = measured(sys.executable, HOLD.format(size=size), path=tmp_path, threads=1)
    assert spent.private == pytest.approx(size, rel=0.1)
    assert spent.said == f"{tmp_path} 1"
    nothing = measured(sys.executable, HOLD.format(size=0), path=tmp_path, threads=2)
    assert nothing.private < 0.1 * size
    assert nothing.seconds > 0.3
