// Convolutions with 3 x 3 kernels by products of matrices: F(2 x 2, 3 x 3) of Winograd's minimal filtering (Lavin and Gray 2016).
//
// A map is cut into tiles of 2 x 2 pixels. With the 4 x 4 pixels d around a tile, its kernel g and its result Y,
//
//     Y = A^T [(G g G^T) . (B^T d B)] A,
//
// where . is a product for each of the 16 places: summed over channels, 16 products of matrices with 4 multiplications per pixel in place
// of 9. The adjoint of each of the three transformations gives the gradients. The entries of A and B are 0, 1 and -1, those of G halves: in
// float32 the error is about that of the sum itself.
#pragma once

#include "convolution.hpp"
#include "vector.hpp"

namespace deeplimit::DEEPLIMIT_ISA {
namespace {

// Maps with all their channels; a bordered one has a border of zeros and, where sizes are odd, zeros that fill up the last tiles.
struct Grid {
    Index height, width, channels;  // channels: padded
    Index down, across;             // tiles
    Index pitch;                    // Reals in a row of a bordered map
    Index band;                     // rows of tiles that are transformed at once
    Index plane;                    // Reals of one place in a block of transformed tiles

    Grid(Index height, Index width, Index channels)
        : height(height), width(width), channels(channels), down((height + 1) / 2), across((width + 1) / 2),
          pitch((2 * across + 2) * channels) {
        constexpr Index tiles = 32;
        band = across < tiles ? tiles / across : 1;
        if (band > down) band = down;
        plane = band * across * channels;
    }

