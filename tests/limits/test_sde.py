from __future__ import annotations

import math

import pytest
import torch

from deeplimit.branches import GELU, Activation, Identity, OneMatrix, ReLU, Tanh
from deeplimit.checks import InputError
from deeplimit.fits import power_law
from deeplimit.limits import quadratic_variation, sde_maps, solve_sde, trajectory, trends
from deeplimit.networks import LastCoordinates, Padding, ResidualStack
from deeplimit.processes import Constant, GaussianProcess, TrendAndNoise, TrendAndNoisePath, Zero
from deeplimit.scaling import DepthScaling

FINEST = 2048


def case(
    activation: Activation, d: int, members: int = 1, *, A: TrendAndNoise, b: TrendAndNoise | None = None
) -> tuple[ResidualStack, dict[str, TrendAndNoisePath]]:
    """A network whose members have paths of their own."""
    network = ResidualStack(OneMatrix(d, activation, bias=b is not None), 1, DepthScaling(0.0))
    generator = torch.Generator().manual_seed(0)
    weights = {"A": A.sample((members, d, d), generator)}
    return network, weights | ({"b": b.sample((members, d), generator)} if b else {})


def noise(std: float, trend: float = 0.0, finest: int = FINEST, **more: float) -> TrendAndNoise:
    return TrendAndNoise(Constant(trend), 1.0, std, finest=finest, **more)


def ones(members: int, d: int) -> torch.Tensor:
    return torch.ones(members, 1, d, dtype=torch.float64)


def test_geometric_brownian_motion_has_its_exact_paths_at_order_one_half():
    """dH = (a ds + s dW) H on the line: H(1) = exp(a − s²/2 + s W(1)), and not exp(a + s W(1))."""
    network, weights = case(Identity(), 1, 500, A=noise(0.8, trend=0.5))
    W = weights["A"].increments(torch.tensor([0.0, 1.0]).double())[0, :, 0, 0]
    exact, stratonovich = (0.5 - 0.32 + W).exp(), (0.5 + W).exp()
    sizes = (32, 128, 512, 2048)
    found = [solve_sde(network, weights, x=ones(500, 1), steps=N).outputs[:, 0, 0] for N in sizes]
    errors = [(f - exact).square().mean().sqrt().item() for f in found]
    assert power_law(sizes, errors).value == pytest.approx(-0.5, abs=0.08)
    assert errors[-1] < 0.05 * (found[-1] - stratonovich).square().mean().sqrt().item()


def test_a_linear_equation_with_additive_noise_has_the_exact_moments():
    """dH = a H ds + s dW: mean eᵃ, variance s² (e²ᵃ − 1) / (2a)."""
    members, a, s = 20_000, -1.0, 0.7
    network, weights = case(Identity(), 1, members, A=noise(0.0, trend=a, finest=128), b=noise(s, finest=128))
    H = solve_sde(network, weights, x=ones(members, 1), steps=128, keep=1).outputs.flatten()
    variance = s**2 * (math.exp(2 * a) - 1) / (2 * a)
    assert H.mean().item() == pytest.approx(math.exp(a), abs=4 * math.sqrt(variance / members) + 0.002)
    assert H.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2 / members) + 0.01)


@pytest.mark.parametrize(("activation", "sign"), [(GELU(), 1), (Tanh(), 0)], ids=["gelu", "tanh"])
def test_the_correction_has_the_sign_and_size_of_the_mean_of_a_network_without_matrices(activation, sign):
    """A = 0: E h_L = L E σ(s Z/√L) → ½ σ″(0) s², by which the solutions with and without Q differ on every path."""
    members, s = 4000, 0.9
    network, weights = case(activation, 1, members, A=noise(0.0, finest=256), b=noise(s, finest=256))
    x = 0 * ones(members, 1)
    full, bare = (solve_sde(network, weights, x=x, steps=256, correction=c).outputs for c in (True, False))
    torch.testing.assert_close(full - bare, torch.full_like(bare, 0.5 * activation.curvature * s**2))
    params = {role: path(256).transpose(0, 1) for role, path in weights.items()}
    deep = network.at_depth(256)(params, x)
    assert (deep - full).mean().abs() < 0.005
    assert ((deep - bare).mean() > 0.3) == bool(sign)


def test_strong_errors_of_networks_fall_like_the_root_of_depth_only_with_the_correction():
    A = TrendAndNoise(GaussianProcess(0.5, 0.4), 1.0, 0.4, finest=FINEST)
    network, weights = case(GELU(), 3, 200, A=A, b=A)
    full, bare = (
        solve_sde(network, weights, x=ones(200, 3), steps=FINEST, keep=256, correction=c) for c in (True, False)
    )
    depths = (16, 64, 256)
    errors: dict[bool, list[float]] = {True: [], False: []}
    for depth in depths:
        params = {role: path(depth).transpose(0, 1) for role, path in weights.items()}
        states = network.at_depth(depth).states(params, ones(200, 3))
        for correction, solution in ((True, full), (False, bare)):
            sup = (states - solution.every(depth)).norm(dim=3).amax((0, 2))
            errors[correction].append(sup.median().item())
    assert power_law(depths, errors[True]).value == pytest.approx(-0.5, abs=0.1)
    assert power_law(depths, errors[False]).value == pytest.approx(0.0, abs=0.1)


