"""The networks that faults are put into, and what one must know of each to do so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.faults import modules, tasks


@dataclass(frozen=True)
class Units:
    """Hidden units of a block whose order is free.

    Args:
        count: of units (channels, heads).
        size: entries of one unit (the width of a head).
        places: (suffix, axis, offset) of every tensor that has an entry for each.
    """

    count: int
    size: int
    places: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Architecture:
    """One kind of network.

    Args:
        name: of the kind.
        title: in the table.
        build: a network with fresh weights, drawn from PyTorch's global generator.
        group: what stands before a block's number in names.
        depth: number L of blocks.
        output: suffixes of the tensors that the branches' outputs are linear in.
        units: hidden units of a block.
        before, task, steps, rate: how it is trained: what the embedding consists of is in `before`.
        multiplier: power of L by which the network multiplies its branches, and double scaling a second time; None where it does not.
        ordered: whether training gives the weights an order in depth; from equal layers it does.
    """

    name: str
    title: str
    build: Callable[[], nn.Module]
    group: str
    depth: int
    output: tuple[str, ...]
    units: tuple[Units, ...]
    before: tuple[str, ...]
    task: tasks.Task
    steps: int
    rate: float
    multiplier: float | None = None
    ordered: bool = False
    normed: bool = True

    def block(self, index: int) -> str:
        """The prefix of a block's tensors, with the dot."""
        return f"{self.group}.{index}."

    def matrices(self, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
        """Suffixes of a block's tensors with at least two axes."""
        first = self.block(0)
        return tuple(
            name.removeprefix(first) for name, value in state.items() if name.startswith(first) and value.ndim > 1
        )


def flow() -> nn.Module:
    """Equal layers, V = 0, and 1/L: the weights stay smooth in depth."""
    network = modules.Perceptrons(20, (24, 48), scale=1 / 20)
    with torch.no_grad():
        for block in network.blocks:
            block.inner.weight.copy_(network.blocks[0].inner.weight)
            block.outer.weight.zero_()
    return network


def rough() -> nn.Module:
    """Independent layers of variance 1/width and 1/√L: the weights stay rough."""
    network = modules.Perceptrons(20, (24, 48), scale=1 / math.sqrt(20))
    for block in network.blocks:
        for value in block.parameters():
            nn.init.normal_(value, std=value.shape[1] ** -0.5)
    return network


def weights_and_biases(*names: str) -> tuple[str, ...]:
    """Both of each."""
    return tuple(f"{name}.{kind}" for name in names for kind in ("weight", "bias"))


def hidden(first: str, second: str, count: int, *, norm: str = "", bias: bool = True) -> Units:
    """The units between two layers, and the norm between them."""
    places = [(f"{first}.weight", 0, 0), (f"{second}.weight", 1, 0)]
    places += [(f"{first}.bias", 0, 0)] if bias else []
    places += [(f"{norm}.{name}", 0, 0) for name in ("weight", "bias", "running_mean", "running_var") if norm]
    return Units(count, 1, tuple(places))


def heads(readers: tuple[tuple[str, int], ...], output: str, *, count: int, size: int) -> Units:
    """Heads of an attention; `readers` are (name, offset) of queries, keys and values."""
    places = [(f"{name}.{kind}", 0, offset) for name, offset in readers for kind in ("weight", "bias")]
    return Units(count, size, ((f"{output}.weight", 1, 0), *places))


def fused(name: str, width: int) -> tuple[tuple[str, int], ...]:
    """Queries, keys and values in one matrix."""
    return tuple((name, part * width) for part in range(3))


PERCEPTRON = hidden("inner", "outer", 48, bias=False)

ARCHITECTURES = {
    a.name: a
    for a in (
        Architecture(
            "flow", "residual perceptrons, equal layers, 1/L", flow, "blocks", 20, ("outer.weight",), (PERCEPTRON,), (),
            tasks.teacher, 1500, 3e-3, multiplier=-1.0, ordered=True, normed=False,
        ),
        Architecture(
            "rough", "residual perceptrons, independent layers, 1/√L", rough, "blocks", 20, ("outer.weight",), (PERCEPTRON,), (),
            tasks.teacher, 1500, 3e-3, multiplier=-0.5, normed=False,
        ),
        Architecture(
            "perceptron", "pre-norm perceptrons on MNIST, 1/√L", lambda: modules.NormedPerceptrons(16, 32, 64), "layers", 16,
            weights_and_biases("down"), (hidden("up", "down", 64),), weights_and_biases("stem"),
            tasks.pictures("mnist"), 1000, 2e-3, multiplier=-0.5,
        ),
        Architecture(
            "decoder", "GPT-2-like decoder on bytes", lambda: modules.Decoder(12, 64, 4), "h", 12,
            weights_and_biases("attn.c_proj", "mlp.c_proj"),
            (hidden("mlp.c_fc", "mlp.c_proj", 256), heads(fused("attn.c_attn", 64), "attn.c_proj", count=4, size=16)),
            ("wte.weight", "wpe.weight"), tasks.text, 400, 2e-3,
        ),
        Architecture(
            "encoder", "pre-norm encoder that sorts digits", lambda: modules.Encoder(8, 64, 4), "layer", 8,
            weights_and_biases("attention.output", "mlp.output"),
            (
                hidden("mlp.intermediate", "mlp.output", 256),
                heads(tuple((f"attention.{role}", 0) for role in ("query", "key", "value")), "attention.output", count=4, size=16),
            ),
            ("embeddings.weight", "positions.weight"), tasks.sorting, 400, 1e-3,
        ),
        Architecture(
            "vision", "vision transformer on MNIST", lambda: modules.VisionTransformer(8, 48, 4), "blocks", 8,
            weights_and_biases("attn.proj", "mlp.fc2"),
            (hidden("mlp.fc1", "mlp.fc2", 192), heads(fused("attn.qkv", 48), "attn.proj", count=4, size=12)),
            (*weights_and_biases("patch_embed"), "pos_embed"), tasks.pictures("mnist"), 400, 2e-3,
        ),
        Architecture(
            "convolution", "convolutional residual stage on CIFAR-10", lambda: modules.ConvolutionalStage(10, 16), "layer1", 10,
            weights_and_biases("bn2"), (hidden("conv1", "conv2", 16, norm="bn1", bias=False),),
            weights_and_biases("conv"), tasks.pictures("cifar-10"), 300, 5e-3,
        ),
    )
}  # fmt: skip
