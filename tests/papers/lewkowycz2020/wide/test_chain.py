from __future__ import annotations

import math

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.draws import NamedDraw
from deeplimit.limits import tangent_kernel
from deeplimit.papers.lewkowycz2020.wide.chain import Chain, collapse_decay

STREAMS = [NamedDraw().stream(seed) for seed in (1, 2)]
X = torch.stack([torch.randn(5, 3, generator=s.generator("x"), dtype=torch.float64) for s in STREAMS])
Y = torch.stack([torch.randn(5, generator=s.generator("y"), dtype=torch.float64) for s in STREAMS])
chains = pytest.mark.parametrize("chain", [Chain(1, 1, 3), Chain(2, 8, 3), Chain(3, 8, 3), Chain(3, 8, 3, linear=True)])


def by_hand(chain: Chain, weights, x: torch.Tensor) -> torch.Tensor:
    """The formula of one network, layer by layer."""
    h = x
    for i, W in enumerate(weights):
        z = h @ W.T / math.sqrt(W.shape[1])
        h = z if chain.linear or i == len(weights) - 1 else math.sqrt(2) * torch.relu(z)
    return h[:, 0]


@chains
def test_values_and_kernel_are_those_of_automatic_differentiation(chain):
    weights = chain.draw(STREAMS)
    values, kernel = chain.signals(weights, X).values, chain.kernel(weights, X)
    for e in range(2):
        own = {str(i): W[e] for i, W in enumerate(weights)}
        torch.testing.assert_close(values[e], by_hand(chain, list(own.values()), X[e]))
        exact = tangent_kernel(lambda p, x: by_hand(chain, list(p.values()), x), own, x=X[e])
        torch.testing.assert_close(kernel[e], exact)


@chains
def test_a_step_is_gradient_descent_of_each_member_with_its_own_rates(chain):
    weights, rate, decay = chain.draw(STREAMS), torch.tensor([0.1, 0.2]).double(), torch.tensor([0.3, 0.5]).double()
    leaves = [W.clone().requires_grad_() for W in weights]
    loss = torch.zeros((), dtype=torch.float64)
    for e in range(2):
        f = by_hand(chain, [W[e] for W in leaves], X[e])
        loss = loss + (f - Y[e]).square().sum() / 2 + decay[e] / 2 * sum(W[e].square().sum() for W in leaves)
    gradients = torch.autograd.grad(loss, leaves)
    expected = [W.detach() - rate[:, None, None] * G for W, G in zip(leaves, gradients, strict=True)]
    before = chain.signals(weights, X).values
    torch.testing.assert_close(chain.step(weights, X, y=Y, learning_rate=rate, weight_decay=decay), before)
    for found, exact in zip(weights, expected, strict=True):
        torch.testing.assert_close(found, exact)


def test_the_kernel_has_a_limit_at_large_width():
    """Two layers at a point with itself: ‖x‖²/d from either layer."""
    chain = Chain(2, 20000, 3)
    diagonal = chain.kernel(chain.draw(STREAMS), X).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(diagonal, 2 * X.square().sum(-1) / 3, rtol=0.1, atol=0)


def test_the_threshold_is_a_maximum_over_directions():
    """One point: |y| ‖x‖ at w along x. And more than any of many directions tried, by little."""
    one = collapse_decay(X[:, :1], Y[:, :1], width=7)
    torch.testing.assert_close(one, Y[:, 0].abs() * X[:, 0].norm(dim=1) * math.sqrt(2 / 21))
    w = torch.randn(20000, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    w = torch.nn.functional.normalize(w, dim=1)
    tried = (Y[:, None] * (w @ X.mT).relu()).sum(-1).abs().amax(-1) * math.sqrt(2 / 21)
    found = collapse_decay(X, Y, width=7)
    assert (found >= tried * (1 - 1e-12)).all()
    torch.testing.assert_close(found, tried, rtol=1e-2, atol=0)
    torch.testing.assert_close(collapse_decay(X, -2 * Y, width=28), found)


def test_sizes_are_counts():
    with pytest.raises(InputError, match="width: expected an integer of at least 1, found 0"):
        Chain(2, 0, 3)
