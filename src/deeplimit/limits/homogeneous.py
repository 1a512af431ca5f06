"""Training of infinitely wide homogeneous networks with L2 regularisation, in closed form.

A network is homogeneous of degree k when f(a θ) = aᵏ f(θ) for a > 0: a fully connected ReLU network without biases with k layers of
weights, for instance. Under the gradient flow of ½ Σ (f − y)² + (λ/2) ‖θ‖² its tangent kernel Θ only shrinks in the limit of infinite
width, and the function obeys a linear equation:

dΘ/dt = −2(k − 1) λ Θ,    df(x)/dt = −Σ over training points x′ of Θ(x, x′) (f(x′) − y′) − k λ f(x)

λ is the coefficient of (λ/2) ‖θ‖² beside a *sum* over the training points. Beside their mean, hand over Θ/n in place of Θ. Everything
here is floats and NumPy arrays; `deeplimit.limits.kernel` has the equations of a network of finite width.

Reference: Lewkowycz and Gur-Ari 2020 (arXiv 2006.08643), Theorems 1 and 2. The solutions are derived from them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeplimit import checks

Floats = NDArray[np.float64]

_TERMS = 120
"""Of the continued fraction, which is right to rounding from u = 1 on with half of them."""


@dataclass(frozen=True)
class HomogeneousFlow:
    """The clock that λ sets: how kernel, function and modes of an infinitely wide network move.

    With e an eigenvector of Θ₀ on the training points and g its eigenvalue, g(t) = g exp(−2(k−1)λt), the mode φ = e·f obeys
    dφ/dt = −(g(t) + kλ) φ + g(t) e·y. It is learned in a time 1/g and forgotten when g(t) falls below kλ.

    k = 1 is a linear model: the kernel stays, and modes tend to ridge regression. k = 0 is a network that does not see the scale of its
    weights: its kernel *grows*, and nothing is forgotten.

    Args:
        degree: k, an integer from 0 on.
        weight_decay: λ ≥ 0.

    >>> flow = HomogeneousFlow(degree=2, weight_decay=0.05)
    >>> round(float(flow.kernel(15.0)), 4)
    0.2231
    """

    degree: int
    weight_decay: float

    def __post_init__(self) -> None:
        """Refuse a degree that is not a count and a coefficient below 0."""
        checks.fields(self, degree=checks.count, weight_decay=checks.not_negative)

    @property
    def kernel_rate(self) -> float:
        """2(k − 1)λ, the rate at which the kernel falls; negative for k = 0."""
        return 2 * (self.degree - 1) * self.weight_decay

    @property
    def function_rate(self) -> float:
        """kλ, the rate at which the penalty alone takes the function down."""
        return self.degree * self.weight_decay

    def kernel(self, t: ArrayLike) -> Floats:
        """Θ_t/Θ₀ = exp(−2(k−1)λt)."""
        return np.exp(-self.kernel_rate * _array(t))

    def kernel_after(self, steps: ArrayLike, learning_rate: float) -> Floats:
        """Θ/Θ₀ after steps of gradient descent, (1 − ηλ)^(2(k−1) steps): the update shrinks θ by 1 − ηλ.

        >>> flow = HomogeneousFlow(degree=2, weight_decay=0.05)
        >>> round(float(flow.kernel_after(300, 0.05)), 4)
        0.2227
        """
        return self._shrink(learning_rate) ** (2 * (self.degree - 1) * _array(steps))

    def mode(self, t: ArrayLike, *, eigenvalue: ArrayLike, target: ArrayLike = 1.0, start: ArrayLike = 0.0) -> Floats:
        """The component of f along an eigenvector of the kernel.

        φ(t) = M(t) y + (φ(0) − M(0) y) exp(−kλt − ∫₀ᵗ g)

        with M the value of `forced`. For k = 2 this is y u eᵘ (E₁(u) − E₁(u₀)) + φ(0) exp(−2λt − u₀ + u), u₀ = g/(2λ), u = u₀ exp(−2λt).
        Nothing overflows: u may be as large as a float is. The arguments broadcast.

        Args:
            t: times from 0 on.
            eigenvalue: g ≥ 0.
            target: e·y.
            start: e·f at t = 0.
        """
        g, times, y = _array(eigenvalue), _array(t), _array(target)
        with np.errstate(under="ignore", over="ignore"):  # the growing kernel of k = 0 may become infinite
            left = np.exp(-self.function_rate * times - self._learned(g, times))
            first = self.forced(g, np.zeros_like(times))
            found: Floats = self.forced(g, times) * y + (_array(start) - first * y) * left
        return found

    def forced(self, eigenvalue: ArrayLike, t: ArrayLike) -> Floats:
        """M(t), what every mode with target 1 tends to from any start before it vanishes.

        M = u eᵘ E_p(u),    u = g(t)/(2(k−1)λ),    p = k/(2(k−1)),    E_p(u) = ∫₁^∞ e^(−uz) z^(−p) dz

        For u → ∞ it is the `plateau` g(t)/(g(t) + kλ), for u → 0 it vanishes. Derived: with x = u(s) − u(t) the integral of the
        variation of constants is ∫₀ˣ (1 + x/u)^(−p) e^(−x) dx.
        """
        g, times = np.broadcast_arrays(_array(eigenvalue), _array(t))
        if self.weight_decay == 0 or self.degree == 0:
            return np.where(g > 0, 1.0, 0.0)
        if self.degree == 1:
            return self.plateau(g)
        return _exponential_integral(g / self.kernel_rate * self.kernel(times), self.degree / (2 * (self.degree - 1)))

    def plateau(self, eigenvalue: ArrayLike) -> Floats:
        """g/(g + kλ): where a mode with target 1 stays while its kernel changes slowly; for k = 1 its limit, ridge regression."""
        g = _array(eigenvalue)
        with np.errstate(invalid="ignore"):
            return np.where(g > 0, g / (g + self.function_rate), 0.0)

    def decay_time(self, eigenvalue: float) -> float:
        """When g(t) = kλ: ln(g/(kλ)) / (2(k−1)λ), and 0 where the penalty wins from the start.

        Raises:
            InputError: k < 2 or λ = 0, where nothing is forgotten.
        """
        self._forgetting()
        ratio = checks.positive("eigenvalue", eigenvalue) / self.function_rate
        return max(math.log(ratio), 0.0) / self.kernel_rate

    def half_life(self, eigenvalue: float) -> float:
        """When a mode has been learned and is down to half of its target again: M(t) = ½.

        t = ln(u₀/u_½)/(2(k−1)λ): 1/λ times a logarithm of g/λ, so that its apparent exponent in λ is steeper than −1.

        Raises:
            InputError: k < 2 or λ = 0, or so large a λ that the mode never exceeds half of its target.

        >>> round(0.1 * HomogeneousFlow(degree=2, weight_decay=0.1).half_life(10.0), 2)
        2.2
        """
        from scipy.optimize import brentq

        self._forgetting()
        order = self.degree / (2 * (self.degree - 1))
        half = float(brentq(lambda u: float(_exponential_integral(np.array(u), order)) - 0.5, 1e-3, 10.0, xtol=1e-14))
        first = checks.positive("eigenvalue", eigenvalue) / self.kernel_rate
        if first <= half:
            raise checks.InputError(
                f"eigenvalue: expected more than {half * self.kernel_rate:.6g}, where the penalty lets a mode reach half"
                f" of its target, found {eigenvalue:g}"
            )
        return math.log(first / half) / self.kernel_rate

    def _forgetting(self) -> None:
        if self.degree < 2 or self.weight_decay == 0:
            raise checks.InputError(
                f"expected a degree of at least 2 and λ > 0, without which nothing is forgotten; found {self}"
            )

    def _learned(self, g: Floats, t: Floats) -> Floats:
        """∫₀ᵗ g(s) ds."""
        rate = self.kernel_rate
        return g * (t if rate == 0 else -np.expm1(-rate * t) / rate)

    def _shrink(self, learning_rate: float) -> float:
        factor = 1 - checks.positive("learning_rate", learning_rate) * self.weight_decay
        if factor <= 0:
            raise checks.InputError(
                f"learning_rate: expected less than 1/λ = {1 / self.weight_decay:g}, found {learning_rate}"
            )
        return factor


def layer_rates(weight_decays: Sequence[float]) -> tuple[float, Floats]:
    """Rates of function and kernel where every layer has a coefficient of its own.

    f falls by Σ λ_l, and layer l's part of the kernel Θ = Σ_l Θ_l by 2 Σ_{j≠l} λ_j, in a network of degree 1 in each layer's weights.
    Equal coefficients give kλ and 2(k−1)λ.

    Args:
        weight_decays: λ_l of the k layers.

    >>> total, blocks = layer_rates([0.25, 0.5])
    >>> total, blocks.tolist()
    (0.75, [1.0, 0.5])
    """
    decays = _array(weight_decays)
    if decays.ndim != 1 or not len(decays) or not np.all(np.isfinite(decays) & (decays >= 0)):
        raise checks.InputError(
            f"weight_decays: expected one finite number of at least 0 per layer, found {weight_decays!r}"
        )
    total = float(decays.sum())
    return total, 2 * (total - decays)


@dataclass(frozen=True, eq=False)
class InfiniteWidthFlow:
    """The function of an infinitely wide network on training points X and elsewhere, along training.

    f_t(X) by modes; off the sample f_t(x) = e^(−kλt) [f₀(x) − Θ(x,X) Θ⁻¹ f₀(X)] + Θ(x,X) Θ⁻¹ f_t(X), Θ = Θ₀(X, X). Where Θ is singular
    its pseudo-inverse serves, as Θ(x, X) vanishes on the kernel of Θ.

    Args:
        kernel: Θ₀ on the training points, `[n, n]`, symmetric and positive semidefinite.
        targets: y, `[n]` or `[n, d′]`.
        start: f₀ on the training points, as y.
        law: k and λ.
        kernel_test: Θ₀(x, X), `[n′, n]`, where there are test points.
        start_test: f₀ on the test points, `[n′]` or `[n′, d′]`.
    """

    kernel: Floats
    targets: Floats
    start: Floats
    law: HomogeneousFlow
    kernel_test: Floats | None = None
    start_test: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit, and a kernel that is not symmetric."""
        n = len(self.targets)
        checks.shape("kernel", self.kernel.shape, (n, n))
        checks.shape("start", self.start.shape, self.targets.shape)
        if not np.allclose(self.kernel, self.kernel.T, rtol=1e-6, atol=1e-12 * float(np.abs(self.kernel).max())):
            raise checks.InputError("kernel: expected a symmetric matrix, found one that is not")
        if self.kernel_test is not None:
            checks.shape("kernel_test", self.kernel_test.shape, (None, n))
            tests = (len(self.kernel_test), *self.targets.shape[1:])
            checks.shape("start_test", () if self.start_test is None else self.start_test.shape, tests)

    def train(self, t: ArrayLike) -> Floats:
        """f_t on the training points: like y for one time, with a leading axis for several, `[T, …]`."""
        return self._outputs(self._modes(t))

    def test(self, t: ArrayLike) -> Floats:
        """f_t on the test points, `[n′]` or `[n′, d′]`, with a leading axis for several times."""
        return self._off_sample(self._modes(t), np.exp(-self.law.function_rate * _array(t)))

    def after(self, steps: int, learning_rate: float) -> tuple[Floats, Floats]:
        """f on training and test points (none: empty) after steps of gradient descent θ ← (1 − ηλ) θ − η ∇, at infinite width.

        With q = 1 − ηλ one step is f ← qᵏ [f − (η/q) Θ_s (f − y)], Θ_s = q^(2(k−1)s) Θ₀: the flow with a step that is not small.
        """
        checks.count("steps", steps)
        q = self.law._shrink(checks.positive("learning_rate", learning_rate))
        values, vectors = self._spectrum
        g = self._per_mode(values)
        y, modes = vectors.T @ self.targets, vectors.T @ self.start
        for step in range(steps):
            moved = modes - learning_rate / q * q ** (2 * (self.law.degree - 1) * step) * g * (modes - y)
            modes = q**self.law.degree * moved
        none = self.targets[:0]
        tests = none if self.kernel_test is None else self._off_sample(modes, _array(q ** (self.law.degree * steps)))
        return self._outputs(modes), tests

    @cached_property
    def _spectrum(self) -> tuple[Floats, Floats]:
        """Eigenvalues and eigenvectors of the kernel."""
        values, vectors = np.linalg.eigh((self.kernel + self.kernel.T) / 2)
        return np.maximum(values, 0.0), vectors

    def _per_mode(self, values: Floats) -> Floats:
        """Numbers by mode, in the shape of the targets."""
        return values.reshape(-1, *(1,) * (self.targets.ndim - 1))

    def _modes(self, t: ArrayLike) -> Floats:
        """Eigenvectors' components of f_t, `[n, …]` or `[T, n, …]`."""
        values, vectors = self._spectrum
        times = _array(t)[(..., *(None,) * self.targets.ndim)]
        y, start = vectors.T @ self.targets, vectors.T @ self.start
        return self.law.mode(times, eigenvalue=self._per_mode(values), target=y, start=start)

    def _outputs(self, modes: Floats) -> Floats:
        return self._on_modes(self._spectrum[1], modes)

    def _on_modes(self, matrix: Floats, modes: Floats) -> Floats:
        """A matrix times the axis of modes."""
        axis = -self.targets.ndim
        found: Floats = np.moveaxis(np.tensordot(matrix, modes, axes=(1, axis)), 0, axis)
        return found

    def _off_sample(self, modes: Floats, left: Floats) -> Floats:
        """Test outputs for modes on the training points, where the penalty alone leaves a factor of the first function."""
        if self.kernel_test is None or self.start_test is None:
            raise checks.InputError("kernel_test: expected the kernel between test and training points, found none")
        values, vectors = self._spectrum
        large = values > len(values) * np.finfo(np.float64).eps * values.max()
        inverse = np.divide(1.0, values, out=np.zeros_like(values), where=large)
        factor = left[(..., *(None,) * self.targets.ndim)]
        moved = self._per_mode(inverse) * (modes - factor * (vectors.T @ self.start))
        return factor * self.start_test + self._on_modes(self.kernel_test @ vectors, moved)


def _exponential_integral(u: Floats, order: float) -> Floats:
    """u eᵘ E_p(u) for 1/2 < p ≤ 1 and u ≥ 0, to rounding: below u = 1 by the incomplete Γ function, from there by a continued fraction.

    u eᵘ E_p(u) = u/(u + p − 1·p/(u + p + 2 − 2(p + 1)/(u + p + 4 − …)))   (DLMF 8.9.2; E_p(u) = u^(p−1) Γ(1 − p, u))
    """
    from scipy.special import exp1, gamma, gammaincc

    small = np.clip(u, np.finfo(np.float64).tiny, 1.0)  # at 0 the exponential integral is infinite, and u times it is 0
    if order == 1:
        near = small * np.exp(small) * exp1(small)
    else:
        near = small**order * np.exp(small) * gammaincc(1 - order, small) * gamma(1 - order)
    large = np.clip(u, 1.0, 1e300)
    below = large + order + 2 * _TERMS
    for j in range(_TERMS, 0, -1):
        below = large + order + 2 * (j - 1) - j * (order + j - 1) / below
    found: Floats = np.where(u < 1, near * (u > 0), large / below)
    return found


def _array(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
