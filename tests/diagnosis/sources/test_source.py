"""What every source has, unless it says otherwise."""

from __future__ import annotations

import torch

from tests.diagnosis.sources import Memory


def test_a_bare_file_has_neither_classes_nor_a_module():
    source = Memory({"h.0.w": torch.ones(2, 3)})
    assert dict(source.shapes) == {"h.0.w": (2, 3)}
    assert source.module is None
    assert not source.classes
    assert not source.config
