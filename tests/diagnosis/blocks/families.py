"""Names and shapes of known networks, small, as their libraries write them."""

from __future__ import annotations

import torch

from tests.diagnosis.sources import Memory

Shapes = dict[str, tuple[int, ...]]


def source(shapes: Shapes, **settings: object) -> Memory:
    return Memory({name: torch.zeros(shape) for name, shape in shapes.items()}, settings=settings)


def linear(name: str, out: int, width: int) -> Shapes:
    return {f"{name}.weight": (out, width), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def batch_norm(name: str, width: int) -> Shapes:
    return {**norm(name, width), f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}


def perceptrons(prefix: str, depth: int, *, m: int = 6, start: int = 0) -> Shapes:
    blocks: Shapes = {}
    for k in range(start, start + depth):
        blocks |= linear(f"{prefix}{k}.fc1", m, 4) | linear(f"{prefix}{k}.fc2", 4, m)
    return blocks


def timm_vit(depth: int = 12, d: int = 8) -> Shapes:
    shapes: Shapes = {"cls_token": (1, 1, d), "pos_embed": (1, 5, d), "patch_embed.proj.weight": (d, 3, 4, 4)}
    for k in range(depth):
        block = f"blocks.{k}."
        shapes |= norm(block + "norm1", d) | linear(block + "attn.qkv", 3 * d, d) | linear(block + "attn.proj", d, d)
        shapes |= {block + "ls1.gamma": (d,), **norm(block + "norm2", d), block + "ls2.gamma": (d,)}
        shapes |= linear(block + "mlp.fc1", 4 * d, d) | linear(block + "mlp.fc2", d, 4 * d)
    return shapes | norm("norm", d) | linear("head", 10, d)


def resnet(depths: tuple[int, ...] = (3, 4, 6, 3), *, bottleneck: bool = True) -> Shapes:
    """torchvision's names: `resnet50`, or with basic blocks `resnet18`."""
    shapes: Shapes = {"conv1.weight": (8, 3, 7, 7), **batch_norm("bn1", 8)}
    width = 8
    for stage, depth in enumerate(depths, 1):
        m = 4 * 2**stage
        d = 4 * m if bottleneck else m
        kernels = [(m, width, 1), (m, m, 3), (d, m, 1)] if bottleneck else [(m, width, 3), (m, m, 3)]
        for k in range(depth):
            block = f"layer{stage}.{k}."
            for number, (out, inside, size) in enumerate(kernels, 1):
                inside = width if number == 1 else inside
                shapes |= {block + f"conv{number}.weight": (out, inside, size, size)}
                shapes |= batch_norm(block + f"bn{number}", out)
            if width != d:
                shapes |= {block + "downsample.0.weight": (d, width, 1, 1), **batch_norm(block + "downsample.1", d)}
            width = d
    return shapes | linear("fc", 10, width)


def convnext(depths: tuple[int, ...] = (3, 3, 9, 3)) -> Shapes:
    shapes: Shapes = {"stem.0.weight": (4, 3, 4, 4), **norm("stem.1", 4)}
    for stage, depth in enumerate(depths):
        d = 4 * 2**stage
        if stage:
            shapes |= norm(f"stages.{stage}.downsample.0", d // 2)
            shapes |= {f"stages.{stage}.downsample.1.weight": (d, d // 2, 2, 2)}
        for k in range(depth):
            block = f"stages.{stage}.blocks.{k}."
            shapes |= {block + "gamma": (d,), block + "conv_dw.weight": (d, 1, 7, 7), **norm(block + "norm", d)}
            shapes |= linear(block + "mlp.fc1", 4 * d, d) | linear(block + "mlp.fc2", d, 4 * d)
    return shapes | linear("head.fc", 10, 32)


def flax_vit(depth: int = 12, d: int = 8) -> Shapes:
    shapes: Shapes = {"embedding/kernel": (4, 4, 3, d)}
    for k in range(depth):
        block = f"Transformer/encoderblock_{k}/"
        for name in ("query", "key", "value"):
            shapes[f"{block}MultiHeadDotProductAttention_1/{name}/kernel"] = (d, 2, d // 2)
        shapes |= {block + "LayerNorm_0/scale": (d,), block + "LayerNorm_0/bias": (d,)}
        shapes |= {block + "MlpBlock_3/Dense_0/kernel": (d, 4 * d), block + "MlpBlock_3/Dense_0/bias": (4 * d,)}
        shapes |= {block + "MlpBlock_3/Dense_1/kernel": (4 * d, d), block + "MlpBlock_3/Dense_1/bias": (d,)}
    return shapes


def onnx_bert(depth: int = 3, d: int = 8) -> Shapes:
    shapes: Shapes = {}
    for k in range(depth):
        block = f"/encoder/layer.{k}/"
        for name in ("attention/self/query", "attention/self/key", "attention/self/value", "attention/output/dense"):
            shapes[f"{block}{name}/weight"] = (d, d)
        shapes |= {block + "intermediate/dense/weight": (4 * d, d), block + "output/dense/weight": (d, 4 * d)}
    return shapes


def mixture(depth: int = 4, d: int = 8, *, experts: int = 6) -> Shapes:
    """Mixtral's checkpoints, an expert a module."""
    shapes: Shapes = {}
    for k in range(depth):
        block = f"model.layers.{k}."
        shapes |= {f"{block}self_attn.{name}_proj.weight": (d, d) for name in "qkvo"}
        shapes |= {block + "block_sparse_moe.gate.weight": (experts, d)}
        for expert in range(experts):
            inside = f"{block}block_sparse_moe.experts.{expert}."
            shapes |= {inside + "w1.weight": (24, d), inside + "w2.weight": (d, 24), inside + "w3.weight": (24, d)}
    return shapes


def inverted(depth: int = 4, d: int = 8) -> Shapes:
    """MobileNetV2 with its squeeze-and-excitation of later ones."""
    shapes: Shapes = {}
    for k in range(depth):
        block = f"blocks.2.{k}."
        shapes |= {block + "conv_pw.weight": (6 * d, d, 1, 1), **batch_norm(block + "bn1", 6 * d)}
        shapes |= {block + "conv_dw.weight": (6 * d, 1, 3, 3), **batch_norm(block + "bn2", 6 * d)}
        shapes |= {block + "se.conv_reduce.weight": (2, 6 * d, 1, 1), block + "se.conv_expand.weight": (6 * d, 2, 1, 1)}
        shapes |= {block + "conv_pwl.weight": (d, 6 * d, 1, 1), **batch_norm(block + "bn3", d)}
    return shapes


def two_convolutions(depth: int = 4, c: int = 8, *, norm_first: bool = False) -> Shapes:
    """This package's convolutional stack, or a residual network with its norms in front."""
    shapes: Shapes = {}
    for k in range(depth):
        for number in (1, 2):
            kernel: Shapes = {f"layers.{k}.conv{number}.W": (c, c, 3, 3), f"layers.{k}.conv{number}.b": (c,)}
            gains: Shapes = {f"layers.{k}.norm{number}.scale": (c,), f"layers.{k}.norm{number}.mean": (c,)}
            shapes |= gains | kernel if norm_first else kernel | gains
    return shapes
