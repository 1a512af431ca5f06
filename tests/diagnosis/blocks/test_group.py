"""Reading one role of one block."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.diagnosis import Group, Role
from tests.diagnosis.sources import Memory

STORED = torch.arange(24.0, dtype=torch.bfloat16).reshape(2, 12)
GROUP = Group(
    "h",
    ("h.0",),
    (
        Role("whole", "mlp", "reads", "w", (2, 12)),
        Role("part", "attention", "reads", "w", (4, 2), transposed=True, rows=((0, 2), (6, 8))),
    ),
)


def test_a_tensor_is_read_in_single_precision():
    read = GROUP.read(Memory({"h.0.w": STORED}), 0, GROUP.role("whole"))
    assert read.dtype == torch.float32
    assert torch.equal(read, STORED.float())


def test_a_fused_tensor_is_turned_and_cut():
    read = GROUP.read(Memory({"h.0.w": STORED}), 0, GROUP.role("part"))
    assert read.tolist() == [[0, 12], [1, 13], [6, 18], [7, 19]]
    assert GROUP.depth == 1


def test_a_role_that_is_not_there_is_named():
    with pytest.raises(InputError, match="role of h: expected one of part"):
        GROUP.role("patt")


@pytest.mark.parametrize(
    ("suffix", "name"), [("a.w", "h.0.a.w"), ("/a/w", "h.0/a/w"), ("_w", "h.0_w"), ("", "h.0"), ("._w", "h.0._w")]
)
def test_a_suffix_with_a_separator_follows_as_it_stands(suffix, name):
    role = Role("w", "mlp", "reads", suffix, (2, 12))
    group = Group("h", ("h.0",), (role,))
    assert group.tensor(0, role) == name
    assert torch.equal(group.read(Memory({name: STORED}), 0, role), STORED.float())
