"""Queries, keys, values and outputs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from deeplimit.diagnosis.blocks.attention import Found, find_attention
from deeplimit.diagnosis.blocks.words import take_apart


def found(shapes: Mapping[str, tuple[int, ...]], **config: object) -> Found:
    return find_attention([take_apart(suffix, shape) for suffix, shape in shapes.items()], config)


def names(attention: Found) -> dict[str, str]:
    return {role.name: role.suffix for role in attention.roles}


@pytest.mark.parametrize(
    ("query", "key", "value", "output"),
    [
        ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
        ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj"),
        ("fn.to_q", "fn.to_k", "fn.to_v", "fn.to_out.0"),
        ("attention.wq", "attention.wk", "attention.wv", "attention.wo"),
    ],
)
def test_usual_names(query, key, value, output):
    paths = {"attention.query": query, "attention.key": key, "attention.value": value, "attention.output": output}
    attention = found({f"{path}.weight": (4, 4) for path in paths.values()})
    assert names(attention) == {name: f"{path}.weight" for name, path in paths.items()}
    assert [(pair.name, pair.scores) for pair in attention.pairs] == [
        ("attention.scores", True),
        ("attention.values", False),
    ]


def test_keys_and_values_without_queries_are_no_attention():
    assert not found({"ffn.key.weight": (16, 4), "ffn.value.weight": (4, 16)}).roles
    assert not found({"mamba.in_proj.weight": (16, 4), "mamba.out_proj.weight": (4, 8)}).roles
    assert found({"attn.in_proj.weight": (24, 4), "attn.out_proj.weight": (4, 8)}).roles


def test_keys_and_values_in_one_matrix():
    attention = found({"attn.to_q.weight": (8, 4), "attn.to_kv.weight": (16, 4), "attn.to_out.weight": (4, 8)})
    assert {role.name: role.rows for role in attention.roles}["attention.value"] == ((8, 16),)
    assert len(attention.pairs) == 2


def test_two_attentions_of_a_block_are_told_apart():
    inside = {f"self_attn.{name}_proj.weight": (4, 4) for name in "qkvo"}
    across = {f"cross_attn.{name}_proj.weight": (4, 4) for name in "qkvo"}
    assert {name.split(".")[0] for name in names(found(inside | across))} == {"attention", "cross"}
    two = {f"attn{k}.{name}_proj.weight": (4, 4) for k in (1, 2) for name in "qkvo"}
    assert {name.split(".")[0] for name in names(found(two))} == {"attn1", "attn2"}


def test_rows_stored_head_by_head_need_the_number_of_heads():
    shapes = {"attention.query_key_value.weight": (24, 8), "attention.dense.weight": (8, 8)}
    rows = {role.name: role.rows for role in found(shapes, num_attention_heads=2).roles}
    assert rows["attention.query"] == ((0, 4), (12, 16))
    assert rows["attention.value"] == ((8, 12), (20, 24))
    for config in ({}, {"num_attention_heads": 3}):
        unknown = found(shapes, **config)
        assert list(names(unknown)) == ["attention.fused", "attention.output"]
        assert not unknown.pairs
        assert "number of heads is not known" in unknown.left_out[0].reason


def test_fused_rows_in_an_unknown_order_stay_whole():
    shapes = {"attn.qkv_proj.weight": (24, 8), "attn.out_proj.weight": (8, 8)}
    assert len(found(shapes).pairs) == 2
    assert "order of this model's own" in found(shapes, model_type="codegen").left_out[0].reason
    grouped = found({"attn.wqkv.weight": (16, 8), "attn.wo.weight": (8, 8)})
    assert "16 rows for 8 columns" in grouped.left_out[0].reason
