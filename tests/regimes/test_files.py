"""Runs in files."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from deeplimit.checks import InputError
from deeplimit.regimes import passage_of, regime
from deeplimit.regimes.files import read_runs


def write(folder, name, **tensors):
    path = folder / name
    save_file(tensors, path)
    return path


def test_files_of_one_depth_are_runs_of_it(tmp_path):
    generator = torch.Generator().manual_seed(0)
    files, tensors = [], {}
    for depth in (32, 64, 128):
        for seed in range(2):
            tensors[depth, seed] = torch.randn(depth, 10, 10, generator=generator)
            files.append(write(tmp_path, f"{depth}-{seed}.safetensors", A=tensors[depth, seed]))
    found = regime(read_runs(files))
    expected = regime({L: [{"A": tensors[L, s]} for s in range(2)] for L in (32, 64, 128)})
    assert found.weights == expected.weights
    assert found.weights["A"].label == "i.i.d.-like"


def test_states_outputs_and_initial_weights_are_used(tmp_path):
    states, outputs = torch.rand(9, 3, 2), torch.rand(3, 1)
    start = torch.ones(8, 2)
    file = write(
        tmp_path,
        "a",
        A=2 * start,
        states=states,
        outputs=outputs,
        **{"initial.A": start, "b": torch.zeros(8), "initial.b": torch.zeros(8)},
    )
    (run,) = read_runs([file])[8]
    assert set(run.weights) == {"A", "b"}
    assert run.movement is not None
    assert run.movement.tolist() == [1.0]
    assert run.passage is not None
    assert torch.equal(run.passage.variation, passage_of(states[:, None]).variation)
    assert torch.equal(run.passage.outputs[0], outputs)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"A": torch.ones(8, 2), "b": torch.ones(4)}, r"of one depth, found A \(8, 2\), b \(4,\)"),
        ({"states": torch.ones(9, 1, 1)}, "found none"),
        ({"A": torch.tensor(1.0)}, "of one depth"),
        ({"A": torch.ones(8, 2), "states": torch.ones(8, 1, 1)}, r"states: expected shape \(9, any, any\)"),
        ({"A": torch.ones(8, 2), "initial.B": torch.ones(8, 2)}, "found 'B'"),
        ({"A": torch.ones(8, 2), "initial.A": torch.ones(8, 3)}, r"expected shape \(8, 2\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, tensors, message):
    with pytest.raises(InputError, match=message):
        read_runs([write(tmp_path, "a.safetensors", **tensors)])


def test_a_file_of_another_kind_is_refused(tmp_path):
    other = tmp_path / "weights.pt"
    torch.save({"A": torch.ones(8, 2)}, other)
    with pytest.raises(InputError, match=r"weights.pt: expected a safetensors file"):
        read_runs([other])
    with pytest.raises(InputError, match="found none"):
        read_runs([tmp_path / "nowhere"])


def test_runs_that_do_not_fit_into_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    files = [write(tmp_path, f"{depth}.safetensors", A=torch.zeros(depth, 100, 100)) for depth in (8, 16)]
    size = sum(file.stat().st_size for file in files)
    monkeypatch.setattr("deeplimit.machine.memory", lambda device="cpu": 3.0 * size - 1)
    with pytest.raises(InputError, match=r"files: expected to fit into the .* fewer files would need less"):
        read_runs(files)
    monkeypatch.setattr("deeplimit.machine.memory", lambda device="cpu": 3.0 * size)
    assert sorted(read_runs(files)) == [8, 16]
