from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from deeplimit import theory
from deeplimit.checks import InputError
from deeplimit.theory import ActivationConstants, Ball, Regularity, Sizes

TANH = ActivationConstants(hermite=theory.hermite_coefficient(math.tanh, 3), degree=3, lipschitz=1.0, bound=1.0)
BALL = Ball(embedding=1.5, readout=1.2, inputs=4.0, first=0.7)


# --- finite training time ---


def test_the_weight_bound_starts_at_the_initialisation_and_grows_at_the_clip() -> None:
    def bound(horizon: float) -> float:
        return theory.weight_bound(horizon, clip_bound=0.5, width=16, inner_width=32)

    assert bound(0) == pytest.approx(2 * math.sqrt(512))
    assert bound(7) - bound(5) == pytest.approx(2 * 0.5)


def test_a_clipped_matrix_stays_within_its_bound() -> None:
    matrix = np.clip(np.random.default_rng(0).standard_normal((8, 5)), -0.3, 0.3)
    bound = theory.coordinate_clip_bound(0.3, matrix.size)
    assert np.linalg.norm(matrix) < bound
    assert np.linalg.norm(np.full((8, 5), 0.3)) == pytest.approx(bound)


def test_the_gaussian_norm_exceeds_its_bound_no_more_often_than_stated() -> None:
    draws = np.random.default_rng(0).standard_normal((20_000, 6))
    norms = np.sqrt((draws**2).sum(1))
    for factor in (1.5, 1.8, 2.0):
        assert np.mean(norms > factor * math.sqrt(6)) <= theory.gaussian_norm_tail(factor, width=2, inner_width=3)
    known = 1 - theory.weight_bound_probability(width=2, inner_width=3)
    assert known == pytest.approx(math.exp(-18 / 16))
    with pytest.raises(InputError, match=r"at least sqrt\(2\), found 1.2"):
        theory.gaussian_norm_tail(1.2, width=2, inner_width=3)


def test_the_growth_rates_are_those_of_the_proposition() -> None:
    facts = Regularity(first=0.5, second=0.3, weights=2.0, inputs=1.5, targets=4.0)
    e = math.exp(0.5)
    assert facts.alpha == pytest.approx(2 * e * 0.3 * 2 * (e * 4 * 1.5 + 4))
    assert facts.beta == pytest.approx(2 * 0.5 * e * 2 * (0.5 + e * 0.3 * 2 * 1.5) * (e * 4 * 1.5 + 4))


def test_an_almost_flat_branch_has_almost_no_rates() -> None:
    flat = Regularity(first=1e-9, second=1e-9, weights=2.0, inputs=1.5, targets=4.0)
    assert flat.alpha < 1e-7
    assert flat.beta < 1e-15
    steep = Regularity(first=800.0, second=1.0, weights=2.0, inputs=1.5, targets=0.0)
    assert steep.alpha == math.inf


def test_the_gap_bound_is_the_initial_gap_at_first_and_a_constant_over_depth() -> None:
    assert theory.gap_bound(0.0, 64, alpha=math.inf, beta=math.inf, initial=0.25) == 0.25
    gaps = [depth * theory.gap_bound(2.0, depth, alpha=0.3, beta=5.0) for depth in (1, 16, 1024)]
    assert gaps == pytest.approx([theory.gap_constant(2.0, alpha=0.3, beta=5.0)] * 3)
    assert theory.gap_constant(2.0, alpha=0.3, beta=5.0) == pytest.approx(5 * 2 * math.exp(0.6))
    assert theory.gap_constant(1e6, alpha=1.0, beta=1.0) == math.inf


def test_the_gap_bound_grows_with_the_initial_gap_and_with_time() -> None:
    small = theory.gap_bound(1.0, 16, alpha=1.0, beta=1.0)
    assert theory.gap_bound(1.0, 16, alpha=1.0, beta=1.0, initial=1 / 16) > small
    assert theory.gap_bound(2.0, 16, alpha=1.0, beta=1.0) > 2 * math.e * small * (1 - 1e-12)


