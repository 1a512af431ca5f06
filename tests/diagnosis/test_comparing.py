"""Two reports against each other, many over time, and how far weights went."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.diagnosis import Finding, Group, Role
from deeplimit.diagnosis.comparing import compare, over_time, same_structure, weight_changes
from tests.diagnosis import reports
from tests.diagnosis.sources import Memory

BASE = reports.report(reports.group(batch=True), reports.group("layer3", 23, seed=3))


def test_a_report_compared_with_itself_has_not_changed():
    found = compare(BASE, BASE)
    assert [group.name for group in found.groups] == ["encoder.layer", "layer3"]
    for group in found.groups:
        assert {x for role in group.roles for curve in role.ratios.values() for x in curve} == {1.0}
        assert {change.size for change in group.changed} == {0.0}
        assert group.came == group.went == ()


def test_the_block_that_changed_is_first():
    found = compare(BASE, reports.scaled(BASE, 3.0, block=7)).groups[0]
    assert found.changed[0].block == 7
    assert found.changed[0].size == pytest.approx(math.log(3))
    assert found.changed[1].size == pytest.approx(0, abs=1e-12)
    query = next(role for role in found.roles if role.name == "attention.query")
    assert query.ratios["norm"] == pytest.approx([3.0 if k == 7 else 1.0 for k in range(12)])
    assert len(query.ratios["increment"]) == 11
    shrunk = compare(BASE, reports.scaled(BASE, 0.0, block=2)).groups[0]
    assert (shrunk.changed[0].block, shrunk.changed[0].size) == (2, math.inf)


def test_findings_that_came_and_went():
    group = reports.group()
    stays, goes, comes = (Finding("dead", (k,), "mlp", "", 2.0) for k in range(3))
    a = reports.report(replace(group, findings=(stays, goes)))
    b = reports.report(replace(group, findings=(replace(stays, strength=3.0), comes)))
    found = compare(a, b).groups[0]
    assert (found.came, found.went) == ((comes,), (goes,))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (reports.report(), "expected 2 groups as in net.safetensors, found 1"),
        (
            reports.report(reports.group(depth=13), reports.group("layer3", 23)),
            "expected 12 blocks in encoder.layer .* found 13",
        ),
        (
            reports.report(reports.group("layer3"), reports.group("layer3", 23)),
            r"found attention.query \(384, 384\) and absent",
        ),
    ],
)
def test_other_structures_are_not_compared(other, message):
    with pytest.raises(InputError, match=message):
        same_structure(BASE, other)
    with pytest.raises(InputError, match=message):
        compare(BASE, other)
    with pytest.raises(InputError, match=message):
        over_time({1: BASE, 2: other})


def test_names_of_groups_may_differ():
    renamed = reports.report(*(replace(group, name=f"module.{group.name}") for group in BASE.groups))
    assert compare(BASE, renamed).groups[0].name == "encoder.layer"


def group_of(depth: int) -> Group:
    role = Role("mlp", "mlp", "stream", "w", (4, 4))
    return Group("h", tuple(f"h.{k}" for k in range(depth)), (role,))


def test_how_far_weights_went():
    generator = torch.Generator().manual_seed(0)
    a = {f"h.{k}.w": torch.randn(4, 4, generator=generator) for k in range(4)}
    b = {**a, "h.1.w": 2 * a["h.1.w"], "h.2.w": -a["h.2.w"], "h.3.w": 0 * a["h.3.w"]}
    first, second = Memory(a), Memory(b)
    moved = weight_changes((first, group_of(4)), (second, group_of(4)))
    assert moved["mlp"].distance == pytest.approx([0, 1, 2, 1])
    assert moved["mlp"].cosine[:3] == pytest.approx([1, 1, -1])
    assert math.isnan(moved["mlp"].cosine[3])
    assert set(first.reads.values()) == set(second.reads.values()) == {1}
    assert weight_changes((first, group_of(4)), (second, group_of(3))) == {}


def test_the_most_changed_block_is_the_one_whose_weights_went_farthest():
    generator = torch.Generator().manual_seed(0)
    a = {f"h.{k}.w": torch.randn(4, 4, generator=generator) for k in range(12)}
    b = {**a, "h.5.w": -a["h.5.w"], "h.6.w": math.nan * a["h.6.w"]}
    moved = weight_changes((Memory(a), group_of(12)), (Memory(b), group_of(12)))
    found = compare(BASE, BASE, moved=(moved, {})).groups[0]
    assert [change.block for change in found.changed[:2]] == [6, 5]
    assert found.changed[1].size == pytest.approx(2)
    assert found.moved == moved


def test_zero_weights_that_stay_zero_have_not_moved():
    zero, one = {"h.0.w": torch.zeros(4, 4)}, {"h.0.w": torch.ones(4, 4)}
    sources = [(Memory(tensors), group_of(1)) for tensors in (zero, one)]
    assert weight_changes(sources[0], sources[0])["mlp"].distance == (0.0,)
    assert weight_changes(sources[0], sources[1])["mlp"].distance == (math.inf,)


def test_reports_over_time_stand_in_the_order_of_steps():
    found = over_time({step: reports.scaled(BASE, 1 + step / 100, block=4) for step in (200, 0, 100)}, "run")
    assert found.steps == (0, 100, 200)
    group = found.groups[0]
    assert group.weights == ("rough",) * 3
    assert group.findings == (2, 2, 2)
    growth = group.growth()
    assert [row[4] for row in growth] == pytest.approx([1, 2, 3])
    assert {round(x, 12) for row in growth for k, x in enumerate(row) if k != 4} == {1.0}
    assert len(group.curves["passage.stream_norm"][0]) == 13
    assert len(group.curves["mlp.up (aligned).increment"][0]) == 11


def test_a_norm_of_zero_leaves_no_growth():
    found = over_time({0: reports.scaled(BASE, 0.0, block=4), 1: BASE}).groups[0].growth()
    assert math.isnan(found[1][4])
    assert found[1][3] == pytest.approx(1)


def test_no_checkpoints_are_no_timeline():
    with pytest.raises(InputError, match="run: expected checkpoints, found none"):
        over_time({}, "run")


def test_both_are_plain_json():
    changed = compare(BASE, reports.scaled(BASE, 0.0, block=2)).as_json()
    assert changed["format"] == "deeplimit.comparison/1"
    assert changed["groups"][0]["changed"][0] == {"block": 2, "size": None, "where": "attention.query"}
    line = over_time({0: BASE, 1: BASE}).as_json()
    assert line["format"] == "deeplimit.timeline/1"
    assert line["groups"][0]["weights"] == ["rough", "rough"]
    json.dumps([changed, line], allow_nan=False)


def test_a_small_tensor_that_moved_far_does_not_outweigh_a_large_one():
    group = Group("h", ("h.0", "h.1"), (Role("w", "mlp", "stream", "w", (2,)), Role("b", "mlp", "bias", "b", (2,))))
    a = {"h.0.w": torch.tensor([30.0, 40.0]), "h.0.b": torch.zeros(2), "h.1.w": torch.tensor([30.0, 40.0])}
    a["h.1.b"] = torch.zeros(2)
    b = {**a, "h.0.b": torch.tensor([0.0, 5.0]), "h.1.w": torch.tensor([40.0, 30.0])}
    moved = weight_changes((Memory(a), group), (Memory(b), group))
    assert moved["b"].distance == (math.inf, 0.0)
    two = reports.report(reports.group(depth=2))
    first, second = compare(two, two, moved=(moved,)).groups[0].changed
    assert (first.block, first.where) == (1, "w")
    assert first.size == pytest.approx(200**0.5 / 50)
    assert (second.where, second.size) == ("b", 0.1)
