"""Queries, keys, values and outputs."""

from __future__ import annotations

from deeplimit.diagnosis.attention import find_attention
from deeplimit.diagnosis.words import take_apart


def found(shapes, **config):
    return find_attention([take_apart(suffix, shape) for suffix, shape in shapes.items()], config)


def test_rows_stored_head_by_head_need_the_number_of_heads():
    shapes = {"attention.query_key_value.weight": (24, 8), "attention.dense.weight": (8, 8)}
    rows = {role.name: role.rows for role in found(shapes, num_attention_heads=2).roles}
    assert rows["attention.query"] == ((0, 4), (12, 16))
    assert rows["attention.value"] == ((8, 12), (20, 24))
    unknown = found(shapes)
    assert [role.name for role in unknown.roles] == ["attention.fused", "attention.output"]
    assert not unknown.pairs
    assert "number of heads is not known" in unknown.left_out[0].reason