# --- long training time ---


def test_the_threshold_scales_with_the_root_of_the_loss_and_one_over_the_radius() -> None:
    base = theory.pl_threshold(BALL, radius=0.5, initial_loss=1.0)
    assert base == pytest.approx(1.5 * 4.0 * 8 * math.exp(0.7) / 0.5)
    assert theory.pl_threshold(BALL, radius=0.5, initial_loss=4.0) == pytest.approx(2 * base)
    assert theory.pl_threshold(BALL, radius=0.25, initial_loss=1.0) == pytest.approx(2 * base)


@pytest.mark.parametrize(("ball", "largest"), [(Ball(1, 3, 2, 5), 15), (Ball(1, 3, 5, 2), 15), (Ball(3, 1, 5, 2), 15)])
def test_each_of_the_three_products_can_be_the_largest(ball: Ball, largest: float) -> None:
    assert ball.gradient_factor == pytest.approx(largest * math.exp(ball.first))


def test_parameters_and_loss_decay_to_nothing() -> None:
    assert theory.parameter_distance_bound(0.0, radius=0.6, mu=2.0) == pytest.approx(0.3)
    assert theory.loss_bound(0.0, mu=2.0, initial_loss=5.0) == 5.0
    assert theory.loss_bound(1e6, mu=2.0, initial_loss=5.0) == 0.0
    # The loss decays twice as fast as the distance: it is its square up to a constant.
    distances = [theory.parameter_distance_bound(t, radius=0.6, mu=2.0) for t in (0.0, 1.5)]
    losses = [theory.loss_bound(t, mu=2.0, initial_loss=5.0) for t in (0.0, 1.5)]
    assert (distances[1] / distances[0]) ** 2 == pytest.approx(losses[1] / losses[0])


def test_a_quadratic_loss_obeys_both_bounds() -> None:
    # l = z², its PL constant is 4, and gradient flow from z = z0 is z0·exp(−2t).
    z0, mu = 0.3, 4.0
    for t in (0.0, 0.1, 1.0):
        z = z0 * math.exp(-2 * t)
        assert z**2 <= theory.loss_bound(t, mu=mu, initial_loss=z0**2) * (1 + 1e-12)
        assert z <= theory.parameter_distance_bound(t, radius=2 * z0, mu=mu) * (1 + 1e-12)


# --- linear width ---


def test_tanh_has_the_third_coefficient_of_the_sheet() -> None:
    assert abs(theory.hermite_coefficient(math.tanh, 3)) == pytest.approx(0.148, abs=5e-4)


@pytest.mark.parametrize("degree", range(6))
def test_coefficients_of_the_exponential(degree: int) -> None:
    expected = math.exp(0.5) / math.sqrt(math.factorial(degree))
    assert theory.hermite_coefficient(math.exp, degree) == pytest.approx(expected, rel=1e-12)


def test_hermite_polynomials_are_orthonormal() -> None:
    def third(x: float) -> float:
        return (x**3 - 3 * x) / math.sqrt(6)

    found = [theory.hermite_coefficient(third, degree) for degree in range(6)]
    assert found == pytest.approx([0, 0, 0, 1, 0, 0], abs=1e-12)


@pytest.mark.parametrize("activation", [math.tanh, math.sin])
def test_the_squares_of_the_coefficients_add_up_to_the_variance(activation: Callable[[float], float]) -> None:
    total = sum(theory.hermite_coefficient(activation, degree) ** 2 for degree in range(60))
    constant = theory.hermite_coefficient(lambda x: activation(x) ** 2, 0)
    assert total == pytest.approx(constant, rel=1e-5)
    assert all(abs(theory.hermite_coefficient(activation, degree)) < 1e-14 for degree in (0, 2, 4))


