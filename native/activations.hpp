// Activations: value and slope of one vector of pre-activations. The formulas are those of deeplimit/branches/activations.py.
#pragma once

#include "elementary.hpp"
#include "stack.hpp"

namespace deeplimit::DEEPLIMIT_ISA {
namespace {

template <class Real>
struct Point {
    Vector<Real> value, slope;
};

template <Activation A>
struct Sigma;

template <>
struct Sigma<Activation::identity> {
    template <class Real>
    static DEEPLIMIT_INLINE Point<Real> at(Vector<Real> z, Real) {
        return {z, broadcast(Real(1))};
    }
};

template <>
struct Sigma<Activation::tanh> {
    template <class Real>
    static DEEPLIMIT_INLINE Point<Real> at(Vector<Real> z, Real) {
        constexpr Real saturated = Numbers<Real>::saturated;
        const Vector<Real> y = magnitude<Real>(z) * Real(2 * log2_e);  // e^2|z| = 2^y
        const PowerOfTwo<Real> e(y > saturated ? broadcast(saturated) : y);
        const Vector<Real> less = e.power * e.rest + (e.power - Real(1));  // e^2|z| - 1, without cancellation
        const Vector<Real> positive = less / (less + Real(2));
        const Vector<Real> value = z < Real(0) ? -positive : positive;
        return {value, Real(1) - value * value};
    }
};

template <>
struct Sigma<Activation::gelu> {
    template <class Real>
    static DEEPLIMIT_INLINE Point<Real> at(Vector<Real> z, Real) {
        const Normal<Real> normal(z);
        return {z * normal.below, normal.below + z * normal.density * Real(0.39894228040143267794)};
    }
};

template <>
struct Sigma<Activation::relu> {
    template <class Real>
    static DEEPLIMIT_INLINE Point<Real> at(Vector<Real> z, Real) {
        return {z <= Real(0) ? Vector<Real>{} : z, z > Real(0) ? broadcast(Real(1)) : Vector<Real>{}};  // NaN stays NaN
    }
};

template <>
struct Sigma<Activation::leaky_relu> {
    template <class Real>
    static DEEPLIMIT_INLINE Point<Real> at(Vector<Real> z, Real negative_slope) {
        const Vector<Real> slope = z > Real(0) ? broadcast(Real(1)) : broadcast(negative_slope);
        return {z * slope, slope};
    }
};

template <class Real>
struct Logistic {
    Vector<Real> decay, value;  // e^-|z| and 1 / (1 + e^-z)

    DEEPLIMIT_INLINE explicit Logistic(Vector<Real> z) {
        decay = power_of_negative<Real>(magnitude<Real>(z) * Real(-log2_e));
        const Vector<Real> one = broadcast(Real(1));
        value = (z < Real(0) ? decay : one) / (decay + one);
    }
};

template <>
struct Sigma<Activation::silu> {
    template <class Real>
    static DEEPLIMIT_INLINE Point<Real> at(Vector<Real> z, Real) {
        const Vector<Real> s = Logistic<Real>(z).value, value = z * s;
        return {value, s + value * (Real(1) - s)};
    }
};

template <>
struct Sigma<Activation::shifted_softplus> {
    template <class Real>
    static DEEPLIMIT_INLINE Point<Real> at(Vector<Real> z, Real) {
        const Logistic<Real> s(z);
        const Vector<Real> linear = z < Real(0) ? Vector<Real>{} : z;
        return {linear + (log1p<Real>(s.decay) - Real(0.69314718055994530942)), s.value};
    }
};

// What is computed of `count` pre-activations z: the values, in place of z, or the values and, in place of z, the slopes.
template <class Real>
struct Elementwise {
    void (*values)(Real* z, Index count, Real negative_slope);
    void (*values_and_slopes)(Real* z, Real* a, Index count, Real negative_slope);
};

template <class Real, Activation A>
void values(Real* z, Index count, Real negative_slope) {
    for (Index i = 0; i < count; i += lanes<Real>)
        store<Real>(z + i, Sigma<A>::template at<Real>(load(z + i), negative_slope).value);
}

template <class Real, Activation A>
void values_and_slopes(Real* z, Real* a, Index count, Real negative_slope) {
    for (Index i = 0; i < count; i += lanes<Real>) {
        const Point<Real> point = Sigma<A>::template at<Real>(load(z + i), negative_slope);
        store<Real>(a + i, point.value);
        store<Real>(z + i, point.slope);
    }
}

template <class Real, int... A>
Elementwise<Real> choose(Activation activation, std::integer_sequence<int, A...>) {
    static constexpr Elementwise<Real> all[] = {{values<Real, Activation(A)>, values_and_slopes<Real, Activation(A)>}...};
    return all[static_cast<int>(activation)];
}

template <class Real>
Elementwise<Real> elementwise(Activation activation) {
    return choose<Real>(activation, std::make_integer_sequence<int, static_cast<int>(Activation::count)>{});
}

}  // namespace
}  // namespace deeplimit::DEEPLIMIT_ISA
