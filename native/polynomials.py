"""Prints the coefficients of elementary.hpp, each with the largest error of its fit. Needs mpmath and NumPy.

    python native/polynomials.py

Fits are truncated Chebyshev series, computed with 60 digits and written in powers of the variable; the quotient for Φ is a weighted least
squares fit, repeated with weights that grow where the error is largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]
HALF = mp.mpf(1) / 2


def power_of_two(f: mp.mpf) -> mp.mpf:
    """(2^f − 1) / f."""
    return mp.expm1(f * mp.log(2)) / f if f else mp.log(2)


def logarithm(w: mp.mpf) -> mp.mpf:
    """2 artanh(u) / u of w = u²."""
    return 2 * mp.atanh(mp.sqrt(w)) / mp.sqrt(w) if w > mp.mpf("1e-40") else mp.mpf(2)


def complement(t: mp.mpf, k: int = 3) -> mp.mpf:
    """(x + k) e^(x²) erfc(x) / 2 of t = (x − k) / (x + k)."""
    if t == 1:
        return 1 / (2 * mp.sqrt(mp.pi))
    x = k * (1 + t) / (1 - t)
    tail = mp.exp(x * x) * mp.erfc(x) if x < 50 else mp.hyp2f0(1, HALF, -1 / (x * x)) / (x * mp.sqrt(mp.pi))
    return (x + k) * tail / 2


def chebyshev(function: Function, low: mp.mpf, high: mp.mpf, degree: int) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients in powers of the variable, lowest first, and the sum of what was cut off."""
    count, middle, half = degree + 20, (low + high) / 2, (high - low) / 2
    angles = [mp.pi * (j + HALF) / count for j in range(count)]
    values = [function(middle + half * mp.cos(angle)) for angle in angles]
    terms = [
        (2 if n else 1) * mp.fsum(v * mp.cos(n * a) for v, a in zip(values, angles, strict=True)) / count
        for n in range(count)
    ]
    before, last = np.array([mp.mpf(1)]), np.array([-middle / half, 1 / half])
    result = np.zeros(degree + 1, dtype=object)
    for n, term in enumerate(terms[: degree + 1]):
        polynomial = before if n == 0 else last
        result[: len(polynomial)] += term * polynomial
        if n:
            following = 2 * np.convolve(last, [-middle / half, 1 / half])
            following[: len(before)] -= before
            before, last = last, following
    return list(result), mp.fsum(abs(term) for term in terms[degree + 1 :])


def normal_quotient(far: float, degree: int) -> tuple[list[float], list[float], float]:
    """Numerator and denominator of (Φ(z) − 1/2) / z in z² on |z| ≤ far, and the largest error of Φ."""
    z = far * (np.cos(np.pi * (np.arange(400) + 0.5) / 400) + 1) / 2
    wanted = np.array([float(mp.erf(mp.mpf(v) / mp.sqrt(2)) / 2 / mp.mpf(v)) for v in z])
    u, weights, below = (z / far) ** 2, np.ones_like(z), np.ones_like(z)
    powers = u[:, None] ** np.arange(degree + 1)
    best = (np.inf, wanted, wanted)
    for _ in range(60):
        rows = np.hstack([powers, -wanted[:, None] * powers[:, 1:]]) * (z * weights / below)[:, None]
        found, *_ = np.linalg.lstsq(rows, wanted * z * weights / below, rcond=None)
        above, under = found[: degree + 1], np.concatenate([[1.0], found[degree + 1 :]])
        below = powers @ under
        error = np.abs(powers @ above / below - wanted) * z
        best = min(best, (error.max(), above, under), key=lambda row: row[0])
        weights = weights * np.sqrt(error / error.max() + 1e-3)
        weights /= weights.max()
    scale = far ** (-2.0 * np.arange(degree + 1))
    return list(best[1] * scale), list(best[2] * scale), best[0]


def show(name: str, coefficients: Sequence[object], error: object, digits: int) -> None:
    """One table."""
    print(f"{name}: {mp.nstr(error, 2)}\n    " + ", ".join(mp.nstr(mp.mpf(c), digits) for c in coefficients))


def main() -> None:
    """All tables: float first, then double."""
    ninth = mp.mpf(1) / 9
    for digits, degrees in ((10, (5, 4)), (18, (10, 9))):
        show("exponential", *chebyshev(power_of_two, -HALF, HALF, degrees[0]), digits)
        show("logarithm", *chebyshev(logarithm, mp.mpf(0), ninth, degrees[1]), digits)
    show("complement", *chebyshev(complement, mp.mpf(-1), mp.mpf(1), 21), 18)
    above, under, error = normal_quotient(5.5, 5)
    show("numerator", above, error, 11)
    show("denominator", under, error, 11)


if __name__ == "__main__":
    main()
