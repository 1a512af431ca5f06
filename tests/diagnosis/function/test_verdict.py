"""The verdict on networks whose regime is known, and on those it must abstain from."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import torch
from torch import nn

from deeplimit.checks import InputError
from deeplimit.claims import Measured
from deeplimit.diagnosis.function.passage import pass_through
from deeplimit.diagnosis.function.verdict import judge_passage
from tests.diagnosis.function.nets import KINDS, inputs, paths, stack


def judged(network, depth, x):
    return judge_passage(pass_through(network, paths(depth), x, removals=False), depth)


@pytest.mark.parametrize("depth", [8, 24])
@pytest.mark.parametrize("kind", KINDS)
def test_known_regimes(kind, depth):
    verdicts = [judged(stack(kind, depth, seed=seed), depth, inputs(seed=seed)) for seed in range(3)]
    labels = [verdict.label for verdict in verdicts]
    assert set(labels) <= {KINDS[kind], "undecided"}
    assert KINDS[kind] in labels
    assert all(verdict.reason and verdict.change for verdict in verdicts)


def passage():
    return pass_through(stack("diffusion", 8), paths(8), inputs(), removals=False)


def with_number(name, interval, *, note):
    """A diffusion of which one number is another one."""
    found = passage()
    return dataclasses.replace(
        found, numbers={**found.numbers, name: Measured(interval[0], interval[1], interval[2], 5, note)}
    )


@pytest.mark.parametrize(
    ("name", "number", "label", "reason"),
    [
        ("drift_share", (0.6, 0.4, 0.8), "undecided", r"0.6 \[0.4, 0.8\]: above 0.5 it is a flow"),
        ("drift_share", (0.9, 0.8, 1.0), "flow", "each block goes on where the one before was heading"),
        ("drift_share", (-0.4, -0.5, -0.3), "undecided", "blocks undo one another"),
        ("drift_share", (-0.1, -0.5, 0.3), "undecided", "does not tell independent blocks from blocks that undo"),
        ("variation", (0.6, 0.3, 0.9), "undecided", "below 0.5 blocks average, above they diffuse"),
        ("variation", (0.2, 0.1, 0.3), "averaging", "like one draw to an average"),
        ("local_drift", (2.0, 1.5, 2.5), "undecided", "the path may turn back"),
        ("path_length", (0.1, 0.05, 0.15), "undecided", "below 0.1 it would be the identity"),
        ("path_length", (0.01, 0.01, 0.02), "identity", "hands on what it takes"),
        ("residual_share", (0.1, 0.0, 0.2), "undecided", "there is no residual stream"),
        ("gap", (0.5, 0.4, 0.6), "undecided", "moves between the blocks too"),
        ("largest_share", (0.7, 0.6, 0.8), "undecided", "block 3 makes 70% of all movement"),
        ("normalised", (1.0, 1.0, 1.0), "diffusion", "Blocks end in a norm"),
    ],
)
def test_every_rule_by_itself(name, number, label, reason):
    verdict = judge_passage(with_number(name, number, note="block 3; inputs the wider"), 8)
    assert verdict.label == label
    assert re.search(reason, verdict.reason)
    assert (name in verdict.evidence) or name == "normalised"


def test_an_interval_says_what_would_narrow_it():
    numbers = (0.6, 0.4, 0.8)
    assert "more inputs" in judge_passage(with_number("drift_share", numbers, note="inputs the wider"), 8).change
    assert "deeper" in judge_passage(with_number("drift_share", numbers, note="blocks the wider"), 8).change


def test_few_blocks_are_not_judged():
    verdict = judged(stack("tied", 5), 5, inputs())
    assert verdict.label == "undecided"
    assert "5 blocks are too few" in verdict.reason
    assert judged(stack("tied", 6), 6, inputs()).label == "flow"


def test_a_state_that_is_not_finite_is_unstable():
    network = stack("tied", 8)
    nn.init.constant_(network.get_parameter("4.V"), math.inf)
    verdict = judged(network, 8, inputs())
    assert (verdict.label, verdict.reason) == ("unstable", "the state that leaves block 4 is not finite")
    assert "enters block 0" in judged(network, 8, inputs() * math.nan).reason


def test_a_chain_of_layers_is_no_residual_stream():
    torch.manual_seed(0)
    network = nn.Sequential(*[nn.Sequential(nn.Linear(32, 32), nn.ReLU()) for _ in range(8)])
    for k in range(8):
        nn.init.normal_(network.get_parameter(f"{k}.0.weight"), std=math.sqrt(2 / 32))
    verdict = judged(network, 8, inputs())
    assert verdict.label == "undecided"
    assert "no residual stream" in verdict.reason


def test_blocks_that_do_nothing_at_all():
    assert judged(nn.Sequential(*[nn.Identity() for _ in range(6)]), 6, inputs()).label == "identity"


def test_one_block_that_moves_more_than_all_others():
    network = stack("diffusion", 8)
    with torch.no_grad():
        network.get_parameter("2.V").mul_(6)
    verdict = judged(network, 8, inputs())
    assert verdict.label == "undecided"
    assert verdict.reason.startswith("block 2 makes")


def test_another_depth_is_refused():
    with pytest.raises(InputError, match="depth: expected 8 as in the passage, found 9"):
        judge_passage(passage(), 9)
