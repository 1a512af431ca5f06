"""The benchmark for a GPU, on the CPU at sizes that take a second."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "convolutional_training.py"


def script() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(FILE)))


def test_the_same_command_runs_a_small_version_on_the_cpu():
    module = script()
    words = ["--device", "cpu", "--depth", "1", "--samples", "2", "--members", "2", "--steps", "1", "--rounds", "1"]
    lines = module.measure(module.parsed(words))
    names = [line.split(" | ")[0].removeprefix("| ") for line in lines[4:]]
    assert names == [
        "modules",
        "reference, 1 run",
        "auto, 1 run",
        "auto, 2 runs",
        "auto:bf16, 1 run",
        "auto:bf16, 2 runs",
        "auto:apart, 2 runs",
    ]
    assert all(float(line.split(" | ")[1]) > 0 for line in lines[4:])
    assert lines[4].endswith("1.00 [1.00 … 1.00] |")


def test_modules_and_steps_are_one_network():
    module = script()
    network = module.ConvolutionalStack(3, module.CHANNELS, module.ReLU())
    trained = sum(p[None].numel() for role, p in network.initialise(0).items() if role in network.trainable)
    assert trained == sum(p.numel() for p in module.Modules(3).parameters())
    x = torch.zeros(2, 3, 32, 32)
    assert module.Modules(3)(x).shape == network(network.initialise(0), x).shape