def test_the_quadratic_variation_is_that_of_the_noise_whatever_its_covariance():
    """The two columns of A carry one noise: Q_i = s² ((h_1 + h_2)² + 1), where independent entries would have ‖h‖² + 1."""
    path = noise(0.5).sample((2, 1), torch.Generator().manual_seed(3))
    s = torch.arange(FINEST + 1, dtype=torch.float64) / FINEST
    dW = path.increments(s).expand(-1, 2, 2)
    db = noise(0.5).sample((2,), torch.Generator().manual_seed(4)).increments(s)
    h = torch.tensor([1.0, 2.0], dtype=torch.float64)
    Q = quadratic_variation(torch.full((2, 2, 2), 0.25), torch.full((2,), 0.25))(h)
    assert Q.tolist() == pytest.approx([2.5, 2.5])
    assert (dW @ h + db).square().sum(0).tolist() == pytest.approx(Q.tolist(), rel=0.15)


def test_a_given_variation_takes_the_place_of_that_of_independent_entries():
    network, weights = case(GELU(), 2, 3, A=noise(0.3), b=noise(0.3))
    own = quadratic_variation(0.09 * torch.eye(2).expand(2, 2, 2), torch.full((2,), 0.09))
    plain, given, other = (
        solve_sde(network, weights, x=ones(3, 2), steps=64, correction=c).outputs
        for c in (True, own, lambda h: 2 * own(h))
    )
    torch.testing.assert_close(given, plain)
    assert (other - plain).abs().max() > 0.01


def test_one_step_is_the_network_s_layer_to_second_order():
    network, weights = case(GELU(), 2, 1, A=noise(0.3, trend=0.2), b=noise(0.1))
    (step,) = sde_maps(network, weights, steps=1)
    h, A, b = ones(1, 2), weights["A"](1)[0], weights["b"](1)[0]
    expected = h + 0.5 * (h @ A.mT + b.unsqueeze(1)) + 0.5 * GELU.curvature * (0.09 * 2 + 0.01)
    torch.testing.assert_close(step(h), expected)
    torch.testing.assert_close(trajectory([step, step], h), torch.stack([h, step(h), step(step(h))]))


def test_ends_and_kept_states():
    ends = {"embedding": Padding(1, 2), "readout": LastCoordinates(2, 1)}
    init = noise(0.3)
    network = ResidualStack(OneMatrix(2, Tanh()), 4, DepthScaling(0.0), init, **ends)
    weights = network.initialise(0, dtype=torch.float64) | network.paths(0)
    x = torch.ones(5, 1, dtype=torch.float64)
    every, few = (solve_sde(network, weights, x=x, steps=64, keep=keep) for keep in (None, 8))
    assert every.states.shape == (65, 5, 2)
    assert every.outputs.shape == (5, 1)
    assert torch.equal(few.states, every.states[::8])
    assert torch.equal(few.s, every.s[::8])
    assert torch.equal(every.states[0], torch.tensor([[1.0, 0.0]]).double().expand(5, 2))


def test_a_path_that_blows_up_is_no_error():
    network, weights = case(GELU(), 2, 4, A=noise(6.0, trend=6.0), b=noise(6.0))
    H = solve_sde(network, weights, x=50 * ones(4, 2), steps=512).states
    assert not H[-1].isfinite().all()
    assert H[0].isfinite().all()


def test_other_cases_are_refused():
    x = ones(1, 2)
    with pytest.raises(
        InputError, match=r"weights A: expected α = 0, β = 1 and Hurst index ½.*found \(0.0, 0.5, 0.5\)"
    ):
        solve_sde(*case(Tanh(), 2, A=TrendAndNoise(Zero(), 0.5, 0.4, finest=8)), x=x, steps=8)
    with pytest.raises(InputError, match=r"found \(0.0, 1.0, 0.7\)"):
        solve_sde(*case(Tanh(), 2, A=noise(0.4, finest=8, hurst=0.7)), x=x, steps=8)
    with pytest.raises(InputError, match="activation: expected one that is smooth at 0, found ReLU"):
        solve_sde(*case(ReLU(), 2, A=noise(0.4)), x=x, steps=8)
    network, weights = case(Tanh(), 2, A=noise(0.4, finest=8))
    with pytest.raises(InputError, match="keep: expected a divisor of the 8 steps, found 3"):
        solve_sde(network, weights, x=x, steps=8, keep=3)
    with pytest.raises(InputError, match="s: expected multiples of 1/8"):
        solve_sde(network, weights, x=x, steps=16)
    with pytest.raises(InputError, match="weights A: expected a path of TrendAndNoise, found _ConstantPath"):
        solve_sde(network, trends(weights), x=x, steps=8)
