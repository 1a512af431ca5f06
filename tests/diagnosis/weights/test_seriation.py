"""What blocks share, and the order that can be read from it."""

from __future__ import annotations

import pytest
import torch

from deeplimit.diagnosis.weights import seriation
from tests.diagnosis.drawn import noise


def drifting(depth=12, *, share=0.3, seed=0):
    """Cosines of maps [d, d] that share a slowly turning part."""
    start, end, *own = noise(depth + 2, 40, 40, seed=seed)
    rows = []
    for block in range(depth):
        s = torch.tensor(block / depth, dtype=torch.float64)
        rows.append(((1 - s) * start + s * end) * share + own[block])
    path = torch.stack(rows).flatten(1)
    path = path / path.norm(dim=1, keepdim=True)
    return path @ path.T


def test_exchanged_blocks_are_found():
    tables = [drifting(share=0.5, seed=seed) for seed in range(4)]
    best = seriation.order_of(tables, [1600] * 4)
    assert best is not None
    assert best.moved == ()
    order = list(range(12))
    order[2], order[9] = 9, 2
    best = seriation.order_of([table[order][:, order] for table in tables], [1600] * 4)
    assert best is not None
    assert best.moved == (2, 9)
    assert best.likelihood > 10
    assert best.order[2] == 9


def test_blocks_without_an_order_explain_little():
    table = drifting(share=0.0)
    best = seriation.order_of([table + 0.1], [1600])
    assert best is None or best.explained * 12 < 3.2


def test_gains_of_exchanges_are_those_of_trying_each():
    table = drifting(6)
    table = table - torch.diag(table.diagonal())
    places = torch.arange(6)
    nearness = -(places[:, None] - places).abs().double()
    gains, before = seriation._gains(table, nearness), (table * nearness).sum()
    for i in range(6):
        for j in range(i):
            order = list(range(6))
            order[i], order[j] = j, i
            after = (table[order][:, order] * nearness).sum()
            assert float(gains[i, j]) == pytest.approx(float(after - before))


def test_a_block_from_elsewhere_shares_nothing():
    table = drifting(share=1.0)
    table[5], table[:, 5] = 0, 0
    table[5, 5] = 1
    shares = seriation.shared([table], [1600])
    assert shares is not None
    assert shares.mean[5] == pytest.approx(0)
    assert min(share for block, share in enumerate(shares.mean) if block != 5) > 0.3
    assert seriation.shared([table], [4]) is None
    assert seriation.shared([torch.eye(8, dtype=torch.float64)], [1600]) is None


def test_maps_that_share_no_more_than_random_ones_tell_no_order():
    table = drifting(share=0.5)
    assert seriation.order_of([table], [4]) is None
    assert seriation.chance(4096) < 0.04
