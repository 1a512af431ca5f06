from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from deeplimit.checks import InputError
from deeplimit.limits import HomogeneousFlow, InfiniteWidthFlow, layer_rates


def integrated(flow: HomogeneousFlow, times, *, g: float, y: float, start: float):
    """The equation of a mode by a Runge–Kutta method of order 8."""

    def slope(t, f):
        now = g * math.exp(-2 * (flow.degree - 1) * flow.weight_decay * t)
        return -(now + flow.degree * flow.weight_decay) * f + now * y

    solved = solve_ivp(slope, (0, times[-1]), [start], method="DOP853", rtol=1e-12, atol=1e-13, t_eval=times)
    return solved.y[0]


@settings(max_examples=60, deadline=None)
@given(
    degree=st.integers(1, 5),
    decay=st.floats(-3, 0.5),
    eigenvalue=st.floats(-2, 2),
    y=st.floats(-2, 2),
    start=st.floats(-2, 2),
)
def test_modes_solve_their_equation(degree, decay, eigenvalue, y, start):
    flow, g = HomogeneousFlow(degree, 10**decay), 10**eigenvalue
    times = np.linspace(0, 8 / flow.weight_decay, 9)
    found = flow.mode(times, eigenvalue=g, target=y, start=start)
    assert found == pytest.approx(integrated(flow, times, g=g, y=y, start=start), abs=1e-9)


@pytest.mark.parametrize(("degree", "decay"), [(0, 0.05), (2, 0.0), (0, 0.0), (3, 0.0)])
def test_modes_without_decay_of_the_function_reach_their_target(degree, decay):
    flow, times = HomogeneousFlow(degree, decay), np.linspace(0, 12, 5)
    found = flow.mode(times, eigenvalue=2.0, target=1.5, start=-1.0)
    assert found == pytest.approx(integrated(flow, times, g=2.0, y=1.5, start=-1.0), abs=1e-9)
    assert found[-1] == pytest.approx(1.5, abs=1e-6)
    assert (flow.kernel(12.0) > 1) == (decay > 0)


@pytest.mark.parametrize("degree", [2, 3, 6])
@pytest.mark.parametrize("u", [0.1, 0.9999, 1.0001, 5.0, 300.0, 1e8])
def test_what_is_forced_is_an_integral(degree, u):
    """M = ∫₀^∞ (1 + x/u)^(−p) e^(−x) dx."""
    flow = HomogeneousFlow(degree, 0.5)
    power = -degree / (2 * (degree - 1))
    exact = quad(lambda x: (1 + x / u) ** power * math.exp(-x), 0, math.inf, epsabs=1e-13, epsrel=1e-13)[0]
    assert flow.forced(u * flow.kernel_rate, 0.0) == pytest.approx(exact, abs=1e-12)


def test_large_and_small_arguments_neither_overflow_nor_vanish_early():
    flow = HomogeneousFlow(2, 1e-9)
    plateau = flow.mode([1e3, 1e6], eigenvalue=2e-1, target=3.0)
    assert plateau == pytest.approx([3 * 0.2 / (0.2 + 2e-9)] * 2, rel=1e-9)
    faint = HomogeneousFlow(2, 1.0)
    for t in (20.0, 300.0):  # y u (−γ − log u − E₁(u₀)), φ(t) ~ t e^(−2λt)
        u, at_once = 2.0 * math.exp(-2 * t), 0.04890051070806112  # E₁(2)
        expected = u * (2 * t - math.log(2.0) - np.euler_gamma - at_once)
        assert faint.mode(t, eigenvalue=4.0) == pytest.approx(expected, rel=1e-12)
    assert faint.mode(1e4, eigenvalue=4.0) == 0.0
    assert np.isfinite(HomogeneousFlow(2, 1e-300).mode(1e10, eigenvalue=1e10))


def test_a_linear_model_tends_to_ridge_regression_and_forgets_nothing():
    flow = HomogeneousFlow(1, 0.5)
    assert flow.mode(1e3, eigenvalue=2.0, target=5.0, start=7.0) == pytest.approx(5 * 2 / 2.5, rel=1e-12)
    assert flow.mode(0.7, eigenvalue=2.0, target=5.0, start=7.0) == pytest.approx(4 + 3 * math.exp(-2.5 * 0.7))
    assert flow.kernel(100.0) == 1
    with pytest.raises(InputError, match="without which nothing is forgotten"):
        flow.decay_time(2.0)


