"""Hidden units that were permuted find their partners again."""

from __future__ import annotations

import pytest
import torch

from deeplimit.diagnosis.weights.alignment import Aligner


def blocks(count, *, permuted, noise=0.05):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(2, 24, 6, generator=generator)
    for _ in range(count):
        incoming, outgoing = base + noise * torch.randn(2, 24, 6, generator=generator)
        order = torch.randperm(24, generator=generator) if permuted else torch.arange(24)
        yield incoming[order], outgoing[order]


def test_permuted_blocks_are_matched_as_if_they_had_not_been():
    aligner, plain = Aligner(), Aligner()
    steps = [aligner.add(*block) for block in blocks(5, permuted=True)]
    assert steps[0][1] is None
    assert min(cosine for _, cosine in steps[1:] if cosine is not None) > 0.95
    path = torch.stack([entries for entries, _ in steps])
    unpermuted = torch.stack([plain.add(*block)[0] for block in blocks(5, permuted=False)])
    assert path.diff(dim=0).norm() < 0.2 * path.norm()
    assert path.norm() == pytest.approx(float(unpermuted.norm()), rel=0.05)


def test_unrelated_units_are_matched_badly():
    generator = torch.Generator().manual_seed(1)
    aligner = Aligner()
    aligner.add(*torch.randn(2, 24, 6, generator=generator))
    _, cosine = aligner.add(*torch.randn(2, 24, 6, generator=generator))
    assert cosine is not None
    assert cosine < 0.8


def test_a_block_of_zeros_has_no_direction():
    aligner = Aligner()
    aligner.add(torch.zeros(4, 3), torch.zeros(4, 3))
    assert aligner.add(torch.ones(4, 3), torch.ones(4, 3))[1] == 0
