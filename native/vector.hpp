// Vectors as wide as the registers of the instruction set that this file is compiled for.
// A wider type than the registers compiles too, but is spilled to memory: many times slower.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__AVX512F__)
#define DEEPLIMIT_BYTES 64
#define DEEPLIMIT_REGISTERS 32
#elif defined(__AVX2__)
#define DEEPLIMIT_BYTES 32
#define DEEPLIMIT_REGISTERS 16
#elif defined(__aarch64__)
#define DEEPLIMIT_BYTES 16
#define DEEPLIMIT_REGISTERS 32
#else
#define DEEPLIMIT_BYTES 16
#define DEEPLIMIT_REGISTERS 16
#endif

#define DEEPLIMIT_INLINE inline __attribute__((always_inline))

namespace deeplimit::DEEPLIMIT_ISA {
namespace {

template <class Real>
struct VectorOf;
template <>
struct VectorOf<float> {
    typedef float Reals __attribute__((vector_size(DEEPLIMIT_BYTES)));
    typedef std::int32_t Integers __attribute__((vector_size(DEEPLIMIT_BYTES)));
};
template <>
struct VectorOf<double> {
    typedef double Reals __attribute__((vector_size(DEEPLIMIT_BYTES)));
    typedef std::int64_t Integers __attribute__((vector_size(DEEPLIMIT_BYTES)));
};
template <class Real>
using Vector = typename VectorOf<Real>::Reals;
template <class Real>
using Integers = typename VectorOf<Real>::Integers;

template <class Real>
constexpr Index lanes = DEEPLIMIT_BYTES / sizeof(Real);

template <class Real>
DEEPLIMIT_INLINE Vector<Real> load(const Real* from) {
    Vector<Real> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

template <class Real>
DEEPLIMIT_INLINE void store(Real* to, Vector<Real> v) {
    __builtin_memcpy(to, &v, sizeof v);
}

template <class Real>
DEEPLIMIT_INLINE Vector<Real> broadcast(Real x) {
    return x - Vector<Real>{};  // x - 0 is x, also for x = -0
}

// The sum of all lanes, in a fixed order.
template <class Real>
DEEPLIMIT_INLINE Real sum(Vector<Real> v) {
    Real total = 0;
    for (Index i = 0; i < lanes<Real>; ++i) total += v[i];
    return total;
}

// One stage of a transposition: rows a, b of two blocks side by side exchange the blocks of size S off the diagonal.
template <class Real, std::size_t S, std::size_t... I>
DEEPLIMIT_INLINE void exchange(Vector<Real>& a, Vector<Real>& b, std::index_sequence<I...>) {
    constexpr std::size_t n = lanes<Real>;
    const Vector<Real> x = a, y = b;
    a = __builtin_shufflevector(x, y, ((I & S) ? n + (I ^ S) : I)...);
    b = __builtin_shufflevector(x, y, ((I & S) ? n + I : (I ^ S))...);
}

template <class Real, std::size_t S = lanes<Real> / 2>
DEEPLIMIT_INLINE void transpose(Vector<Real> (&rows)[lanes<Real>]) {
    if constexpr (S > 0) {
#pragma GCC unroll 16
        for (std::size_t i = 0; i < lanes<Real>; ++i)
            if (!(i & S)) exchange<Real, S>(rows[i], rows[i | S], std::make_index_sequence<lanes<Real>>{});
        transpose<Real, S / 2>(rows);
    }
}

}  // namespace
}  // namespace deeplimit::DEEPLIMIT_ISA