def test_a_kink_is_approached_with_more_nodes() -> None:
    def error(nodes: int) -> float:
        found = theory.hermite_coefficient(lambda x: max(x, 0.0), 2, nodes=nodes)
        return abs(found - 1 / (2 * math.sqrt(math.pi)))

    assert error(400) < error(100) / 3 < 1e-3
    assert theory.hermite_coefficient(np.tanh, 1) == theory.hermite_coefficient(math.tanh, 1)


@pytest.mark.parametrize("degree", [-1, 1.0, True])
def test_degrees_are_integers(degree: object) -> None:
    with pytest.raises(InputError, match="degree: expected an integer of at least 0"):
        theory.hermite_coefficient(math.tanh, degree)  # type: ignore[arg-type]


def test_the_constants_of_tanh_have_the_sizes_of_the_sheet() -> None:
    found = (TANH.c1, TANH.c2, TANH.c3, TANH.c4)
    assert found == pytest.approx((1.33e7, 1.46e4, 3.28e-3, 4.1e-11), rel=0.02, abs=0)


def test_only_the_size_of_the_coefficient_matters_and_the_caps_hold() -> None:
    mirrored = ActivationConstants(hermite=-TANH.hermite, degree=3, lipschitz=1.0, bound=1.0)
    assert (mirrored.c1, mirrored.c2, mirrored.c3, mirrored.c4) == (TANH.c1, TANH.c2, TANH.c3, TANH.c4)
    gentle = ActivationConstants(hermite=1.0, degree=3, lipschitz=1e-3, bound=1.0)
    assert (gentle.c1, gentle.c3) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hermite": 0.0}, r"\|hermite\|: expected a finite number above 0"),
        ({"degree": 1}, "degree: expected at least 2, found 1"),
        ({"lipschitz": 0.0}, "lipschitz: expected"),
        ({"bound": math.inf}, "bound: expected"),
    ],
)
def test_activations_outside_the_proposition_are_refused(change: dict[str, float], message: str) -> None:
    facts = {"hermite": 0.148, "degree": 3, "lipschitz": 1.0, "bound": 1.0} | change
    with pytest.raises(InputError, match=message):
        ActivationConstants(**facts)  # type: ignore[arg-type]


def test_the_proof_reaches_a_pl_constant_root_q_above_the_statement() -> None:
    sizes = Sizes(samples=20, inputs=8, width=36, inner_width=100)
    stated, proved = theory.pl_constant(TANH, sizes), theory.pl_constant_of_proof(TANH, sizes)
    assert proved / stated == pytest.approx(6.0)
    assert theory.pl_constant(TANH, Sizes(80, 8, 36, 100)) == pytest.approx(stated / 8, rel=1e-9, abs=0)
    assert theory.pl_radius(TANH, Sizes(80, 8, 36, 100)) == pytest.approx(
        theory.pl_radius(TANH, sizes) / 2, rel=1e-9, abs=0
    )


def test_the_bound_on_the_targets_is_where_the_threshold_meets_the_pl_constant() -> None:
    # Theorem 6 is Prop. 8 fed with Prop. 5: the two sheets of constants must fit.
    sizes = Sizes(samples=20, inputs=8, width=36, inner_width=100)
    largest = theory.target_bound(TANH, sizes, ball=BALL)
    needed = theory.pl_threshold(BALL, radius=theory.pl_radius(TANH, sizes), initial_loss=largest)
    assert needed == pytest.approx(theory.pl_constant(TANH, sizes), rel=1e-12, abs=0)
    wider = Sizes(samples=20, inputs=8, width=36, inner_width=10_000)
    assert theory.target_bound(TANH, wider, ball=BALL) == largest
    more = Sizes(samples=40, inputs=8, width=36, inner_width=100)
    assert theory.target_bound(TANH, more, ball=BALL) == pytest.approx(largest / 16, rel=1e-9, abs=0)


