"""The model, the two ratios, and intervals over runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplimit.fits import half_width
from deeplimit.networks import ResidualStack
from deeplimit.papers.marion2025.common import (
    BLOCKS,
    both_ratios,
    log_ratio,
    network,
    output_ratio,
    over_blocks,
    over_runs,
    root_mean_square,
)

D, L, E = 6, 9, 3


def drawn(seed: int = 0) -> tuple[ResidualStack, dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    theta = {role: normal(E, L, D, D) / D**0.5 for role in ("V", "W")}
    return network(L, 0.5, width=D), theta, normal(E, 1, D), normal(E, 1, D)


def recursion(theta: dict[str, torch.Tensor], h: torch.Tensor) -> list[torch.Tensor]:
    """h_0 … h_L by the formula."""
    states = [h]
    for k in range(L):
        inner = (states[-1] @ theta["W"][:, k].mT).relu()
        states.append(states[-1] + L**-0.5 * inner @ theta["V"][:, k].mT)
    return states


@pytest.mark.parametrize("target", [0.0, 0.7])
def test_the_ratios_are_those_of_the_definition_whatever_the_target(target: float) -> None:
    stack, theta, h, readout = drawn()
    states = recursion(theta, h.requires_grad_())
    loss = ((states[-1] * readout).sum(-1) - target).square().sum()
    first, last = torch.autograd.grad(loss, (states[0], states[-1]))
    outputs, gradients = both_ratios(stack, theta, h=h, readout=readout)
    torch.testing.assert_close(outputs, ((states[-1] - h).norm(dim=-1) / h.norm(dim=-1)).detach())
    torch.testing.assert_close(gradients, (first - last).norm(dim=-1) / last.norm(dim=-1))
    torch.testing.assert_close(output_ratio(stack, theta, h=h.detach()), outputs)
    assert not torch.allclose(outputs, gradients)


def test_a_ratio_out_of_range_counts_as_the_largest_float() -> None:
    inf, nan = float("inf"), float("nan")
    assert log_ratio(torch.tensor([10.0, 0.01])).tolist() == pytest.approx([1.0, -2.0])
    assert log_ratio(torch.tensor([inf, nan])).tolist() == pytest.approx([38.53, 38.53], abs=0.01)
    assert log_ratio(torch.tensor([inf], dtype=torch.float64)).item() == pytest.approx(308.25, abs=0.01)
    assert log_ratio(torch.zeros(1)).isfinite().all()


def test_the_interval_over_runs_is_students() -> None:
    measured = over_runs([1.0, 2.0, 3.0], "mean")
    assert (measured.value, measured.sample) == (2.0, 3)
    assert measured.high - measured.value == pytest.approx(4.302653 / 3**0.5)
    assert half_width(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.302653 / 3**0.5)
    with pytest.raises(LookupError, match="at least 2 runs, found 1"):
        over_runs([1.0], "mean")


def test_intervals_over_blocks_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        measured = over_blocks(generator.standard_normal(1000), root_mean_square, note="rms")
        held += measured.low <= 1.0 <= measured.high
    assert 180 <= held <= 199


def test_too_few_runs_give_no_interval() -> None:
    assert over_blocks(range(2 * BLOCKS), root_mean_square, note="rms").sample == 2 * BLOCKS
    with pytest.raises(LookupError, match=f"at least {2 * BLOCKS} runs, found 39"):
        over_blocks(range(39), root_mean_square, note="rms")
