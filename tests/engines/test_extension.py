from __future__ import annotations

import pytest
import torch

from deeplimit.engines import ENGINES
from deeplimit.engines.extension import (
    MISSING,
    PRECISIONS,
    blocks_in_use,
    empty,
    fresh,
    kernel,
    release_blocks,
    reset_peak,
)

native = pytest.mark.skipif(bool(MISSING), reason=MISSING)

LARGE, SMALL = (600, 500), (6, 5)


@pytest.mark.parametrize("shape", [LARGE, SMALL, (0, 3), ()], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64], ids=str)
def test_a_fresh_tensor_is_like_the_old_one_and_apart_from_it(shape, dtype):
    old = torch.ones(shape, dtype=dtype)
    new = fresh(old)
    assert (new.shape, new.dtype, new.device) == (old.shape, old.dtype, old.device)
    assert new.is_contiguous()
    new.fill_(2)
    assert (old == 1).all()
    assert (new == 2).all()


def test_an_empty_tensor_has_the_shape_that_is_asked_for():
    assert empty((7, 3), torch.ones(2, dtype=torch.float64)).shape == (7, 3)
    assert empty(LARGE, torch.ones(2, dtype=torch.float64)).dtype == torch.float64


@native
def test_large_tensors_are_blocks_that_are_used_again():
    release_blocks()
    before, _ = blocks_in_use()
    one, two = fresh(torch.ones(LARGE)), fresh(torch.ones(LARGE))
    place = one.data_ptr()
    assert place != two.data_ptr()
    assert blocks_in_use()[0] >= before + 2 * one.nbytes
    view = one[1:3]
    del one
    assert fresh(torch.ones(LARGE)).data_ptr() != place, "a view still holds the block"
    del view
    assert fresh(torch.ones(LARGE)).data_ptr() == place


@native
@pytest.mark.parametrize("release", [release_blocks, ENGINES["native"].release], ids=["by itself", "by the engine"])
def test_blocks_are_freed_once_no_tensor_holds_them(release):
    from deeplimit.engines import _native

    held, dropped = fresh(torch.ones(LARGE)).fill_(3), fresh(torch.ones(LARGE))
    del dropped
    assert _native.memory()[2] >= held.nbytes
    release()
    assert _native.memory()[2] == 0
    assert blocks_in_use()[0] >= held.nbytes
    assert (held == 3).all()


@native
def test_the_peak_is_counted_from_where_it_is_set_back():
    first = fresh(torch.ones(LARGE))
    del first
    reset_peak()
    in_use, peak = blocks_in_use()
    assert in_use == peak
    second = fresh(torch.ones(LARGE))
    assert blocks_in_use()[1] >= peak + second.nbytes


@native
def test_a_kernel_is_that_of_the_precision():
    from deeplimit.engines import _native

    assert [kernel("forward", torch.ones(2, dtype=dtype)) for dtype in PRECISIONS] == [
        _native.forward32,
        _native.forward64,
    ]


def test_without_the_extension_memory_is_that_of_pytorch(monkeypatch):
    monkeypatch.setattr("deeplimit.engines.extension.MISSING", "the extension was not built (no compiler)")
    monkeypatch.delattr("deeplimit.engines.extension._native", raising=False)
    large = fresh(torch.ones(LARGE))
    assert large.shape == LARGE
    reset_peak()
    release_blocks()
    assert blocks_in_use() == (0, 0)