def test_failure_needs_width_and_dimension_to_become_unlikely() -> None:
    def delta(inner_width: int, inputs: int, *, proxy: float = 1.0, chernoff: float = 3 / 64) -> float:
        sizes = Sizes(samples=20, inputs=inputs, width=16, inner_width=inner_width)
        return theory.pl_failure_bound(TANH, sizes, variance_proxy=proxy, chernoff=chernoff)

    assert delta(10**6, 1000) < 1e-10
    assert delta(100, 1000) > 1  # narrow
    assert delta(10**6, 10) > 1  # samples too close
    assert delta(10**6, 1000, proxy=1000.0) > 1  # few atoms
    assert delta(10**5, 1000, chernoff=1 / 64) > delta(10**5, 1000)


def test_each_term_of_the_failure_bound_stands_alone_where_the_others_vanish() -> None:
    def delta(inputs: int, inner_width: int, chernoff: float) -> float:
        sizes = Sizes(samples=5, inputs=inputs, width=4, inner_width=inner_width)
        return theory.pl_failure_bound(TANH, sizes, variance_proxy=2.0, chernoff=chernoff)

    tied = delta(10**6, 10, 1e9)
    features = delta(10**6, 1000, 0.1)
    correlation = delta(50, 1000, 1e9)
    assert tied == pytest.approx(math.exp(-40 / 16), rel=1e-9, abs=0)
    assert features == pytest.approx(5 * math.exp(-0.1 * 1000 * TANH.hermite**2 / 5), rel=1e-9, abs=0)
    assert correlation == pytest.approx(2 * 25 * math.exp(-50 / 4 * 0.15 ** (2 / 3)), rel=1e-9, abs=0)


# --- the ReLU counter-example ---


def states(weights: list[float], x: float) -> float:
    """Output of the scalar ReLU network of depth 2L, written out from its definition."""
    h = x
    for w in weights:
        h += max(w * h, 0.0) / len(weights)
    return h


def weights_at(even: float, half_depth: int) -> list[float]:
    """Even layers (w_2, w_4, …) at `even`, odd ones (w_1, w_3, …) where they start: −1/(2L)."""
    return [-1 / (2 * half_depth), even] * half_depth


@pytest.mark.parametrize(("half_depth", "expected"), [(10, 1.435), (100, 1.391), (1000, 1.387)])
def test_the_three_values_of_the_sheet(half_depth: int, expected: float) -> None:
    assert theory.relu_limit_weight(half_depth, ratio=2.0) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("ratio", [1.01, 2.0, 10.0])
def test_the_limit_weight_fits_the_sample_and_both_flows_rest_there(ratio: float) -> None:
    for half_depth in (1, 10, 1000):
        w = theory.relu_limit_weight(half_depth, ratio=ratio)
        assert states(weights_at(w, half_depth), 1.5) == pytest.approx(ratio * 1.5, rel=1e-10)
        assert theory.relu_flow_printed(w, half_depth, ratio=ratio, x=1.5) == pytest.approx(0, abs=1e-8)
        assert theory.relu_flow_printed(0.9 * w, half_depth, ratio=ratio, x=1.5) > 0
        assert theory.relu_flow_printed(1.1 * w, half_depth, ratio=ratio, x=1.5) < 0


def test_the_limit_weight_decreases_to_twice_the_logarithm() -> None:
    values = [theory.relu_limit_weight(half_depth, ratio=2.0) for half_depth in (1, 10, 100, 10**4, 10**8, 10**12)]
    assert all(a > b for a, b in itertools.pairwise(values))
    assert values[-1] == pytest.approx(theory.relu_deep_weight(2.0), rel=1e-11)
    assert theory.relu_deep_weight(2.0) == pytest.approx(2 * math.log(2))


def test_the_gap_does_not_vanish() -> None:
    gaps = [theory.relu_final_gap(half_depth, ratio=2.0) for half_depth in (10, 100, 1000)]
    assert gaps == pytest.approx([1.435 + 0.05, 1.391 + 0.005, 1.387 + 0.0005], abs=1e-3)
    w = weights_at(theory.relu_limit_weight(10, ratio=2.0), 10)
    assert max(abs(b - a) for a, b in itertools.pairwise(w)) == pytest.approx(gaps[0])


