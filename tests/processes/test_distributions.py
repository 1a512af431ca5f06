from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest, norm, uniform

from deeplimit.checks import InputError
from deeplimit.processes import Normal, Uniform


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("distribution", "law"),
    [
        (Normal(), norm(0, 1)),
        (Normal(0.3), norm(0, 0.3)),
        (Normal(2.0, transposed=True), norm(0, 2)),
        (Uniform(), uniform(-1, 2)),
        (Uniform(0.25), uniform(-0.25, 0.5)),
    ],
)
def test_the_entries_have_the_law(distribution, law):
    drawn = distribution.draw((50, 400), generator()).double().flatten().numpy()
    assert kstest(drawn, law.cdf).pvalue > 0.01
    assert kstest(drawn, norm(0.1, 1).cdf).pvalue < 1e-6


def test_a_transposed_draw_is_the_transpose_of_the_numbers_of_the_other_shape():
    drawn = Normal(transposed=True).draw((2, 3, 4), generator())
    assert drawn.shape == (2, 3, 4)
    assert torch.equal(drawn.mT, torch.randn(2, 4, 3, generator=generator()))
    assert not torch.equal(drawn, Normal().draw((2, 3, 4), generator()))


@pytest.mark.parametrize("distribution", [Normal(), Normal(transposed=True), Uniform()])
def test_a_draw_depends_on_its_generator_alone(distribution):
    before = torch.get_rng_state()
    first = distribution.draw((3, 2), generator(1))
    torch.manual_seed(17)
    assert torch.equal(distribution.draw((3, 2), generator(1)), first)
    assert not torch.equal(distribution.draw((3, 2), generator(2)), first)
    torch.set_rng_state(before)
    distribution.draw((3, 2), generator(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_are_drawn_in_float32():
    assert {d.draw((2, 2), generator()).dtype for d in (Normal(), Uniform())} == {torch.float32}


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_scales_that_are_not_positive_are_refused(scale):
    with pytest.raises(InputError, match="std: expected a finite number above 0, found"):
        Normal(scale)
    with pytest.raises(InputError, match="bound: expected a finite number above 0, found"):
        Uniform(scale)
