// Powers of two, log(1 + e) and the normal distribution on vectors, to a few units in the last place of 1.
// native/polynomials.py prints the coefficients; the error of each fit is at its side.
#pragma once

#include "vector.hpp"

namespace deeplimit::DEEPLIMIT_ISA {
namespace {

template <class Real>
struct Numbers;

template <>
struct Numbers<float> {
    static constexpr float round = 12582912.0f;      // 1.5 * 2^23: adding it rounds to an integer, held in the low bits
    static constexpr int mantissa = 23, bias = 127;
    static constexpr float least = -126.0f;          // 2^y of less is taken for 0
    static constexpr float saturated = 30.0f;        // 1 - 2 / (2^y + 1) is 1 from here on
    // (2^f - 1) / f on [-1/2, 1/2]: 8e-9
    static constexpr float exponential[] = {0.693147188f,   0.2402265092f,   0.05550357104f,
                                            0.00961805667f, 0.001339086735f, 0.0001546144746f};
    // 2 artanh(u) / u in u^2 on [0, 1/9]: 8e-9
    static constexpr float logarithm[] = {2.000000008f, 0.6666631594f, 0.4002485372f, 0.2796141884f, 0.2817465726f};
    // (Phi(z) - 1/2) / z in z^2 on |z| <= 5.5, as a quotient: 7e-9 in Phi
    static constexpr float far = 5.5f;
    static constexpr float numerator[] = {0.39894223479f,     0.033851154887f,     0.0046771488602f,
                                          0.00016880761021f, 6.3517410429e-06f, 2.2749030571e-08f};
    static constexpr float denominator[] = {1.0f,               0.25151818258f,     0.028644965103f,
                                            0.0018843443757f, 7.3640358504e-05f, 1.1974659595e-06f};
};

template <>
struct Numbers<double> {
    static constexpr double round = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double least = -1022.0;
    static constexpr double saturated = 60.0;
    static constexpr double exponential[] = {  // 1e-17
        0.693147180559945309,    0.240226506959100982,    0.055504108664821627,   0.00961812910760688658,
        0.00133335581464064692,  0.000154035304417388481, 0.0000152527338415584484, 1.32154425864294463e-6,
        1.01780570869678425e-7,  7.07258621456062166e-9,  4.45581803091318956e-10};
    static constexpr double logarithm[] = {  // 1e-16
        1.99999999999999991,  0.666666666666829322, 0.399999999952013211, 0.285714291196585989, 0.222221904898565951,
        0.181828694843806339, 0.153635280179868484, 0.135926274698203159, 0.0987443270601985114, 0.177934956642886139};
    // (x + k) e^(x^2) erfc(x) / 2 in t = (x - k) / (x + k)
    static constexpr double k = 3.0;
    static constexpr double complement[] = {  // 1e-16
        0.537003453544169842,    -0.441697226584939507,   0.295114178552053585,    -0.155233630950487306,
        0.0597638806435155202,   -0.013413617306937655,   -0.000606208311165142339, 0.00151703093697243492,
        -0.000274154869371051522, -0.000138388499966842623, 0.0000537808761069686405, 0.0000151973680127353841,
        -8.7357589165431707e-6,  -2.37017840540927354e-6, 1.38382364235062189e-6,  4.9197582261552459e-7,
        -2.0578167608007339e-7,  -1.08619722041558027e-7, 2.49335363639301296e-8,  1.97616544909237916e-8,
        -1.76495675172444158e-9, -2.01506453686329113e-9};
};

// The largest power of two below a number of coefficients.
constexpr std::size_t half_of(std::size_t count) {
    std::size_t half = 1;
    while (2 * half < count) half *= 2;
    return half;
}

// Coefficients First ... First + Count - 1, in the order of Estrin: a short chain of dependent operations, where Horner's is as long as it
// can be and leaves the processor waiting. squares: x, x^2, x^4 ...
template <class Real, std::size_t First, std::size_t Count, std::size_t N>
DEEPLIMIT_INLINE Vector<Real> polynomial_part(const Real (&coefficients)[N], const Vector<Real>* squares) {
    if constexpr (Count == 1) {
        return broadcast(coefficients[First]);
    } else {
        constexpr std::size_t half = half_of(Count), level = __builtin_ctzl(half);
        const Vector<Real> high = polynomial_part<Real, First + half, Count - half>(coefficients, squares);
        return high * squares[level] + polynomial_part<Real, First, half>(coefficients, squares);
    }
}

template <class Real, std::size_t N>
DEEPLIMIT_INLINE Vector<Real> polynomial(const Real (&coefficients)[N], Vector<Real> x) {
    Vector<Real> squares[5] = {x};
#pragma GCC unroll 5
    for (int i = 1; i < 5; ++i) squares[i] = squares[i - 1] * squares[i - 1];
    return polynomial_part<Real, 0, N>(coefficients, squares);
}

// 2^y = power * (1 + rest) with power = 2^j, j the integer next to y. The absolute error of y, half a unit in its last place, is the relative
// error of 2^y: large only where 2^y is far from 1, and then of no weight beside 1.
template <class Real>
struct PowerOfTwo {
    Vector<Real> power, rest;

