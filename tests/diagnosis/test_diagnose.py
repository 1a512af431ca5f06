"""From the target to the report."""

from __future__ import annotations

import io
import json
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

import deeplimit
from deeplimit.checks import InputError
from deeplimit.diagnosis.diagnose import diagnose
from deeplimit.diagnosis.sources import ModuleSource
from deeplimit.diagnosis.telling.text import text
from tests.diagnosis.drawn import perceptrons
from tests.diagnosis.sources import Memory


class Block(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.up, self.down = nn.Linear(width, 32, bias=False), nn.Linear(32, width, bias=False)

    def forward(self, x):
        return x + self.down(torch.tanh(self.up(x))) / 12


class Net(nn.Module):
    def __init__(self, state):
        super().__init__()
        self.blocks = nn.ModuleList([Block() for _ in range(12)])
        self.load_state_dict({name: value.float() for name, value in state.items()})

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture(scope="module")
def net():
    return Net(perceptrons("smooth"))


def test_a_file_a_module_and_a_source_give_the_same_report(net, tmp_path):
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    targets = (net, ModuleSource(net), str(tmp_path / "net.safetensors"))
    found = [diagnose(target).groups[0] for target in targets]
    profiles = [{(one.name, one.view): one for one in group.profiles} for group in found]
    assert profiles[0] == profiles[1] == profiles[2]
    assert [group.weights for group in found[1:]] == [found[0].weights] * 2
    assert (found[0].weights.label, found[0].function.label) == ("smooth", "undecided")
    assert deeplimit.diagnose is diagnose


def test_with_a_batch_there_is_a_verdict_on_the_function(net):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    (group,) = diagnose(net, x).groups
    assert (group.weights.label, group.function.label) == ("smooth", "flow")
    assert {one.question: one.answer for one in group.consequences}["deepen"] == "yes"
    assert group.passage is not None
    assert group.passage.inputs == 8


def test_one_group_and_some_roles_can_be_chosen(net):
    (group,) = diagnose(net, group="blocks", roles=["mlp.up"]).groups
    assert {profile.name for profile in group.profiles} == {"mlp.up"}
    with pytest.raises(InputError, match="stages"):
        diagnose(net, group="stages")


def test_a_batch_without_a_module_is_refused(tmp_path):
    save_file(perceptrons("smooth"), tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"found weights alone; the target FILE\.py:FUNCTION is a module of yours"):
        diagnose(str(tmp_path / "net.safetensors"), torch.zeros(2, 16))


@pytest.mark.parametrize("place", ["model", "absolute"])
def test_a_batch_for_a_folder_is_told_where_its_module_is(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(perceptrons("smooth"), folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    target, said = ("model", "./model") if place == "model" else (str(folder), str(folder))
    with pytest.raises(InputError, match=f"the target transformers:{re.escape(said)} is the folder as a module"):
        diagnose(target, torch.zeros(2, 16))


def test_the_strongest_finding_comes_first_whatever_found_it():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
            self.down.weight.data *= 0.01

        def forward(self, h):
            return h + 0.25 * self.down(torch.tanh(self.up(h)))

    torch.manual_seed(0)
    blocks = [Block() for _ in range(12)]
    blocks[3].down.weight.data *= 3
    blocks[3].down.bias.data *= 3
    (group,) = diagnose(nn.Sequential(*blocks), torch.randn(8, 16)).groups
    strengths = [one.strength for one in group.findings]
    assert len(strengths) > 1
    assert strengths == sorted(strengths, reverse=True)


def test_a_network_of_zeros_has_findings_and_is_the_identity():
    net = Net({name: 0 * value for name, value in perceptrons("smooth").items()})
    (group,) = diagnose(net, torch.randn(8, 16, generator=torch.Generator().manual_seed(0))).groups
    assert (group.weights.label, group.weights.reason) == ("undecided", "every weight of every role is 0")
    assert group.function.label == "identity"
    assert [(one.kind, one.blocks) for one in group.findings] == [("dead", tuple(range(12)))]
    assert {one.question: one.answer for one in group.consequences}["prune"] == "yes"


def test_weights_that_are_not_finite_are_what_both_verdicts_speak_of_first():
    state = perceptrons("smooth")
    state["blocks.5.up.weight"][0, :3] = torch.nan
    net = Net(state)
    (alone,) = diagnose(net).groups
    (group,) = diagnose(net, torch.randn(8, 16, generator=torch.Generator().manual_seed(0))).groups
    broken = "3 values of mlp.up are not finite, in block 5"
    assert (group.weights.label, group.weights.reason, group.weights.evidence) == ("undecided", broken, {})
    assert (group.function.label, group.function.reason) == (
        "unstable",
        f"{broken}; the state that leaves block 5 is not finite",
    )
    assert alone.function.reason.startswith(f"{broken}; the function is seen only")
    labels = {(one.name, one.view): one.order and (one.order.label, one.order.state) for one in group.profiles}
    assert labels["mlp.up", "raw"] == ("undecided", "not finite")
    assert labels["mlp.down", "raw"] == ("smooth", "measurable")


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_nothing_that_is_no_number_is_said(data):
    state = perceptrons(
        data.draw(st.sampled_from(("smooth", "independent", "tied"))), seed=data.draw(st.integers(0, 9))
    )
    stored = data.draw(st.sampled_from((torch.float16, torch.bfloat16, torch.float32, torch.float64)))
    state = {name: value.to(stored) for name, value in state.items()}
    plants = st.sampled_from((math.nan, math.inf, -math.inf, "zero", "role"))
    broken = set()
    for what, block, name in data.draw(
        st.lists(st.tuples(plants, st.integers(0, 11), st.sampled_from(("up", "down"))))
    ):
        for other in range(12) if what == "role" else (block,):
            tensor = state[f"blocks.{other}.{name}.weight"]
            if isinstance(what, str):
                tensor.zero_()
            else:
                tensor[1, 2] = what
    broken = {name.split(".")[2] for name, value in state.items() if not bool(value.isfinite().all())}
    report = diagnose(Memory(state))
    (group,) = report.groups
    said = io.StringIO()
    Console(file=said, width=200).print(text(report))
    assert not re.search(r"\b(nan|inf)\b", said.getvalue(), re.IGNORECASE)
    json.dumps(report.as_json(), allow_nan=False)
    assert {one.where.removeprefix("mlp.") for one in group.findings if one.kind == "not finite"} == broken
    assert ("not finite" in group.weights.reason) == bool(broken)
    for one in group.profiles:
        assert one.order is not None
        touched = {"up", "down"} if one.name == "mlp" else {one.name.removeprefix("mlp.")}
        assert (one.order.state == "not finite") == bool(touched & broken)
        assert one.order.ratio is None or math.isfinite(one.order.ratio)
        assert all(map(math.isfinite, one.numbers.values()))
