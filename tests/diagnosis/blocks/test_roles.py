"""Roles of the tensors of a block."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeplimit.checks import InputError
from deeplimit.diagnosis import Group
from deeplimit.diagnosis.blocks.roles import Roles, find_roles
from deeplimit.diagnosis.blocks.structure import find_groups
from tests.diagnosis.blocks.families import (
    convnext,
    flax_vit,
    inverted,
    mixture,
    norm,
    onnx_bert,
    resnet,
    source,
    timm_vit,
    two_convolutions,
)
from tests.diagnosis.sources import Memory

ATTENTION = {
    "attention.scores": ("attention.query", "attention.key"),
    "attention.values": ("attention.value", "attention.output"),
}
MLP = {"mlp": ("mlp.up", "mlp.down")}
GATED = {"mlp.gated": ("mlp.gate", "mlp.down"), **MLP}
CROSS = {"cross.scores": ("cross.query", "cross.key"), "cross.values": ("cross.value", "cross.output")}


def uses(found: Roles | Group) -> dict[str, str]:
    return {role.name: role.use for role in found.roles}


def pairs(found: Roles | Group) -> dict[str, tuple[str, str]]:
    return {pair.name: (pair.first, pair.second) for pair in found.pairs}


def first(shapes, **config) -> Group:
    return find_groups(source(shapes, **config))[0]


def test_two_square_matrices_go_by_their_names_and_one_is_a_map_of_the_stream():
    found = find_roles({"V": (4, 4), "W": (4, 4), "b": (4,), "c": (4,)})
    assert uses(found) == {"V": "writes", "W": "reads", "b": "hidden bias", "c": "bias"}
    assert pairs(found) == {"mlp": ("W", "V")}
    alone = find_roles({"A": (4, 4), "b": (4,), "delta": ()})
    assert uses(alone) == {"A": "stream", "b": "bias", "delta": "scale"}
    assert not alone.pairs


def test_names_tell_the_stream_of_a_perceptron_without_a_norm_and_a_norm_tells_it_better():
    found = find_roles({"V": (4, 6), "W": (6, 4), "b": (6,), "c": (4,)})
    assert found.stream == 4
    assert uses(found) == {"V": "writes", "W": "reads", "b": "hidden bias", "c": "bias"}
    assert find_roles({"V": (6, 4), "W": (4, 6)}).stream == 6
    assert find_roles({"V": (6, 4), "W": (4, 6), "norm.weight": (4,)}).stream == 4


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("fc2", "fc1"), ("fc1", "fc2")),
        (("out", "in"), ("in", "out")),
        (("net.4", "net.2"), ("net.2", "net.4")),
        (("x", "a"), ("x", "a")),  # nothing but the order of the file
    ],
)
def test_of_two_square_matrices_the_first_reads_and_the_second_writes(names, expected):
    found = find_roles({f"{name}.weight": (4, 4) for name in names})
    suffixes = {role.name: role.suffix for role in found.roles}
    ((up, down),) = pairs(found).values()
    assert (suffixes[up], suffixes[down]) == tuple(f"{name}.weight" for name in expected)


def test_scales_of_branches():
    names = [
        "ls1.gamma",
        "gamma_2",
        "layer_scale1.lambda1",
        "lambda_1",
        "resweight",
        "alpha",
        "residual_scale",
        "norm1.weight",
    ]
    found = find_roles({"fc1.weight": (6, 4), "fc2.weight": (4, 6), **dict.fromkeys(names, (4,))})
    assert [use for name, use in uses(found).items() if not name.startswith("mlp")] == ["scale"] * 7 + ["gain"]
    old = find_roles({"fc1.weight": (6, 4), "fc2.weight": (4, 6), "LayerNorm.gamma": (4,), "LayerNorm.beta": (4,)})
    assert uses(old)["LayerNorm.gain"] == "gain"
    assert uses(old)["LayerNorm.bias"] == "bias"


def test_the_norm_between_two_convolutions_belongs_to_hidden_units():
    after = first(two_convolutions())
    assert pairs(after) == {"convolutions": ("conv1", "conv2")}
    assert (uses(after)["norm1.gain"], uses(after)["norm2.gain"]) == ("hidden bias", "gain")
    assert (uses(after)["conv1.bias"], uses(after)["conv2.bias"]) == ("hidden bias", "bias")
    before = first(two_convolutions(norm_first=True))
    assert (uses(before)["norm1.gain"], uses(before)["norm2.gain"]) == ("gain", "hidden bias")


def test_a_basic_block_is_a_pair_and_a_bottleneck_is_not():
    basic = first(resnet((3,), bottleneck=False))
    assert pairs(basic) == {"convolutions": ("conv1", "conv2")}
    assert uses(basic)["bn1.running_mean"] == "other"
    bottleneck = first(resnet())
    assert bottleneck.stream == 128
    found = uses(bottleneck)
    assert [found[f"conv{k}"] for k in (1, 2, 3)] == ["reads", "hidden", "writes"]
    assert [found[f"bn{k}.gain"] for k in (1, 2, 3)] == ["hidden bias", "hidden bias", "gain"]
    assert not bottleneck.pairs
    assert any("conv3.weight" in left.name and "no pair" in left.reason for left in bottleneck.left_out)


def test_channels_that_a_kernel_of_one_channel_each_passes_by_still_pair():
    found = first(inverted())
    assert (found.stream, pairs(found)) == (8, {"convolutions": ("conv_pw", "conv_pwl")})
    assert uses(found)["conv_dw"] == "other"
    assert first(convnext()).stream == 16
    assert pairs(first(convnext())) == MLP


def test_experts_are_a_pair_each():
    found = first(mixture(experts=2))
    names = [f"mlp.block_sparse_moe.experts.{expert}" for expert in range(2)]
    assert pairs(found).keys() == {*ATTENTION, *names, *(f"{name}.gated" for name in names)}
    gate = found.role(f"{names[1]}.gate")
    assert gate.suffix == "block_sparse_moe.experts.1.w1.weight"


def test_what_flax_and_onnx_name_with_slashes_is_read():
    flax = first(flax_vit())
    assert pairs(flax) == MLP
    assert flax.role("mlp.up").shape == (32, 8)
    assert flax.tensor(1, flax.role("mlp.up")) == "Transformer/encoderblock_1/MlpBlock_3/Dense_0/kernel"
    assert any("query/kernel" in left.name for left in flax.left_out)
    assert pairs(first(onnx_bert())) == {**ATTENTION, **MLP}


def test_a_fused_projection_of_timm_is_three_roles_of_one_tensor():
    found = first(timm_vit())
    assert pairs(found) == {**ATTENTION, **MLP}
    assert found.role("attention.key").rows == ((8, 16),)
    assert uses(found)["ls2"] == "scale"


def test_masks_have_no_role():
    found = find_roles(
        {"attn.bias": (1, 1, 5, 5), "attn.attn_mask": (5, 5), "fc1.weight": (6, 4), "fc2.weight": (4, 6)}
    )
    assert uses(found).keys() == {"mlp.up", "mlp.down"}
    assert [left.name for left in found.left_out] == ["attn.bias", "attn.attn_mask"]


def test_two_perceptrons_of_one_block_do_not_mix():
    shapes = {f"{name}.fc{k}.weight": (6, 4) if k == 1 else (4, 6) for name in ("a", "b") for k in (1, 2)}
    assert pairs(find_roles(shapes)) == {"mlp.a": ("mlp.a.up", "mlp.a.down"), "mlp.b": ("mlp.b.up", "mlp.b.down")}
    deep = find_roles({"fc1.weight": (6, 4), "fc2.weight": (6, 6), "fc3.weight": (4, 6), **norm("norm", 4)})
    assert uses(deep)["fc2"] == "hidden"
    assert not deep.pairs


# ------------------------------------------------------------------------------------------- networks of other libraries

SIZES = {
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": 11,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
TINY = {**SIZES, "hidden_size": 8, "intermediate_size": 16}
GROUPED = {**TINY, "num_attention_heads": 4, "num_key_value_heads": 2}
NONE: dict[str, tuple[str, str]] = {}


def library(name: str, **config: object) -> nn.Module:
    import transformers

    model: nn.Module = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**config))
    return model


def read(model: nn.Module) -> tuple[Memory, tuple[Group, ...]]:
    tensors = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    config = getattr(model, "config", None)
    found = Memory(tensors, kinds=kinds, settings=config.to_dict() if config is not None else {})
    return found, find_groups(found)


@pytest.mark.parametrize(
    ("name", "config", "depth", "expected"),
    [
        ("Bert", TINY, {"encoder.layer": 3}, {**ATTENTION, **MLP}),
        ("GPT2", {**SIZES, "n_embd": 8, "n_layer": 3, "n_head": 2}, {"h": 3}, {**ATTENTION, **MLP}),
        ("Llama", GROUPED, {"layers": 3}, GATED),
        (
            "T5",
            {**SIZES, "d_model": 8, "num_layers": 3, "num_decoder_layers": 4, "num_heads": 2, "d_kv": 4, "d_ff": 16},
            {"decoder.block": 4, "encoder.block": 3},
            {**ATTENTION, **CROSS, **MLP},
        ),
        ("ViT", {**TINY, "image_size": 8, "patch_size": 4}, {"layers": 3}, {**ATTENTION, **MLP}),
        (
            "Swin",
            {
                "embed_dim": 8,
                "depths": [2, 4],
                "num_heads": [1, 2],
                "window_size": 2,
                "image_size": 16,
                "patch_size": 2,
            },
            {"encoder.layers.1.blocks": 4, "encoder.layers.0.blocks": 2},
            {**ATTENTION, **MLP},
        ),
        (
            "ConvNext",
            {"hidden_sizes": [4, 8, 12, 16], "depths": [1, 2, 3, 1]},
            {"encoder.stages.2.layers": 3, "encoder.stages.1.layers": 2},
            MLP,
        ),
        ("GPTNeoX", TINY, {"layers": 3}, {**ATTENTION, **MLP}),
        ("Bloom", {**SIZES, "hidden_size": 8, "n_layer": 3, "n_head": 2}, {"h": 3}, {**ATTENTION, **MLP}),
        ("Phi3", GROUPED, {"layers": 3}, GATED),
        ("Mixtral", {**GROUPED, "num_local_experts": 4}, {"layers": 3}, NONE),
        (
            "ResNet",
            {"embedding_size": 4, "hidden_sizes": [8, 16], "depths": [3, 4]},
            {"encoder.stages.1.layers": 3, "encoder.stages.0.layers": 2},
            NONE,
        ),
        (
            "DistilBert",
            {"dim": 8, "n_layers": 3, "n_heads": 2, "hidden_dim": 16, "vocab_size": 11},
            {"transformer.layer": 3},
            {**ATTENTION, **MLP},
        ),
        ("DebertaV2", TINY, {"encoder.layer": 3}, {**ATTENTION, **MLP}),
        (
            "Whisper",
            {**SIZES, "d_model": 8, "encoder_layers": 3, "decoder_layers": 4, "encoder_attention_heads": 2}
            | {"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "decoder_start_token_id": 1},
            {"decoder.layers": 4, "encoder.layers": 3},
            {**ATTENTION, **CROSS, **MLP},
        ),
    ],
)
def test_models_of_transformers(name, config, depth, expected):
    found, groups = read(library(name, **config))
    assert {group.name: group.depth for group in groups} == depth
    assert pairs(groups[0]) == expected
    for group in groups:
        for role in group.roles:
            assert group.read(found, group.depth - 1, role).shape == role.shape


def test_the_bias_of_positions_in_the_first_block_of_t5_is_left_out_and_the_block_stays():
    sizes = {"d_model": 8, "num_layers": 3, "num_heads": 2, "d_kv": 4, "d_ff": 16}
    _, groups = read(library("T5", **SIZES, **sizes))
    for group in groups:
        assert group.blocks[0].endswith("block.0")
        assert ["relative_attention_bias" in left.name for left in group.left_out] == [True]


def test_keys_and_values_that_queries_share_make_no_pair_and_say_so():
    for name in ("Llama", "Phi3"):
        _, (group,) = read(library(name, **GROUPED))
        assert [left.name for left in group.left_out] == ["attention.scores", "attention.values"]
        assert group.role("attention.key").shape == (4, 8)


def test_heads_of_neox_are_cut_as_the_model_cuts_them():
    model = library("GPTNeoX", **TINY)
    found, (group,) = read(model)
    stored = found.tensors["layers.1.attention.query_key_value.weight"].reshape(2, 3, 4, 8)  # head, kind, row, column
    for kind, name in enumerate(("query", "key", "value")):
        cut = group.read(found, 1, group.role(f"attention.{name}"))
        assert torch.equal(cut, stored[:, kind].reshape(8, 8))


def test_gpt2_is_turned_as_its_own_layer_turns():
    found, (group,) = read(library("GPT2", **SIZES, n_embd=8, n_layer=2, n_head=2))
    stored = found.tensors["h.0.attn.c_attn.weight"]
    assert torch.equal(group.read(found, 0, group.role("attention.value")), stored[:, 16:].T)
    assert torch.equal(group.read(found, 0, group.role("mlp.down")), found.tensors["h.0.mlp.c_proj.weight"].T)
    bare = find_groups(Memory(found.tensors))
    assert [role.transposed for role in bare[0].roles] == [role.transposed for role in group.roles]


def test_one_layer_used_again_and_again_is_no_group():
    with pytest.raises(InputError, match=r"albert_layers.#.attention"):
        read(library("Albert", **TINY, embedding_size=4))


def test_mobilebert_has_four_perceptrons_beside_its_bottleneck():
    sizes = {"embedding_size": 4, "intra_bottleneck_size": 8, "true_hidden_size": 8}
    _, (group,) = read(library("MobileBert", **{**TINY, "hidden_size": 16}, **sizes))
    assert group.depth == 3
    assert pairs(group).keys() == {*ATTENTION, "mlp.ffn.0", "mlp.ffn.1", "mlp.ffn.2", "mlp.output"}


def test_the_encoder_of_pytorch():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    _, (group,) = read(nn.TransformerEncoder(layer, 3))
    assert (group.name, group.depth, group.stream) == ("layers", 3, 8)
    assert pairs(group) == {**ATTENTION, **MLP}
    assert group.role("attention.value.bias").rows == ((16, 24),)
