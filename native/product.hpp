// Products of small matrices whose rows are padded to whole vectors: C = finish(sum_k A[i, k] B[k, :]).
#pragma once

#include "stack.hpp"
#include "vector.hpp"

namespace deeplimit::DEEPLIMIT_ISA {
namespace {

// A by any strides, so that it may stand transposed; B and C row by row. C may be the base.
template <class Real>
struct Product {
    Index rows, columns, terms;  // columns: a multiple of the lanes
    const Real* A;
    Index A_row, A_term;
    const Real* B;
    Index B_term;
    Real* C;
    Index C_row;
    const Real* base;
    Index base_row;              // 0: one row for all
};

enum class Finish { set, add, multiply };  // C = AB, base + AB, base * AB

// The part of C that registers hold: R rows of N vectors.
template <class Real, Finish F, int N, int R>
void tile(const Product<Real>& p, const Real* A, const Real* B, Index row, Index column) {
    Vector<Real> sums[R][N] = {};
    for (Index k = 0; k < p.terms; ++k) {
        Vector<Real> b[N];
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) b[j] = load(B + k * p.B_term + j * lanes<Real>);
#pragma GCC unroll 16
        for (int i = 0; i < R; ++i) {
            const Vector<Real> a = broadcast(A[i * p.A_row + k * p.A_term]);
#pragma GCC unroll 8
            for (int j = 0; j < N; ++j) sums[i][j] += a * b[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
            const Index at = column + j * lanes<Real>;
            Vector<Real> value = sums[i][j];
            if constexpr (F == Finish::add) value = load(p.base + (row + i) * p.base_row + at) + value;
            if constexpr (F == Finish::multiply) value = load(p.base + (row + i) * p.base_row + at) * value;
            store<Real>(p.C + (row + i) * p.C_row + at, value);
        }
    }
}

// As many sums as the registers hold beside N vectors of B and one of A: enough to hide the latency of a multiply-add.
constexpr int most_rows(int N) { return DEEPLIMIT_REGISTERS == 32 ? (N == 4 ? 6 : 12) : (N == 2 ? 6 : 12); }
constexpr int most_vectors = DEEPLIMIT_REGISTERS == 32 ? 4 : 2;

// N vectors of columns for all rows, in tiles of about equal height.
template <class Real, Finish F, int N, int... R>
void strip(const Product<Real>& p, Index column, std::integer_sequence<int, R...>) {
    static constexpr void (*tiles[])(const Product<Real>&, const Real*, const Real*, Index, Index) = {tile<Real, F, N, R + 1>...};
    const Index count = (p.rows + most_rows(N) - 1) / most_rows(N);
    for (Index i = 0, row = 0; i < count; ++i) {
        const Index height = (p.rows - row) / (count - i);
        tiles[height - 1](p, p.A + row * p.A_row, p.B + column, row, column);
        row += height;
    }
}

template <class Real, Finish F, int N = most_vectors>
void multiply(const Product<Real>& p, Index column = 0) {
    for (; column + N * lanes<Real> <= p.columns; column += N * lanes<Real>)
        strip<Real, F, N>(p, column, std::make_integer_sequence<int, most_rows(N)>{});
    if constexpr (N > 1) multiply<Real, F, N / 2>(p, column);
}

// Matrices of a layer, brought into rows of whole vectors and multiplied by a factor.

template <class Real>
void pack(const Real* from, Index rows, Index columns, Real factor, Real* to) {
    const Index padded = round_up(columns, lanes<Real>);
    for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < columns; ++j) to[i * padded + j] = factor * from[i * columns + j];
        for (Index j = columns; j < padded; ++j) to[i * padded + j] = 0;
    }
}

template <class Real>
void unpack(const Real* from, Index rows, Index columns, Real factor, Real* to) {
    const Index padded = round_up(columns, lanes<Real>);
    for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < columns; ++j) to[i * columns + j] = factor * from[i * padded + j];
}

// to [columns, padded rows] = factor * from^T: whole blocks in registers, what remains entry by entry.
template <class Real>
void pack_transposed(const Real* from, Index rows, Index columns, Real factor, Real* to) {
    constexpr Index n = lanes<Real>;
    const Index padded = round_up(rows, n), whole_rows = rows / n * n, whole_columns = columns / n * n;
    for (Index i = 0; i < whole_rows; i += n) {
        for (Index j = 0; j < whole_columns; j += n) {
            Vector<Real> block[n];
#pragma GCC unroll 16
            for (Index r = 0; r < n; ++r) block[r] = load(from + (i + r) * columns + j);
            transpose<Real>(block);
#pragma GCC unroll 16
            for (Index r = 0; r < n; ++r) store<Real>(to + (j + r) * padded + i, factor * block[r]);
        }
    }
    for (Index j = 0; j < columns; ++j) {
        for (Index i = j < whole_columns ? whole_rows : 0; i < rows; ++i) to[j * padded + i] = factor * from[i * columns + j];
        for (Index i = rows; i < padded; ++i) to[j * padded + i] = 0;
    }
}

}  // namespace
}  // namespace deeplimit::DEEPLIMIT_ISA