@pytest.mark.parametrize("degree", [2, 3])
def test_a_mode_is_at_half_of_its_target_at_its_half_life(degree):
    for decay in (1e-1, 1e-3, 1e-5):
        flow = HomogeneousFlow(degree, decay)
        half = flow.half_life(10.0)
        assert flow.mode([0.9 * half, half, 1.1 * half], eigenvalue=10.0)[1] == pytest.approx(0.5, rel=1e-9)
        assert flow.mode(0.9 * half, eigenvalue=10.0) > 0.5 > flow.mode(1.1 * half, eigenvalue=10.0)
        shrunk = 10.0 * flow.kernel(flow.decay_time(10.0))
        assert shrunk == pytest.approx(degree * decay, rel=1e-12)
    assert HomogeneousFlow(2, 1.0).decay_time(1.0) == 0.0
    with pytest.raises(InputError, match=r"expected more than .* where the penalty lets a mode reach half"):
        HomogeneousFlow(2, 1.0).half_life(1.0)


def test_layers_of_one_coefficient_decay_as_the_whole():
    total, blocks = layer_rates([0.1] * 3)
    flow = HomogeneousFlow(3, 0.1)
    assert total == pytest.approx(flow.function_rate)
    assert blocks == pytest.approx([flow.kernel_rate] * 3)
    with pytest.raises(InputError, match="weight_decays: expected one finite number"):
        layer_rates([])


def problem(degree: int, *, columns: tuple[int, ...] = (), rank: int = 7) -> tuple[InfiniteWidthFlow, np.ndarray]:
    """Five training and two test points with a kernel of some rank, and the kernel on all of them."""
    rng = np.random.default_rng(degree)
    features = rng.standard_normal((7, rank))
    kernel = features @ features.T
    start = features @ rng.standard_normal((rank, *columns))  # in the span of the kernel, as functions of a network are
    law = HomogeneousFlow(degree, 0.1)
    y = rng.standard_normal((5, *columns))
    return InfiniteWidthFlow(kernel[:5, :5], y, start[:5], law, kernel[5:, :5], start[5:]), kernel


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize(("columns", "rank"), [((), 7), ((2,), 7), ((), 3)])
def test_the_function_solves_its_equation_on_and_off_the_sample(degree, columns, rank):
    flow, kernel = problem(degree, columns=columns, rank=rank)
    shape, law = (7, *columns), flow.law

    def slope(t, f):
        f = f.reshape(shape)
        force = math.exp(-law.kernel_rate * t) * kernel[:, :5] @ (f[:5] - flow.targets)
        return (-force - law.function_rate * f).ravel()

    start = np.concatenate([flow.start, flow.start_test])
    solved = solve_ivp(slope, (0, 9), start.ravel(), method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1].reshape(shape)
    assert flow.train(9.0) == pytest.approx(solved[:5], abs=1e-8)
    assert flow.test(9.0) == pytest.approx(solved[5:], abs=1e-8)
    assert flow.train(0.0) == pytest.approx(flow.start, abs=1e-10)
    assert flow.test(0.0) == pytest.approx(flow.start_test, abs=1e-10)
    for course in (flow.train, flow.test):
        assert course([0.0, 9.0])[0] == pytest.approx(course(0.0), abs=1e-12)
        assert course([0.0, 9.0])[1] == pytest.approx(course(9.0), rel=1e-12)


def test_small_steps_of_gradient_descent_are_the_flow_to_first_order():
    flow, _ = problem(2)
    exact = np.concatenate([flow.train(1.0), flow.test(1.0)])
    gaps = [np.abs(np.concatenate(flow.after(n, 1 / n)) - exact).max() for n in (1000, 2000, 4000)]
    assert gaps[0] < 0.05
    assert [gaps[0] / gaps[1], gaps[1] / gaps[2]] == pytest.approx([2, 2], rel=0.05)
    assert flow.law.kernel_after(4000, 1 / 4000) == pytest.approx(flow.law.kernel(1.0), rel=1e-4)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"degree: expected an integer of at least 0, found -1"):
        HomogeneousFlow(-1, 0.1)
    with pytest.raises(InputError, match="weight_decay: expected a finite number of at least 0, found -1"):
        HomogeneousFlow(2, -1)
    with pytest.raises(InputError, match="learning_rate: expected less than 1/λ = 2, found 3"):
        HomogeneousFlow(2, 0.5).kernel_after(1, 3)
    law = HomogeneousFlow(2, 0.5)
    with pytest.raises(InputError, match="kernel: expected a symmetric matrix"):
        InfiniteWidthFlow(np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones(2), np.ones(2), law)
    with pytest.raises(InputError, match=r"kernel: expected shape \(3, 3\)"):
        InfiniteWidthFlow(np.eye(2), np.ones(3), np.ones(3), law)
    with pytest.raises(InputError, match="kernel_test: expected the kernel between test and training points"):
        InfiniteWidthFlow(np.eye(2), np.ones(2), np.ones(2), law).test(1.0)
