"""Closed forms: constants, bounds and counter-examples of the papers, floats in, floats out.

The constants of Marion et al. 2024 are far from any number met in practice (its width constant is about 1e7 for tanh):
they are here so that their *scaling* in n, q, m, T can be checked, and so that statements that differ between a theorem
and its proof can be compared. A bound too large for a float is returned as infinity.

References:
    Marion, Wu, Sander, Biau, "Implicit regularization of deep residual networks towards neural ODEs", ICLR 2024.
    Marion, Fermanian, Biau, Vert, "Scaling ResNets in the large-depth regime", JMLR 26, 2025.
    Tropp, "User-friendly tail bounds for sums of random matrices", 2012.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplimit import checks

# ------------------------------------------------------------------------------------------------ finite training time


def coordinate_clip_bound(clip: float, entries: int) -> float:
    """Bound M_π on the Frobenius norm of a matrix of coordinates clipped to [−C, C].

    M_π = C √entries   (Marion et al. 2024, equation (5), the example of an operator π)

    Args:
        clip: C > 0.
        entries: number of entries of the largest parameter matrix.

    >>> coordinate_clip_bound(0.1, 400)
    2.0
    """
    return checks.positive("clip", clip) * math.sqrt(checks.positive_int("entries", entries))


def weight_bound(horizon: float, *, clip_bound: float, width: int, inner_width: int) -> float:
    """Bound M on every weight matrix of the clipped flow up to time T, from V = 0 and Gaussian tied W.

    M = T·M_π + 2 √(qm)   (Marion et al. 2024, Prop. 3, equation (7))

    It holds with the probability of `weight_bound_probability` and does not depend on the depth.

    Args:
        horizon: T ≥ 0, training time.
        clip_bound: M_π, supremum of the Frobenius norm of the clipped gradient.
        width, inner_width: q and m.

    >>> weight_bound(5.0, clip_bound=2.0, width=16, inner_width=4)
    26.0
    """
    root = math.sqrt(checks.positive_int("width", width) * checks.positive_int("inner_width", inner_width))
    return _not_negative("horizon", horizon) * checks.positive("clip_bound", clip_bound) + 2 * root


def gaussian_norm_tail(factor: float, *, width: int, inner_width: int) -> float:
    """Bound on P(‖W‖_F > M_W √(qm)) for a Gaussian W of size m × q.

    exp(−(M_W² − 1) q m / 16),  M_W ≥ √2   (Marion et al. 2024, Lemma 20)

    Args:
        factor: M_W.
        width, inner_width: q and m.

    Raises:
        InputError: M_W is below √2, where the lemma does not speak.
    """
    if not factor >= math.sqrt(2):
        raise checks.InputError(f"factor: expected at least sqrt(2), found {factor!r}")
    size = checks.positive_int("width", width) * checks.positive_int("inner_width", inner_width)
    return math.exp(-(factor**2 - 1) * size / 16)


def weight_bound_probability(*, width: int, inner_width: int) -> float:
    """Least probability with which `weight_bound` holds.

    1 − exp(−3 q m / 16)   (Marion et al. 2024, Prop. 3: Lemma 20 at M_W = 2)

    >>> round(weight_bound_probability(width=4, inner_width=4), 4)
    0.9502
    """
    return 1 - gaussian_norm_tail(2.0, width=width, inner_width=inner_width)


@dataclass(frozen=True)
class Regularity:
    """Suprema that the growth rates of Prop. 7 are made of (Marion et al. 2024, Appendix A).

    α = 2 e^K K' M (e^K M² M_X + M_Y)
    β = 2 K e^K M (K + e^K K' M M_X)(e^K M² M_X + M_Y)

    Args:
        first: K, supremum of the first derivatives of f on the reachable set.
        second: K', supremum of ∂₂₂f and ∂₂₁f there.
        weights: M, bound on every parameter.
        inputs, targets: M_X = sup ‖x‖ > 0, M_Y = sup ‖y‖ ≥ 0.
    """

    first: float
    second: float
    weights: float
    inputs: float
    targets: float

    def __post_init__(self) -> None:
        for name in ("first", "second", "weights", "inputs"):
            checks.positive(name, getattr(self, name))
        checks.not_negative("targets", self.targets)

    @property
    def alpha(self) -> float:
        """α, the rate at which the gap between successive layers may grow."""
        return 2 * _exp(self.first) * self.second * self.weights * self._adjoint

    @property
    def beta(self) -> float:
        """β, the rate at which training creates a gap where there is none."""
        creation = self.first + _exp(self.first) * self.second * self.weights * self.inputs
        return 2 * self.first * _exp(self.first) * self.weights * creation * self._adjoint

    @property
    def _adjoint(self) -> float:
        return _exp(self.first) * self.weights**2 * self.inputs + self.targets


def gap_bound(horizon: float, depth: int, *, alpha: float, beta: float, initial: float = 0.0) -> float:
    """Bound on ‖Z_{k+1}(t) − Z_k(t)‖ for t ≤ T along the clipped flow.

    ( ‖Z_{k+1}(0) − Z_k(0)‖ + β T / L ) e^{α T}   (Marion et al. 2024, Prop. 7)

    Args:
        horizon: T ≥ 0.
        depth: L.
        alpha, beta: α ≥ 0, β ≥ 0, as of `Regularity`.
        initial: gap at t = 0, of order 1/L for Lipschitz weights and 0 for tied ones.

    >>> gap_bound(0.0, 10, alpha=1.0, beta=1.0, initial=0.1)
    0.1
    """
    checks.positive_int("depth", depth)
    for name, value in (("horizon", horizon), ("alpha", alpha), ("beta", beta), ("initial", initial)):
        _not_negative(name, value)
    if horizon == 0:
        return initial
    return (initial + beta * horizon / depth) * _exp(alpha * horizon)


def gap_constant(horizon: float, *, alpha: float, beta: float) -> float:
    """Constant K of the 1/L law of successive weights, from a tied initialisation.

    max_k ‖Z_{k+1}(t) − Z_k(t)‖ ≤ K / L for t ≤ T,  K = β T e^{α T}   (Marion et al. 2024, Prop. 3, equation (7))

    >>> round(gap_constant(2.0, alpha=0.5, beta=1.0), 4)
    5.4366
    """
    return gap_bound(horizon, 1, alpha=alpha, beta=beta)


# -------------------------------------------------------------------------------------------------- long training time


@dataclass(frozen=True)
class Ball:
    """Suprema over the ball of parameters in which Prop. 8 works (Marion et al. 2024, Appendix A).

    Args:
        embedding, readout: M_A = ‖A(0)‖₂ + M and M_B = ‖B(0)‖₂ + M.
        inputs: M_X = sup ‖x‖.
        first: K, supremum of the first derivatives of f.
    """

    embedding: float
    readout: float
    inputs: float
    first: float

    def __post_init__(self) -> None:
        for name in ("embedding", "readout", "inputs", "first"):
            checks.positive(name, getattr(self, name))

    @property
    def gradient_factor(self) -> float:
        """max(M_B K, M_B M_X, M_A M_X)·e^K, which bounds the gradients relative to the root of the loss."""
        largest = max(self.readout * self.first, self.readout * self.inputs, self.embedding * self.inputs)
        return largest * _exp(self.first)


def pl_threshold(ball: Ball, *, radius: float, initial_loss: float) -> float:
    """The PL constant μ from which Prop. 8 gives convergence for all time.

    μ = max(M_B K, M_B M_X, M_A M_X)·(8 e^K / M)·√(sup_L ℓ^L(0))   (Marion et al. 2024, Prop. 8)

    Args:
        ball: the suprema M_A, M_B, M_X, K.
        radius: M, radius of the ball around the initialisation.
        initial_loss: sup over L of ℓ^L(0) ≥ 0.

    >>> pl_threshold(Ball(1.0, 1.0, 1.0, 1.0), radius=1.0, initial_loss=0.0)
    0.0
    """
    root = math.sqrt(_not_negative("initial_loss", initial_loss))
    return ball.gradient_factor * 8 / checks.positive("radius", radius) * root


def parameter_distance_bound(time: float, *, radius: float, mu: float) -> float:
    """Bound on the distance of A, Z_k or B from its limit under the PL condition.

    ‖A(∞) − A(t)‖_F ≤ (M/2) e^{−μt/2}   (Marion et al. 2024, Prop. 8 (iv); at t = 0: no parameter moves by more than
    M/2)

    >>> parameter_distance_bound(0.0, radius=0.5, mu=1.0)
    0.25
    """
    return checks.positive("radius", radius) / 2 * _decay(time, checks.positive("mu", mu) / 2)


def loss_bound(time: float, *, mu: float, initial_loss: float) -> float:
    """Bound on the loss under the PL condition.

    ℓ(t) ≤ e^{−μt} ℓ(0)   (Marion et al. 2024, Prop. 8 (v))

    >>> loss_bound(0.0, mu=1.0, initial_loss=2.0)
    2.0
    """
    return _not_negative("initial_loss", initial_loss) * _decay(time, checks.positive("mu", mu))


# ------------------------------------------------------------------------------------- the PL condition at linear width


def hermite_coefficient(activation: Callable[[float], float], degree: int, *, nodes: int = 140) -> float:
    """Coefficient of a function on a normalised probabilists' Hermite polynomial.

    η_r(σ) = E[σ(G) He_r(G)] / √(r!),  G standard Gaussian   (Marion et al. 2024, Prop. 5)

    The expectation is a Gauss–Hermite sum: exact up to rounding for polynomials of degree below 2·nodes − r, 1e-14 for
    tanh and GELU at 140 nodes; a kink leaves an error of order 1/nodes.

    Args:
        activation: σ, called with one float at a time.
        degree: r ≥ 0.
        nodes: number of quadrature nodes.

    >>> round(hermite_coefficient(math.tanh, 3), 4)
    -0.1484
    """
    from scipy.special import roots_hermitenorm

    if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
        raise checks.InputError(f"degree: expected an integer of at least 0, found {degree!r}")
    points, weights = roots_hermitenorm(checks.positive_int("nodes", nodes))
    values = np.array([float(activation(float(point))) for point in points])
    return float(np.sum(weights * values * _normalised_hermite(degree, points)) / math.sqrt(2 * math.pi))


def _normalised_hermite(degree: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """He_r(x)/√(r!) by its three-term recurrence, which does not overflow where He_r and r! do."""
    previous, current = np.zeros_like(x), np.ones_like(x)
    for k in range(degree):
        previous, current = current, (x * current - math.sqrt(k) * previous) / math.sqrt(k + 1)
    return current


@dataclass(frozen=True)
class ActivationConstants:
    """What Prop. 5 needs of an activation σ, and the constants c1 … c4 that follow (Marion et al. 2024, Prop. 5).

    c1 = max(2¹⁰ K_σ² e^{4√2 K_σ} / η², 1)      c2 = 128 K_σ² e^{2√2 K_σ} / |η|
    c3 = min(|η| / (32√2 K_σ), 1/2)             c4 = |η|³ / (2¹⁴ K_σ² e^{6√2 K_σ})

    Args:
        hermite: η_r(σ) ≠ 0; only its absolute value matters.
        degree: r ≥ 2.
        lipschitz: K_σ = Lip(σ).
        bound: M_σ = sup |σ|.

    >>> tanh = ActivationConstants(hermite=-0.1484, degree=3, lipschitz=1.0, bound=1.0)
    >>> [f"{c:.1e}" for c in (tanh.c1, tanh.c2, tanh.c3, tanh.c4)]
    ['1.3e+07', '1.5e+04', '3.3e-03', '4.1e-11']
    """

    hermite: float
    degree: int
    lipschitz: float
    bound: float

    def __post_init__(self) -> None:
        checks.positive("|hermite|", abs(checks.finite("hermite", self.hermite)))
        if checks.positive_int("degree", self.degree) < 2:
            raise checks.InputError(f"degree: expected at least 2, found {self.degree!r}")
        checks.positive("lipschitz", self.lipschitz)
        checks.positive("bound", self.bound)

    @property
    def c1(self) -> float:
        """Inner width needed per sample: m ≥ c1 n."""
        return max(2**10 * self.lipschitz**2 * _exp(4 * math.sqrt(2) * self.lipschitz) / self.hermite**2, 1.0)

    @property
    def c2(self) -> float:
        """Depth needed: L ≥ c2 √(nq)."""
        return 128 * self.lipschitz**2 * _exp(2 * math.sqrt(2) * self.lipschitz) / abs(self.hermite)

    @property
    def c3(self) -> float:
        """Radius of the ball: M = c3 / √(nq)."""
        return min(abs(self.hermite) / (32 * math.sqrt(2) * self.lipschitz), 0.5)

    @property
    def c4(self) -> float:
        """PL constant: μ = c4 / (n √n q)."""
        return abs(self.hermite) ** 3 / (2**14 * self.lipschitz**2 * _exp(6 * math.sqrt(2) * self.lipschitz))


@dataclass(frozen=True)
class Sizes:
    """Sizes of a problem: n samples in dimension d, state width q, inner width m."""

    samples: int
    inputs: int
    width: int
    inner_width: int

    def __post_init__(self) -> None:
        for name in ("samples", "inputs", "width", "inner_width"):
            checks.positive_int(name, getattr(self, name))


def pl_radius(constants: ActivationConstants, sizes: Sizes) -> float:
    """Radius of the ball around the initialisation in which the PL condition holds.

    M = c3 / √(n q)   (Marion et al. 2024, Prop. 5)
    """
    return constants.c3 / math.sqrt(sizes.samples * sizes.width)


def pl_constant(constants: ActivationConstants, sizes: Sizes) -> float:
    """The PL constant as the proposition states it.

    μ = c4 / (n √n q)   (Marion et al. 2024, Prop. 5)
    """
    return constants.c4 / (math.pow(sizes.samples, 1.5) * sizes.width)


def pl_constant_of_proof(constants: ActivationConstants, sizes: Sizes) -> float:
    """The PL constant that the last line of the proof reaches, √q above the stated one.

    μ = c4 / (n √(n q))   (Marion et al. 2024, proof of Prop. 5; the statement is the weaker of the two, hence true as
    well)
    """
    return constants.c4 / (math.pow(sizes.samples, 1.5) * math.sqrt(sizes.width))


def pl_failure_bound(
    constants: ActivationConstants, sizes: Sizes, *, variance_proxy: float, chernoff: float = 3 / 64
) -> float:
    """Bound δ on the probability that the PL condition of Prop. 5 fails; above 1 it says nothing.

    δ = e^{−qm/16} + n exp(−κ m η² / (M_σ² n)) + 2 n² exp(−(d/(2 v_x²)) (3/(4n))^{2/r})   (Marion et al. 2024, Prop. 5)

    Args:
        constants: η, r, K_σ, M_σ of the activation.
        sizes: n, d, q, m.
        variance_proxy: v_x², sub-Gaussian proxy of √(d/q)·x: about 1 for inputs uniform on a sphere, about d for a
            mixture of few atoms.
        chernoff: κ, 3/64 as printed; 1/64 with the Chernoff bound in Tropp's form (see `chernoff_tropp`).
    """
    n = sizes.samples
    tied_weights = math.exp(-sizes.width * sizes.inner_width / 16)
    rate = checks.positive("chernoff", chernoff) * constants.hermite**2 / (constants.bound**2 * n)
    features = n * math.exp(-rate * sizes.inner_width)
    correlation = (3 / (4 * n)) ** (2 / constants.degree)
    exponent = sizes.inputs / (2 * checks.positive("variance_proxy", variance_proxy)) * correlation
    return tied_weights + features + 2 * n**2 * math.exp(-exponent)


def target_bound(constants: ActivationConstants, sizes: Sizes, *, ball: Ball) -> float:
    """Mean squared norm of the targets up to which gradient flow is shown to converge.

    C = c3² c4² / (64 n⁴ q³ max(M_B K, M_B M_X, M_A M_X)² e^{2K})   (Marion et al. 2024, Theorem 6; m does not enter,
    Remark 3)

    It is the initial loss at which the threshold of Prop. 8 equals the PL constant of Prop. 5, with its radius.
    """
    root = constants.c3 * constants.c4 / (8 * sizes.samples**2 * math.pow(sizes.width, 1.5) * ball.gradient_factor)
    return root**2


# --------------------------------------------------------------------------------------------- the ReLU counter-example


def relu_limit_weight(half_depth: int, *, ratio: float) -> float:
    """Weight to which every even layer of the ReLU counter-example converges.

    (1 + w*/(2L))^L = C,  w* = 2L (C^{1/L} − 1)   (Marion et al. 2024, Appendix D; depth 2L, target y = C x)

    Args:
        half_depth: L, half the number of layers.
        ratio: C > 1.

    >>> [round(relu_limit_weight(L, ratio=2.0), 3) for L in (10, 100, 1000)]
    [1.435, 1.391, 1.387]
    """
    return 2 * checks.positive_int("half_depth", half_depth) * math.expm1(math.log(_above_one(ratio)) / half_depth)


def relu_deep_weight(ratio: float) -> float:
    """Limit of `relu_limit_weight`, and of `relu_final_gap`, as the depth grows.

    2 log C   (Marion et al. 2024, Appendix D)

    >>> round(relu_deep_weight(2.0), 4)
    1.3863
    """
    return 2 * math.log(_above_one(ratio))


def relu_final_gap(half_depth: int, *, ratio: float) -> float:
    """Distance between successive weights after training; it does not vanish with depth, as the smooth case does.

    w* + 1/(2L): even layers reach w*, odd layers stay at −1/(2L)   (Marion et al. 2024, Appendix D)
    """
    return relu_limit_weight(half_depth, ratio=ratio) + 1 / (2 * half_depth)


def relu_flow_printed(weight: float, half_depth: int, *, ratio: float, x: float) -> float:
    """Right-hand side of the flow of the even weights as the paper prints it.

    dw/dt = 2x (C − (1 + w/(2L))^L)(1 + w/(2L))^{L−1}   (Marion et al. 2024, Appendix D)

    Args:
        weight: w, the common value of the even layers, above −2L.
        half_depth: L.
        ratio, x: C > 1 and x > 0; the one sample is (x, Cx).
    """
    base = checks.positive("1 + weight/(2L)", 1 + weight / (2 * checks.positive_int("half_depth", half_depth)))
    return 2 * checks.positive("x", x) * (_above_one(ratio) - base**half_depth) * base ** (half_depth - 1)


def relu_flow_exact(weight: float, half_depth: int, *, ratio: float, x: float) -> float:
    """Minus the derivative of the loss (h_{2L} − Cx)² in one even weight, the others being equal to it.

    −∂ℓ/∂w_k = x/(2L) · printed right-hand side

    The factor only changes the clock: multiplied by the depth 2L, as in the paper's flow (4), it is x times the printed
    one. Derived from the definitions; the factor is absent from Marion et al. 2024, Appendix D. Arguments as of
    `relu_flow_printed`.

    >>> relu_flow_printed(0.0, 10, ratio=2.0, x=0.5), relu_flow_exact(0.0, 10, ratio=2.0, x=0.5)
    (1.0, 0.025)
    """
    printed = relu_flow_printed(weight, half_depth, ratio=ratio, x=x)
    return x / (2 * half_depth) * printed


# --------------------------------------------------------------------------- the Chernoff bound that Lemma 21 rests on


def chernoff_printed(mean: float, t: float) -> float:
    """Bound on P(λ_min ≤ t·mean) in the form quoted by Marion et al. 2024, Lemma 21, for d = 1 and summands in [0, 1].

    exp(−(1 − t²) μ / 2)

    It cannot hold in general: see `chernoff_violations`.
    """
    return math.exp(-(1 - _share(t) ** 2) * checks.positive("mean", mean) / 2)


def chernoff_tropp(mean: float, t: float) -> float:
    """Bound on P(λ_min ≤ t·mean) in its usual form (Tropp 2012), for d = 1 and summands in [0, 1].

    exp(−(1 − t)² μ / 2)
    """
    return math.exp(-((1 - _share(t)) ** 2) * checks.positive("mean", mean) / 2)


def binomial_lower_tail(trials: int, probability: float, *, t: float) -> float:
    """P(X ≤ t·E X) for a binomial X, exactly.

    X is the least eigenvalue of a sum of N independent 1 × 1 positive semi-definite matrices bounded by 1: a case of
    every matrix Chernoff bound.

    Args:
        trials: N.
        probability: p in (0, 1].
        t: share of the mean, in [0, 1].

    >>> round(binomial_lower_tail(10, 0.5, t=0.2), 6)  # (1 + 10) / 2**10
    0.010742
    """
    from scipy.special import bdtr

    if not 0 < probability <= 1:
        raise checks.InputError(f"probability: expected a number in (0, 1], found {probability!r}")
    # Products such as 0.58 * 100 * 0.5, which rounding leaves just under an integer, mean that integer.
    threshold = math.floor(_share(t) * checks.positive_int("trials", trials) * probability * (1 + 1e-12))
    return float(bdtr(float(threshold), trials, probability))


def chernoff_violations(trials: int, probability: float, *, shares: Iterable[float]) -> tuple[float, ...]:
    """The t among `shares` at which a binomial has more mass below t·mean than the printed bound allows.

    A single one refutes exp(−(1−t²)μ/2) as a matrix Chernoff bound, since a 1 × 1 matrix is a special case. (As μ
    grows, P(X ≤ tμ) decays like exp(−μ(1 − t + t log t)), slower than the printed bound for every t above about 0.2.)
    Above a mean of about 1400 both sides can underflow to 0, which counts as no violation.

    >>> chernoff_violations(1000, 0.1, shares=[0.0, 0.25, 0.5, 0.75])
    (0.25, 0.5, 0.75)
    """
    mean = checks.positive_int("trials", trials) * probability
    return tuple(t for t in shares if binomial_lower_tail(trials, probability, t=t) > chernoff_printed(mean, t))


# ------------------------------------------------------------------------------ ReLU stacks of independent Gaussian layers


def relu_growth(depth: int, *, beta: float) -> float:
    """Mean of ‖h_L‖²/‖h_0‖² in a ReLU stack of independent Gaussian layers, at any width.

    (1 + α²/2)^L,  α = L^(−β)

    In h′ = h + α V ReLU(W h) with entries of V and W of law N(0, 1/d), given h, ReLU(W h) has squared length ‖h‖²/2 in the mean, V keeps
    it in the mean and is uncorrelated with h. Derived for model res-3 of Marion et al. 2025. The gradients ∂ℓ/∂h_k grow by the same law.

    Args:
        depth: L.
        beta: β.

    >>> relu_growth(1, beta=0.0)
    1.5
    """
    return _exp(depth * math.log1p(_branch_square(depth, beta) / 2))


def relu_ratio(depth: int, *, beta: float) -> float:
    """Root mean square of ‖h_L − h_0‖/‖h_0‖ in the stack of `relu_growth`.

    √((1 + α²/2)^L − 1),  since ⟨h_L, h_0⟩ is ‖h_0‖² in the mean

    At β = ½ it tends to √(e^{1/2} − 1) = 0.805, at β = 1 it is (2L)^(−1/2) to first order.

    >>> round(relu_ratio(1000, beta=0.5), 3), round(relu_ratio(10**9, beta=0.5), 3)
    (0.805, 0.805)
    """
    exponent = depth * math.log1p(_branch_square(depth, beta) / 2)
    return math.sqrt(math.expm1(exponent)) if exponent < 709.0 else math.inf


def relu_fourth_growth(depth: int, *, width: int, beta: float) -> float:
    """Mean of ‖h_L‖⁴/‖h_0‖⁴ in the stack of `relu_growth`.

    (1 + (1 + 2/d) α² + (1 + 2/d)(5/(4d) + ¼) α⁴)^L,  α = L^(−β)

    The factors ‖h_{k+1}‖²/‖h_k‖² are independent and equal in law: ‖e + α √T ξ‖² with e a unit vector, ξ normal of covariance I/d, and
    T the mean of d squares of ReLU(normal), of mean ½ and mean square 5/(4d) + ¼.

    Args:
        depth: L.
        width: d, of the state and of the layer.
        beta: β.

    >>> relu_fourth_growth(4, width=10**9, beta=0.5) / relu_growth(4, beta=0.5) ** 2 - 1 < 1e-8
    True
    """
    square, d = _branch_square(depth, beta), checks.positive_int("width", width)
    factor = (1 + 2 / d) * (square + square**2 * (5 / (4 * d) + 0.25))
    return _exp(depth * math.log1p(factor))


def relu_log_growth(width: int) -> tuple[float, float]:
    """Mean and standard deviation of log ‖h_L‖/‖h_0‖ at β = ½ in the limit L → ∞ of the stack of `relu_growth`.

    ¼ − 1/(2d)  and  (2d)^(−1/2)

    The sum of many independent logarithms is normal in the limit, so that the norm is lognormal; mean and variance follow from the first
    two moments of the factors, 1 + 1/(2L) and variance 2/(dL), up to O(1/L). Derived.

    >>> relu_log_growth(2)
    (0.0, 0.5)
    """
    return 0.25 - 0.5 / checks.positive_int("width", width), (2 * width) ** -0.5


def critical_beta(hurst: float) -> float:
    """The exponent β at which the first change of the state stays of order 1, for weights of Hurst index H.

    max(½, H)

    A sum of L increments of fractional Brownian motion, each of variance 1, is of order L^H, and a sum of squares of order L. Derived;
    Marion et al. 2025, section 5, show it as a figure.

    >>> critical_beta(0.2), critical_beta(0.8)
    (0.5, 0.8)
    """
    if not 0 < hurst < 1:
        raise checks.InputError(f"hurst: expected a number between 0 and 1, found {hurst!r}")
    return max(0.5, hurst)


def _branch_square(depth: int, beta: float) -> float:
    """α² = L^(−2β)."""
    return math.pow(checks.positive_int("depth", depth), -2 * beta)


# -------------------------------------------------------------------------------------------------------------- helpers


def _exp(x: float) -> float:
    """exp(x), infinite where a float cannot hold it."""
    return math.exp(x) if x < 709.0 else math.inf


def _decay(time: float, rate: float) -> float:
    return math.exp(-rate * _not_negative("time", time))


def _not_negative(name: str, value: float) -> float:
    if not (value >= 0):
        raise checks.InputError(f"{name}: expected a number of at least 0, found {value!r}")
    return value


def _above_one(ratio: float) -> float:
    return checks.above_one("ratio", ratio)


def _share(t: float) -> float:
    return checks.fraction("t", t)
