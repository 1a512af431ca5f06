"""The conditional laws against identities that hold in every run, exact moments, and networks with matrices drawn in full."""

from __future__ import annotations

import math

import polars as pl
import pytest
import torch

from deeplimit import theory
from deeplimit.papers.marion2025.common import both_ratios, network
from deeplimit.papers.marion2025.conditional import ConditionalRuns, backward, forward
from deeplimit.records import Context, frame, run_id

D, L = 20, 50


def values(rows: pl.DataFrame, quantity: str) -> torch.Tensor:
    return torch.tensor(rows.filter(quantity=quantity).sort("index")["value"].to_list())


@pytest.fixture(scope="module")
def runs() -> pl.DataFrame:
    return frame(ConditionalRuns(L, D, 8000, seed=3, gradients=True).run(Context()))


@pytest.fixture(scope="module")
def direct() -> tuple[torch.Tensor, torch.Tensor]:
    """Both ratios of 4000 networks of full matrices."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(8):
        theta = {role: torch.randn(500, L, D, D, generator=generator) / D**0.5 for role in ("V", "W")}
        h, readout = torch.randn(2, 500, 1, D, generator=generator)
        found.append(both_ratios(network(L, 0.5, width=D), theta, h=h, readout=readout))
    outputs, gradients = (torch.cat(part).flatten() for part in zip(*found, strict=True))
    return outputs, gradients


def test_states_and_gradients_have_the_same_product_at_every_layer() -> None:
    generator = torch.Generator().manual_seed(0)
    h, p = torch.randn(2, 7, D, generator=generator, dtype=torch.float64)
    last, layers = forward(h, depth=L, scale=0.3, generator=generator)
    first = backward(p, layers, scale=0.3, generator=generator)
    torch.testing.assert_close((first * h).sum(1), (p * last).sum(1))
    assert not torch.allclose(first, p)


def test_what_is_conditioned_on_is_respected() -> None:
    """One layer by the definition: Vᵀ p′ has the product with g that V g = u demands."""
    generator = torch.Generator().manual_seed(1)
    h, p = torch.randn(2, 5000, D, generator=generator, dtype=torch.float64)
    _, [(_, z, u)] = forward(h, depth=1, scale=1.0, generator=generator)
    across = backward(p, [(h, z, u)], scale=1.0, generator=generator) - p
    along = (u * p).sum(1)
    torch.testing.assert_close((across * h).sum(1), along)
    # The rest of Wᵀ s is of covariance ‖s‖²/d across h, where ‖s‖² is ‖p‖²/2 in the mean.
    rest = across - h * (along / h.square().sum(1)).unsqueeze(1)
    assert rest.square().sum(1).div(p.square().sum(1)).mean().item() == pytest.approx(0.5 * (D - 1) / D, rel=0.03)


def test_a_layer_that_is_off_passes_states_and_gradients_on() -> None:
    h, p, off = torch.ones(1, D), torch.ones(1, D), torch.zeros(1, D)
    layers = [(h, off - 1, off)]
    assert torch.equal(backward(p, layers, scale=1.0, generator=torch.Generator()), p)


def test_mean_squares_are_the_exact_ones(runs: pl.DataFrame) -> None:
    growth, output, gradient = (values(runs, quantity) for quantity in ("growth", "output", "gradient"))
    # Four standard errors.
    assert growth.square().mean().item() == pytest.approx(theory.relu_growth(L, beta=0.5), abs=4 * 0.007)
    assert growth.pow(4).mean().item() == pytest.approx(theory.relu_fourth_growth(L, width=D, beta=0.5), abs=4 * 0.03)
    for ratio in (output, gradient):
        assert ratio.square().mean().sqrt().item() == pytest.approx(theory.relu_ratio(L, beta=0.5), abs=4 * 0.002)


def test_the_law_is_that_of_networks_with_full_matrices(
    runs: pl.DataFrame, direct: tuple[torch.Tensor, torch.Tensor]
) -> None:
    ours = [values(runs, quantity) for quantity in ("output", "gradient")]
    for sampled, drawn in zip(ours, direct, strict=True):
        error = math.sqrt(float(sampled.var()) / len(sampled) + float(drawn.var()) / len(drawn))
        assert sampled.mean().item() == pytest.approx(drawn.mean().item(), abs=4 * error)
        assert sampled.std().item() == pytest.approx(drawn.std().item(), rel=0.06)
    together, apart = torch.corrcoef(torch.stack(ours))[0, 1], torch.corrcoef(torch.stack(direct))[0, 1]
    assert together.item() == pytest.approx(apart.item(), abs=4 * (1 / 8000 + 1 / 4000) ** 0.5)
    assert together > 0.03  # a sampler that forgets the way forward would have none


def test_runs_are_named_by_their_place_and_parts_are_their_own() -> None:
    first, second = (ConditionalRuns(4, D, 5, seed=0, first=start, labels={"part": start}) for start in (0, 5))
    rows = [frame(task.run(Context())) for task in (first, second)]
    assert rows[1]["index"].unique().sort().to_list() == [5, 6, 7, 8, 9]
    assert set(rows[0]["quantity"]) == {"growth", "output"}
    assert rows[0]["value"].to_list() != rows[1]["value"].to_list()
    assert frame(first.run(Context())).equals(rows[0])
    assert run_id(first) != run_id(second)
    assert first.probe(Context()) > 0
