"""What may be done with a network of a given verdict."""

from __future__ import annotations

import math

import pytest

from deeplimit.claims import Measured
from deeplimit.diagnosis import Finding, Passage, Verdict
from deeplimit.diagnosis.consequences import consequences


def verdict(label):
    return Verdict(label, f"because {label}", "nothing")


def answers(weights, function="undecided", *, passage=None, findings=()):
    found = consequences(verdict(weights), verdict(function), passage=passage, findings=findings)
    return {one.question: one.answer for one in found}


def passage(defect=None, removal=()):
    numbers = {} if defect is None else {"halving_defect": Measured(sum(defect) / 2, *defect)}
    return Passage(4, {"removal": tuple(removal)}, numbers)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("tied", ("yes", "yes")),
        ("smooth", ("cannot tell", "yes")),
        ("rough", ("no", "no")),
        ("no order", ("no", "no")),
        ("mixed", ("no", "no")),
        ("undecided", ("cannot tell", "cannot tell")),
    ],
)
def test_weights_decide_on_tying_and_interpolating(weights, expected):
    found = answers(weights)
    assert (found["tie"], found["interpolate"]) == expected
    assert (found["skip"], found["prune"]) == ("cannot tell", "cannot tell")


@pytest.mark.parametrize(
    ("weights", "function", "expected"),
    [
        ("smooth", "flow", "yes"),
        ("smooth", "undecided", "cannot tell"),
        ("smooth", "diffusion", "no"),
        ("rough", "flow", "no"),
        ("undecided", "flow", "cannot tell"),
    ],
)
def test_a_deeper_copy_needs_smooth_weights_and_a_flow(weights, function, expected):
    assert answers(weights, function)["deepen"] == expected


@pytest.mark.parametrize(
    ("defect", "expected"), [((0.01, 0.05), "yes"), ((0.05, 0.2), "cannot tell"), ((0.5, 0.9), "no")]
)
def test_blocks_may_be_skipped_where_the_halved_network_agrees(defect, expected):
    assert answers("rough", passage=passage(defect))["skip"] == expected


def test_idle_and_dead_blocks_are_named():
    idle = consequences(
        verdict("rough"), verdict("flow"), passage=passage(removal=(1, 1, 0.1, 0.9, 1.2, 1.1)), findings=()
    )
    assert (idle[-1].answer, "block 2" in idle[-1].reason) == ("yes", True)
    assert answers("rough", passage=passage(removal=(1, 1, 0.8)))["prune"] == "no"
    dead = Finding("dead", (3,), "mlp", "adds nothing", 2.0)
    found = consequences(verdict("rough"), verdict("undecided"), passage=None, findings=[dead])[-1]
    assert (found.answer, found.reason) == ("yes", "dead: mlp of block 3")  # its attention may be alive


def test_what_a_batch_did_not_show_is_not_asked_for_again():
    broken = consequences(verdict("rough"), verdict("unstable"), passage=Passage(4, {}, {}), findings=())
    assert [one.reason for one in broken[-2:]] == ["the batch did not pass through in finite numbers"] * 2
    still = consequences(verdict("rough"), verdict("identity"), passage=passage((math.nan, math.nan)), findings=())
    assert (still[-2].answer, "nan" in still[-2].reason) == ("cannot tell", False)