    DEEPLIMIT_INLINE explicit PowerOfTwo(Vector<Real> y) {
        using N = Numbers<Real>;
        const Vector<Real> shifted = y + N::round;
        const Vector<Real> f = y - (shifted - N::round);
        rest = f * polynomial(N::exponential, f);
        power = Vector<Real>((Integers<Real>(shifted) + N::bias) << N::mantissa);
    }
};

constexpr double log2_e = 1.44269504088896340736;

// 2^y for y <= 0, and 0 below 2^least; NaN stays NaN.
template <class Real>
DEEPLIMIT_INLINE Vector<Real> power_of_negative(Vector<Real> y) {
    const PowerOfTwo<Real> e(y);
    return y < Numbers<Real>::least ? Vector<Real>{} : e.power + e.power * e.rest;
}

// log(1 + e) for e in [0, 1].
template <class Real>
DEEPLIMIT_INLINE Vector<Real> log1p(Vector<Real> e) {
    const Vector<Real> u = e / (e + Real(2));
    return u * polynomial(Numbers<Real>::logarithm, u * u);
}

template <class Real>
DEEPLIMIT_INLINE Vector<Real> magnitude(Vector<Real> x) {
    return x < Real(0) ? -x : x;
}

// The normal distribution: its density times sqrt(2 pi), and the distribution function Phi.
template <class Real>
struct Normal {
    Vector<Real> density, below;

    DEEPLIMIT_INLINE explicit Normal(Vector<Real> z) : density(power_of_negative<Real>(z * z * Real(-0.5 * log2_e))) {
        using N = Numbers<Real>;
        if constexpr (sizeof(Real) == sizeof(float)) {  // as the erf of PyTorch: small in absolute terms, which is what counts beside 1
            const Vector<Real> near = z > N::far ? broadcast(N::far) : z;
            const Vector<Real> square = near * near;
            const Vector<Real> ratio = polynomial(N::numerator, square) / polynomial(N::denominator, square);
            below = z < -N::far ? Vector<Real>{} : near * ratio + Real(0.5);
        } else {  // e^(x^2) erfc(x) / 2 by a polynomial in t = (x - k) / (x + k), x = |z| / sqrt(2): Shepherd and Laframboise 1981
            const Vector<Real> r = Real(1) / (magnitude<Real>(z) * Real(0.70710678118654752440) + N::k);
            const Vector<Real> tail = density * (r * polynomial(N::complement, Real(1) - (2 * N::k) * r));
            below = z < Real(0) ? tail : Real(1) - tail;
        }
    }
};

}  // namespace
}  // namespace deeplimit::DEEPLIMIT_ISA
