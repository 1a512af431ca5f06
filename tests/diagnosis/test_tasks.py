"""From what the command line names to what it prints: files, not reports made up."""

from __future__ import annotations

import pytest

from deeplimit.checks import InputError
from deeplimit.diagnosis import Report
from deeplimit.diagnosis.comparing import Comparison, Timeline
from deeplimit.diagnosis.tasks import Options, as_family, carry_out, find
from tests.diagnosis.networks import save_network


def test_a_file_is_diagnosed(tmp_path):
    seen = []
    path = save_network(tmp_path / "net.safetensors")
    found, report = carry_out([str(path)], Options(progress=lambda done, total: seen.append((done, total))))
    assert isinstance(found, Report)
    assert found is report
    assert [(group.name, group.depth) for group in report.groups] == [("encoder.layer", 8)]
    done, total = seen[-1]
    assert done == total == len(seen)


def test_groups_and_roles_are_chosen(tmp_path):
    path = str(save_network(tmp_path / "net.safetensors"))
    _, (group,) = find(path, Options(roles=("mlp.up",)))
    assert [role.name for role in group.roles] == ["mlp.up"]
    with pytest.raises(InputError, match="found 'decoder'"):
        find(path, Options(group="decoder"))


def test_two_files_are_compared_with_their_weights(tmp_path):
    a = save_network(tmp_path / "a.safetensors")
    b = save_network(tmp_path / "b.safetensors", factor=3.0)
    found, second = carry_out([str(a), str(b)], Options())
    assert isinstance(found, Comparison)
    (group,) = found.groups
    assert group.changed[0].block == 5
    assert group.changed[0].size == pytest.approx(2)
    assert group.moved["mlp.up"].distance[:5] == (0.0,) * 5
    assert second.target == found.b


def test_networks_of_other_depths_are_not_compared(tmp_path):
    a, b = (save_network(tmp_path / f"{depth}.safetensors", depth=depth) for depth in (8, 9))
    with pytest.raises(InputError, match=r"expected 8 blocks in encoder.layer .* found 9"):
        carry_out([str(a), str(b)], Options())


def test_a_folder_of_checkpoints_is_diagnosed_over_time(tmp_path):
    for step in (1000, 200):
        save_network(tmp_path / f"step_{step}.safetensors", factor=step / 200)
    found, last = carry_out([str(tmp_path)], Options())
    assert isinstance(found, Timeline)
    assert found.steps == (200, 1000)
    assert found.groups[0].growth()[1][5] == pytest.approx(5)
    assert "step_1000" in last.target


def test_depths_are_a_family(tmp_path):
    paths = [str(save_network(tmp_path / f"{depth}.safetensors", depth=depth, noise=0)) for depth in (8, 16, 32)]
    assert as_family(paths, Options(roles=("mlp.up",))).weights["mlp.up"].label == "hypothesis 1"


def test_three_targets_are_too_many(tmp_path):
    with pytest.raises(InputError, match="expected one or two, or --family; found 3"):
        carry_out(["a", "b", "c"], Options())