@pytest.mark.parametrize("half_depth", [1, 5, 20])
@pytest.mark.parametrize("x", [0.5, 3.0])
def test_the_exact_flow_is_the_gradient_and_the_printed_one_is_not(half_depth: int, x: float) -> None:
    w, ratio, step = 0.4, 2.0, 1e-5

    def loss(change: float, layer: int) -> float:
        weights = weights_at(w, half_depth)
        weights[layer] += change
        return (states(weights, x) - ratio * x) ** 2

    even = -(loss(step, -1) - loss(-step, -1)) / (2 * step)
    exact = theory.relu_flow_exact(w, half_depth, ratio=ratio, x=x)
    printed = theory.relu_flow_printed(w, half_depth, ratio=ratio, x=x)
    assert even == pytest.approx(exact, rel=1e-6)
    assert even != pytest.approx(printed, rel=0.1)
    assert 2 * half_depth * exact == pytest.approx(x * printed, rel=1e-12)
    assert loss(step, 0) == loss(-step, 0)  # odd layers feel nothing


def test_counter_examples_outside_the_setting_are_refused() -> None:
    with pytest.raises(InputError, match=r"ratio: expected a finite number above 1, found 1\.0"):
        theory.relu_limit_weight(10, ratio=1.0)
    with pytest.raises(InputError, match="half_depth: expected an integer of at least 1, found 0"):
        theory.relu_flow_exact(0.0, 0, ratio=2.0, x=1.0)
    with pytest.raises(InputError, match=r"1 \+ weight/\(2L\): expected a finite number above 0"):
        theory.relu_flow_printed(-20.0, 10, ratio=2.0, x=1.0)


# --- the Chernoff bound ---


def test_the_lower_tail_is_exact() -> None:
    from scipy import stats

    for trials, p, t in ((10, 0.5, 0.4), (1000, 0.1, 0.5), (30, 0.1, 1.0), (7, 1.0, 1.0)):
        expected = stats.binom.cdf(round(t * trials * p, 9) // 1, trials, p)
        assert theory.binomial_lower_tail(trials, p, t=t) == pytest.approx(expected, rel=1e-9, abs=0)
    assert theory.binomial_lower_tail(20, 0.3, t=0.0) == pytest.approx(0.7**20, rel=1e-9, abs=0)
    assert 0.58 * 100 * 0.5 < 29  # rounding
    assert theory.binomial_lower_tail(100, 0.5, t=0.58) == pytest.approx(stats.binom.cdf(29, 100, 0.5), rel=1e-9, abs=0)


@pytest.mark.parametrize("trials", [10, 100, 1000, 10_000])
@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 1.0])
def test_tropps_form_holds_everywhere(trials: int, probability: float) -> None:
    for t in np.linspace(0, 1, 41).tolist():
        tail = theory.binomial_lower_tail(trials, probability, t=t)
        assert tail <= theory.chernoff_tropp(trials * probability, t) * (1 + 1e-9)


def test_the_printed_form_is_violated_at_the_share_the_lemma_uses() -> None:
    tail, bound = theory.binomial_lower_tail(1000, 0.1, t=0.5), theory.chernoff_printed(100, 0.5)
    assert tail > 1e7 * bound
    assert theory.chernoff_violations(1000, 0.1, shares=[0.5]) == (0.5,)


def test_the_printed_form_fails_on_an_interval_that_grows_with_the_mean() -> None:
    shares = np.linspace(0, 1, 101).tolist()
    few, many = (theory.chernoff_violations(trials, 0.01, shares=shares) for trials in (5_000, 100_000))
    assert set(few) < set(many)
    # In the limit of rare events the tail decays at rate 1 − t + t log t, and (1 − t²)/2 is above it from 0.1987 on.
    assert many[0] == pytest.approx(0.2, abs=0.015)
    assert theory.chernoff_violations(100_000, 0.01, shares=[0.0, 0.1, 0.15]) == ()


