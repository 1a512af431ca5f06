from __future__ import annotations

import torch

from deeplimit.engines.workspace import Workspace

LIKE = torch.zeros(2, dtype=torch.float64)


def test_what_is_given_back_is_taken_again():
    workspace = Workspace()
    first = workspace.take((3, 4), LIKE)
    assert (first.shape, first.dtype, first.device) == ((3, 4), LIKE.dtype, LIKE.device)
    workspace.give(first)
    assert workspace.take((3, 4), LIKE) is first


def test_what_is_in_use_is_never_handed_out():
    workspace = Workspace()
    taken = [workspace.take((3, 4), LIKE) for _ in range(3)]
    assert len({t.data_ptr() for t in taken}) == 3
    workspace.give(taken[0])
    again = [workspace.take((3, 4), LIKE) for _ in range(2)]
    assert sum(t is taken[0] for t in again) == 1


def test_shape_and_precision_must_fit():
    workspace = Workspace()
    kept = workspace.take((3, 4), LIKE)
    workspace.give(kept)
    assert workspace.take((4, 3), LIKE).shape == (4, 3)
    assert workspace.take((3, 4), LIKE.float()).dtype == torch.float32
    assert workspace.take((3, 4), LIKE) is kept


def test_clear_forgets_everything():
    workspace = Workspace()
    kept = workspace.take((3, 4), LIKE)
    workspace.give(kept)
    workspace.clear()
    assert workspace.take((3, 4), LIKE) is not kept
