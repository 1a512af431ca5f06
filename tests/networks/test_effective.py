"""The weights that a function identifies."""

from __future__ import annotations

import torch

from deeplimit.branches import OneMatrix, ReLU, Tanh
from deeplimit.networks import ResidualStack, effective, ensemble
from deeplimit.processes import IID


def test_a_delta_per_layer_multiplies_the_weights_of_relu():
    relu, tanh = (ResidualStack(OneMatrix(2, sigma, delta="layer"), 3, init=IID()) for sigma in (ReLU(), Tanh()))
    params = ensemble([relu.initialise(0)])
    found = effective(relu, params)
    assert set(found) == {"A", "b"}
    assert torch.allclose(found["A"], params["delta"].abs()[..., None, None] * params["A"])
    assert torch.allclose(found["b"], params["delta"].abs()[..., None] * params["b"])
    assert set(effective(tanh, params)) == {"A", "b", "delta"}


def test_the_function_is_that_of_the_effective_weights():
    one = ResidualStack(OneMatrix(3, ReLU(), delta="layer"), 4, init=IID())
    params = one.initialise(1, dtype=torch.float64)
    found = {role: w[0] for role, w in effective(one, ensemble([params])).items()}
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert (params["delta"] < 0).any()
    assert torch.allclose(one(found | {"delta": params["delta"].sign()}, x), one(params, x))
    assert not torch.allclose(one(found | {"delta": params["delta"]}, x), one(params, x))


def test_other_roles_are_left_as_they_are():
    shared = ResidualStack(OneMatrix(2, ReLU(), delta="shared"), 3, init=IID())
    params = ensemble([shared.initialise(0)])
    assert {role: w is params[role] for role, w in effective(shared, params).items()} == {"A": True, "b": True}