def test_both_forms_agree_at_the_ends() -> None:
    for bound in (theory.chernoff_printed, theory.chernoff_tropp):
        assert bound(30, 1.0) == 1.0
        assert bound(30, 0.0) == pytest.approx(math.exp(-15), rel=1e-9, abs=0)
    assert theory.chernoff_printed(30, 0.5) < theory.chernoff_tropp(30, 0.5)


def test_shares_and_probabilities_outside_their_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"t: expected a number from 0 to 1, found 1.5"):
        theory.chernoff_tropp(3.0, 1.5)
    with pytest.raises(InputError, match=r"probability: expected a number in \(0, 1\], found 0"):
        theory.binomial_lower_tail(10, 0, t=0.5)
    with pytest.raises(InputError, match="horizon: expected a number of at least 0, found -1"):
        theory.gap_constant(-1.0, alpha=1.0, beta=1.0)


# --- ReLU stacks of independent Gaussian layers ---


def relu_norms(depth: int, width: int, *, beta: float, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """‖h_L‖/‖h_0‖ and ‖h_L − h_0‖/‖h_0‖ over runs with matrices drawn in full."""
    generator = np.random.default_rng(0)
    first = np.zeros((runs, width))
    first[:, 0] = 1.0
    h = first
    for _ in range(depth):
        V, W = generator.standard_normal((2, runs, width, width)) / math.sqrt(width)
        h = h + depth**-beta * np.einsum("rij,rj->ri", V, np.maximum(np.einsum("rij,rj->ri", W, h), 0))
    return np.linalg.norm(h, axis=1), np.linalg.norm(h - first, axis=1)


@pytest.mark.parametrize(("depth", "width", "beta"), [(1, 3, 0.0), (4, 5, 0.5), (6, 2, 0.25)])
def test_the_moments_of_a_relu_stack_are_exact(depth: int, width: int, beta: float) -> None:
    norms, ratios = relu_norms(depth, width, beta=beta, runs=40_000)
    for values, exact in (
        (norms**2, theory.relu_growth(depth, beta=beta)),
        (ratios**2, theory.relu_ratio(depth, beta=beta) ** 2),
        (norms**4, theory.relu_fourth_growth(depth, width=width, beta=beta)),
    ):
        error = values.std() / math.sqrt(len(values))
        assert error < 0.25 * exact
        assert values.mean() == pytest.approx(exact, abs=4 * error)


def test_a_relu_stack_has_a_limit_at_one_half_alone() -> None:
    deep = 10**8
    assert theory.relu_ratio(deep, beta=0.5) == pytest.approx(math.sqrt(math.sqrt(math.e) - 1))
    assert theory.relu_growth(deep, beta=0.5) == pytest.approx(math.sqrt(math.e))
    assert theory.relu_fourth_growth(deep, width=50, beta=0.5) == pytest.approx(math.exp(1.04))
    assert theory.relu_ratio(deep, beta=1.0) == pytest.approx(math.sqrt(1 / (2 * deep)))
    assert theory.relu_ratio(deep, beta=0.25) == theory.relu_growth(deep, beta=0.25) == math.inf
    with pytest.raises(InputError, match="depth"):
        theory.relu_growth(0, beta=0.5)


@pytest.mark.parametrize("width", [1, 40, 1000])
def test_the_lognormal_limit_has_the_exact_moments(width: int) -> None:
    mean, sd = theory.relu_log_growth(width)
    for power, exact in (
        (2, theory.relu_growth(10**7, beta=0.5)),
        (4, theory.relu_fourth_growth(10**7, width=width, beta=0.5)),
    ):
        assert math.exp(power * mean + (power * sd) ** 2 / 2) == pytest.approx(exact, rel=1e-5)


def test_the_critical_exponent_follows_the_index_from_one_half_on() -> None:
    assert [theory.critical_beta(hurst) for hurst in (0.1, 0.5, 0.9)] == [0.5, 0.5, 0.9]
    with pytest.raises(InputError, match=r"hurst: expected a number between 0 and 1, found 1\.0"):
        theory.critical_beta(1.0)