    Index map() const { return height * width * channels; }
    Index bordered() const { return (2 * down + 2) * pitch; }
    Index at(Index row) const { return (row + 1) * pitch + channels; }  // the first pixel of a row in a bordered map
};

template <class Real>
DEEPLIMIT_INLINE void load_column(const Real* from, Index pitch, Vector<Real> (&t)[4]) {
    const Vector<Real> d0 = load(from), d1 = load(from + pitch), d2 = load(from + 2 * pitch), d3 = load(from + 3 * pitch);
    t[0] = d0 - d2, t[1] = d1 + d2, t[2] = d2 - d1, t[3] = d1 - d3;
}

// B^T d B of the tiles in rows from ... to - 1 of a bordered map.
template <class Real>
void transform_input(const Grid& grid, const Real* map, Index from, Index to, Real* tiles) {
    const Index C = grid.channels;
    for (Index c = 0; c < C; c += lanes<Real>) {
        Real* out = tiles + c;
        for (Index i = from; i < to; ++i) {
            const Real* in = map + 2 * i * grid.pitch + c;
            Vector<Real> t[4][4];
            load_column(in, grid.pitch, t[0]);
            load_column(in + C, grid.pitch, t[1]);
            for (Index j = 0; j < grid.across; ++j, out += C) {
                load_column(in + (2 * j + 2) * C, grid.pitch, t[2]);
                load_column(in + (2 * j + 3) * C, grid.pitch, t[3]);
#pragma GCC unroll 4
                for (int r = 0; r < 4; ++r) {
                    Real* row = out + 4 * r * grid.plane;
                    store<Real>(row, t[0][r] - t[2][r]);
                    store<Real>(row + grid.plane, t[1][r] + t[2][r]);
                    store<Real>(row + 2 * grid.plane, t[2][r] - t[1][r]);
                    store<Real>(row + 3 * grid.plane, t[1][r] - t[3][r]);
                    t[0][r] = t[2][r], t[1][r] = t[3][r];
                }
            }
        }
    }
}

// A^T m A + bias into a map without border.
template <class Real>
void transform_output(const Grid& grid, const Real* tiles, const Real* bias, Index from, Index to, Real* map) {
    const Index C = grid.channels, row = grid.width * C;
    for (Index c = 0; c < C; c += lanes<Real>) {
        const Real* in = tiles + c;
        const Vector<Real> b = load(bias + c);
        for (Index i = from; i < to; ++i) {
            Real* out = map + 2 * i * row + c;
            const bool below = 2 * i + 1 < grid.height;
            for (Index j = 0; j < grid.across; ++j, in += C, out += 2 * C) {
                const bool beside = 2 * j + 1 < grid.width;
                Vector<Real> t[2][4];
#pragma GCC unroll 4
                for (int s = 0; s < 4; ++s) {
                    const Real* m = in + s * grid.plane;
                    const Vector<Real> m1 = load(m + 4 * grid.plane), m2 = load(m + 8 * grid.plane);
                    t[0][s] = load(m) + (m1 + m2);
                    t[1][s] = (m1 - m2) - load(m + 12 * grid.plane);
                }
                store<Real>(out, (t[0][0] + b) + (t[0][1] + t[0][2]));
                if (beside) store<Real>(out + C, (t[0][1] - t[0][2]) - (t[0][3] - b));
                if (below) store<Real>(out + row, (t[1][0] + b) + (t[1][1] + t[1][2]));
                if (below && beside) store<Real>(out + row + C, (t[1][1] - t[1][2]) - (t[1][3] - b));
            }
        }
    }
}

// The adjoint of the output's transformation, A y A^T, of a bordered map y.
template <class Real>
void pull_output(const Grid& grid, const Real* map, Index from, Index to, Real* tiles) {
    const Index C = grid.channels;
    for (Index c = 0; c < C; c += lanes<Real>) {
        Real* out = tiles + c;
        for (Index i = from; i < to; ++i) {
            const Real* in = map + grid.at(2 * i) + c;
            for (Index j = 0; j < grid.across; ++j, in += 2 * C, out += C) {
                const Vector<Real> a = load(in), b = load(in + C), d = load(in + grid.pitch), e = load(in + grid.pitch + C);
                const Vector<Real> left[4] = {a, a + d, a - d, -d}, right[4] = {b, b + e, b - e, -e};
#pragma GCC unroll 4
                for (int r = 0; r < 4; ++r) {
                    Real* row = out + 4 * r * grid.plane;
                    store<Real>(row, left[r]);
                    store<Real>(row + grid.plane, left[r] + right[r]);
                    store<Real>(row + 2 * grid.plane, left[r] - right[r]);
                    store<Real>(row + 3 * grid.plane, -right[r]);
                }
            }
        }
    }
}

// The adjoint of the input's transformation, B v B^T, added up over the tiles in a bordered map. Rows of tiles come in order, the first of
// them sets what is there.
template <class Real>
void pull_input(const Grid& grid, const Real* tiles, Index from, Index to, Real* map) {
    const Index C = grid.channels;
    for (Index c = 0; c < C; c += lanes<Real>) {
        const Real* in = tiles + c;
        for (Index i = from; i < to; ++i) {
            Real* out = map + 2 * i * grid.pitch + c;
            Vector<Real> left[4] = {}, right[4] = {};  // of the tile before
            for (Index j = 0; j <= grid.across; ++j, in += C, out += 2 * C) {
                Vector<Real> t[4][4] = {};
                if (j < grid.across) {
#pragma GCC unroll 4
                    for (int s = 0; s < 4; ++s) {
                        const Real* v = in + s * grid.plane;
                        const Vector<Real> v1 = load(v + 4 * grid.plane), v2 = load(v + 8 * grid.plane);
                        t[0][s] = load(v), t[1][s] = v1 - v2 + load(v + 12 * grid.plane);
                        t[2][s] = v1 + v2 - t[0][s], t[3][s] = -load(v + 12 * grid.plane);
                    }
                }
#pragma GCC unroll 4
                for (int r = 0; r < 4; ++r) {
                    const Vector<Real> x = left[r] + t[r][0], y = right[r] + (t[r][1] - t[r][2] + t[r][3]);
                    Real* to_x = out + r * grid.pitch;
                    const bool adds = r < 2 && i > 0;
                    store<Real>(to_x, adds ? load(to_x) + x : x);
                    store<Real>(to_x + C, adds ? load(to_x + C) + y : y);
                    left[r] = t[r][1] + t[r][2] - t[r][0], right[r] = -t[r][3];
                }
            }
            in -= C;
        }
    }
}

// G g G^T for a vector of kernels.
template <class Real>
DEEPLIMIT_INLINE void transform_kernel(const Vector<Real> (&g)[9], Vector<Real> (&u)[places]) {
    Vector<Real> t[4][3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
        const Vector<Real> outer = Real(0.5) * (g[j] + g[6 + j]), middle = Real(0.5) * g[3 + j];
        t[0][j] = g[j], t[1][j] = outer + middle, t[2][j] = outer - middle, t[3][j] = g[6 + j];
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        const Vector<Real> outer = Real(0.5) * (t[i][0] + t[i][2]), middle = Real(0.5) * t[i][1];
        u[4 * i] = t[i][0], u[4 * i + 1] = outer + middle, u[4 * i + 2] = outer - middle, u[4 * i + 3] = t[i][2];
    }
}

// Its adjoint, G^T u G.
template <class Real>
DEEPLIMIT_INLINE void pull_kernel(const Vector<Real> (&u)[places], Vector<Real> (&g)[9]) {
    Vector<Real> t[3][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        const Vector<Real> sum = Real(0.5) * (u[4 + j] + u[8 + j]);
        t[0][j] = u[j] + sum, t[1][j] = Real(0.5) * (u[4 + j] - u[8 + j]), t[2][j] = sum + u[12 + j];
    }
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) {
        const Vector<Real> sum = Real(0.5) * (t[i][1] + t[i][2]);
        g[3 * i] = t[i][0] + sum, g[3 * i + 1] = Real(0.5) * (t[i][1] - t[i][2]), g[3 * i + 2] = sum + t[i][3];
    }
}

}  // namespace
}  // namespace deeplimit::DEEPLIMIT_ISA
