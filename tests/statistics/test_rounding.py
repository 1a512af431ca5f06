"""In which format numbers were stored, and numbers whose squares are none."""

from __future__ import annotations

import math

import pytest
import torch

from deeplimit.statistics.rounding import FORMATS, Precision, doubles, exponent, in_range, norm, shifted


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_a_format_is_seen_in_another(name, scale):
    stored = (scale * normal(40, 30)).to(getattr(torch, name))
    for numbers in (stored, stored.float(), stored.double(), stored.double().T):
        seen = Precision()
        seen.add(numbers)
        assert seen.name == name
        assert seen.epsilon == torch.finfo(stored.dtype).eps


def test_the_finest_of_all_tensors_counts():
    seen = Precision()
    seen.add(normal(100).bfloat16().float())
    assert seen.name == "bfloat16"
    seen.add(normal(100).half().float())
    assert seen.name == "float16"
    seen.add(1e6 * normal(100).bfloat16().float())
    assert seen.name == "float32"  # float16 ends before
    seen.add(normal(100))
    assert (seen.name, seen.epsilon) == ("float32", 2.0**-23)


def test_a_few_round_numbers_say_nothing():
    seen = Precision()
    seen.add(torch.tensor([1.0, 1.25, 1.0, 2.0]).repeat(50))
    assert seen.name == "float32"
    seen.add(torch.arange(16) / 8)
    assert seen.name == "float8_e4m3fn"


def test_the_unit_does_not_fall_below_the_spacing_next_to_0():
    tiny = Precision()
    tiny.add((1e-6 * normal(400)).half())
    assert tiny.unit(1e-12) == pytest.approx(2.0**-48, rel=0.01)
    wide = Precision()
    wide.add(1e-60 * normal(400))
    assert wide.unit(1e-120) == 2.0**-46 * 1e-120


@pytest.mark.parametrize("power", [-1000, -300, 300, 1000])
def test_huge_and_tiny_numbers_are_brought_into_range(power):
    numbers = shifted(normal(50), power)
    found = in_range(numbers)
    assert torch.equal(found, shifted(numbers, exponent(numbers)))
    assert bool(found.pow(4).isfinite().all())
    assert float((found / found[0] - normal(50) / normal(50)[0]).abs().max()) < 1e-12
    assert norm(numbers) == pytest.approx(float(shifted(normal(50).norm(), power)))


def test_plain_numbers_stay_as_they_are():
    assert exponent(normal(9)) == exponent(torch.zeros(3)) == exponent(torch.zeros(0)) == 0
    assert torch.equal(in_range(normal(9)), normal(9))
    assert norm(torch.tensor([3.0, 4.0])) == 5.0
    assert norm(torch.full((4,), 1e308, dtype=torch.float64)) == math.inf


def test_complex_numbers_are_pairs():
    pairs = doubles(torch.tensor([1 + 2j, 3j]))
    assert (pairs.dtype, pairs.tolist()) == (torch.float64, [[1.0, 2.0], [0.0, 3.0]])
