// A stack of convolutions (convolution.hpp), phase by phase, on one part of the samples. Compiled once for each instruction set.
#include "kernels.hpp"

#include "layer.hpp"
#include "winograd.hpp"

namespace deeplimit::DEEPLIMIT_ISA {
namespace {

template <class Real>
Index padded(const Convolutions<Real>& s) {
    return round_up(s.channels, lanes<Real>);
}

// Where things stand in what is kept.
template <class Real>
struct Kept {
    const Convolutions<Real>& s;
    Real* block;

    Index layers() const { return s.keeps ? s.depth : 1; }
    Index sample() const { return s.height * s.width * padded(s); }

    Real* map(Index layer, Map which, Index i) const {
        return block + (((s.keeps ? layer : 0) * maps + which) * s.samples + i) * sample();
    }

    // Of the first (0) or second (1) normalisation.
    Real* row(Index layer, Index which, Row row) const {
        return block + layers() * maps * s.samples * sample() + (((s.keeps ? layer : 0) * 2 + which) * rows_count + row) * padded(s);
    }

    Index size() const { return layers() * (maps * s.samples * sample() + 2 * rows_count * padded(s)); }
};

// One part: its samples and its working memory.
template <class Real>
class Part {
public:
    Part(const ConvolutionPass<Real>& call, Index layer, Index part, Real* scratch)
        : call(call), s(call.stack), kept{s, call.kept}, grid(s.height, s.width, padded(s)), k(layer), C(grid.channels),
          pixels(s.height * s.width), sigma(elementwise<Real>(s.activation)),
          gradient(call.parts ? call.parts + part * kernel_size() : nullptr),
          samples{first_row(part, parts_of(s), s.samples), first_row(part + 1, parts_of(s), s.samples)} {
        Arena<Real> arena(scratch);
        V = arena.take(places * grid.plane), M = arena.take(places * grid.plane);
        input = arena.take(grid.bordered()), output = arena.take(grid.bordered()), pulled = arena.take(grid.bordered());
        slopes = arena.take(grid.map()), bias = arena.take(C);
        used = arena.used();
    }

    Index scratch() const { return used; }

    void run(Phase phase) {
        __builtin_memset(input, 0, grid.bordered() * sizeof(Real));
        __builtin_memset(output, 0, grid.bordered() * sizeof(Real));
        if (phase == Phase::pull_second || phase == Phase::pull_first) __builtin_memset(gradient, 0, kernel_size() * sizeof(Real));
        if (phase == Phase::first || phase == Phase::second) load_bias(phase == Phase::second);
        for (Index i = samples.from; i < samples.to; ++i) {
            switch (phase) {
                case Phase::first: first(i); break;
                case Phase::second: second(i); break;
                case Phase::last: last(i); break;
                case Phase::start: start(i); break;
                case Phase::pull_second: pull_second(i); break;
                case Phase::pull_first: pull_first(i); break;
            }
        }
    }

private:
    // z1 of a layer, and its state from the layer before.
    void first(Index i) {
        Real* h = kept.map(k, map_h, i);
        if (k == 0)
            pack(call.first + i * pixels * s.channels, pixels, s.channels, Real(1), h);
        else
            step(i, h);
        fill(input, h);
        convolve(0, kept.map(k, map_z1, i));
        moments(kept.map(k, map_z1, i), i);
    }

    void second(Index i) {
        const Real* z = kept.map(k, map_z1, i);
        for (Index y = 0; y < s.height; ++y) {
            normalise(z + y * s.width * C, s.width, 0, input + grid.at(y));
            sigma.values(input + grid.at(y), s.width * C, s.negative_slope);
        }
        convolve(1, kept.map(k, map_z2, i));
        moments(kept.map(k, map_z2, i), i);
    }

    // h_L.
    void last(Index i) {
        step(i, slopes);
        unpack(slopes, pixels, s.channels, Real(1), call.last + i * pixels * s.channels);
    }

    // next = h + scale * N(z2) of the layer before this one.
    void step(Index i, Real* next) const {
        const Real *h = kept.map(k - 1, map_h, i), *z = kept.map(k - 1, map_z2, i);
        for (Index c = 0; c < C; c += lanes<Real>) {
            const Vector<Real> mean = row(k - 1, 1, row_mean, c), gain = s.scale * row(k - 1, 1, row_gain, c);
            const Vector<Real> shift = s.scale * row(k - 1, 1, row_shift, c);
            for (Index j = c; j < pixels * C; j += C) store<Real>(next + j, load(h + j) + ((load(z + j) - mean) * gain + shift));
        }
    }

    void start(Index i) {
        Real* p = call.p + i * grid.map();
        pack(call.direction + i * pixels * s.channels, pixels, s.channels, Real(1), p);
        products(k, 1, i, p, kept.map(k, map_z2, i));
    }

    // From d loss / d h_{k+1}: that of the second kernels, and d loss / d N(z1).
    void pull_second(Index i) {
        const Real* z = kept.map(k, map_z1, i);
        for (Index y = 0; y < s.height; ++y) {
            Real* row = slopes + y * s.width * C;
            normalise(z + y * s.width * C, s.width, 0, row);
            sigma.values_and_slopes(row, input + grid.at(y), s.width * C, s.negative_slope);
        }
        pull_norm(1, call.p + i * grid.map(), kept.map(k, map_z2, i));
        pull_convolution(1);
        Real* g = call.g + i * grid.map();
        for (Index y = 0; y < s.height; ++y)
            for (Index j = 0; j < s.width * C; j += lanes<Real>)
                store<Real>(g + y * s.width * C + j, load(pulled + grid.at(y) + j) * load(slopes + y * s.width * C + j));
        products(k, 0, i, g, z);
    }

    // From d loss / d N(z1): that of the first kernels, and d loss / d h_k.
    void pull_first(Index i) {
        fill(input, kept.map(k, map_h, i));
        pull_norm(0, call.g + i * grid.map(), kept.map(k, map_z1, i));
        pull_convolution(0);
        Real* p = call.p + i * grid.map();
        for (Index y = 0; y < s.height; ++y)
            for (Index j = 0; j < s.width * C; j += lanes<Real>)
                store<Real>(p + y * s.width * C + j, load(p + y * s.width * C + j) + load(pulled + grid.at(y) + j));
        if (k > 0)
            products(k - 1, 1, i, p, kept.map(k - 1, map_z2, i));
        else
            unpack(p, pixels, s.channels, Real(1), call.out.h + i * pixels * s.channels);
    }

    // ---------------------------------------------------------------------------------------------- one sample

    Vector<Real> row(Index layer, Index which, Row which_row, Index c) const { return load(kept.row(layer, which, which_row) + c); }

    void fill(Real* bordered, const Real* map) const {
        for (Index y = 0; y < s.height; ++y) __builtin_memcpy(bordered + grid.at(y), map + y * s.width * C, s.width * C * sizeof(Real));
    }

    void normalise(const Real* z, Index count, Index which, Real* to) const {
        for (Index c = 0; c < C; c += lanes<Real>) {
            const Vector<Real> mean = row(k, which, row_mean, c), gain = row(k, which, row_gain, c), shift = row(k, which, row_shift, c);
            for (Index j = c; j < count * C; j += C) store<Real>(to + j, (load(z + j) - mean) * gain + shift);
        }
    }

    // d loss / d z into the bordered output.
    void pull_norm(Index which, const Real* p, const Real* z) const {
        for (Index c = 0; c < C; c += lanes<Real>) {
            const Vector<Real> mean = row(k, which, row_mean, c);
            const Vector<Real> pull = load(call.pulls + c), middle = load(call.pulls + C + c), tilt = load(call.pulls + 2 * C + c);
            for (Index y = 0; y < s.height; ++y) {
                Real* to = output + grid.at(y);
                const Index from = y * s.width * C;
                for (Index j = c; j < s.width * C; j += C)
                    store<Real>(to + j, pull * ((load(p + from + j) - middle) - (load(z + from + j) - mean) * tilt));
            }
        }
    }

    // The mean of a map, and the sum of squares about it: of a second pass, so that a mean far from 0 does not spoil it.
    void moments(const Real* z, Index i) const {
        if (!s.gain[0]) return;
        Real* to = call.sums + i * 2 * C;
        const Real share = Real(1) / static_cast<Real>(pixels);
        for (Index c = 0; c < C; c += lanes<Real>) {
            const Vector<Real> mean = share * sum_of([&](Index j) { return load(z + c + j * C); });
            Vector<Real> off{};
            const Vector<Real> squares = sum_of([&](Index j) {
                const Vector<Real> d = load(z + c + j * C) - mean;
                off += d;
                return d * d;
            });
            store<Real>(to + c, mean + share * off);
            store<Real>(to + C + c, squares - share * (off * off));
        }
    }

    // Over a map: of p, and of p (z - mean).
    void products(Index layer, Index which, Index i, const Real* p, const Real* z) const {
        if (!s.gain[0] && !s.b[0] && !s.b[1]) return;
        Real* to = call.sums + i * 2 * C;
        for (Index c = 0; c < C; c += lanes<Real>) {
            const Vector<Real> mean = row(layer, which, row_mean, c);
            store<Real>(to + c, sum_of([&](Index j) { return load(p + c + j * C); }));
            store<Real>(to + C + c, sum_of([&](Index j) { return load(p + c + j * C) * (load(z + c + j * C) - mean); }));
        }
    }

    // Over pixels, in four sums at once.
    template <class Term>
    DEEPLIMIT_INLINE Vector<Real> sum_of(const Term& term) const {
        Vector<Real> totals[4] = {};
        Index j = 0;
        for (; j + 4 <= pixels; j += 4)
            totals[0] += term(j), totals[1] += term(j + 1), totals[2] += term(j + 2), totals[3] += term(j + 3);
        for (; j < pixels; ++j) totals[0] += term(j);
        return (totals[0] + totals[1]) + (totals[2] + totals[3]);
    }

    void load_bias(Index which) {
        for (Index c = 0; c < C; ++c) bias[c] = s.b[which] && c < s.channels ? s.b[which][k * s.channels + c] : Real(0);
    }

    Index kernel_size() const { return places * s.channels * C; }
    Index band_end(Index from) const { return from + grid.band < grid.down ? from + grid.band : grid.down; }

    // The bordered input to a map.
    void convolve(Index which, Real* z) {
        for (Index from = 0; from < grid.down; from = band_end(from)) {
            const Index to = band_end(from), tiles = (to - from) * grid.across;
            transform_input(grid, input, from, to, V);
            for (Index i = 0; i < places; ++i)
                multiply<Real, Finish::set>({tiles, C, s.channels, V + i * grid.plane, C, 1, kernel(which, i), C, M + i * grid.plane, C,
                                             nullptr, 0});
            transform_output(grid, M, bias, from, to, z);
        }
    }

    // From the bordered output's gradient: the kernels', and the bordered input's.
    void pull_convolution(Index which) {
        for (Index from = 0; from < grid.down; from = band_end(from)) {
            const Index to = band_end(from), tiles = (to - from) * grid.across;
            transform_input(grid, input, from, to, V);
            pull_output(grid, output, from, to, M);
            for (Index i = 0; i < places; ++i) {
                Real *v = V + i * grid.plane, *m = M + i * grid.plane, *to_gradient = gradient + i * s.channels * C;
                multiply<Real, Finish::add>({s.channels, C, tiles, v, 1, C, m, C, to_gradient, C, to_gradient, C});
                multiply<Real, Finish::set>({tiles, C, s.channels, m, C, 1, kernel(which, i), C, v, C, nullptr, 0});
            }
            pull_input(grid, V, from, to, pulled);
        }
    }

    const Real* kernel(Index which, Index place) const { return call.kernels[which] + place * s.channels * C; }

    const ConvolutionPass<Real>& call;
    const Convolutions<Real>& s;
    const Kept<Real> kept;
    const Grid grid;
    const Index k, C, pixels;      // C: padded
    const Elementwise<Real> sigma;
    Real* const gradient;          // of transformed kernels, over this part
    const Range samples;
    Real *V, *M;                   // transformed tiles of a band
    Real *input, *output, *pulled; // bordered maps: the input, and the gradients of output and input
    Real *slopes, *bias;
    Index used;                    // Reals of working memory
};

template <class Real>
Index scratch(const Convolutions<Real>& s) {
    ConvolutionPass<Real> none{s, nullptr, nullptr, nullptr, nullptr, {}, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, {}};
    return Part<Real>(none, 0, 0, nullptr).scratch();
}

template <class Real>
void run(const ConvolutionPass<Real>& call, Phase phase, Index layer, Index part, Real* scratch) {
    Part<Real>(call, layer, part, scratch).run(phase);
}

// ------------------------------------------------------------------------------------------ between two phases

// The kernels of a layer, transformed: [places, C in, C out], or [places, C out, C in] for the way back.
template <class Real>
void prepare(const ConvolutionPass<Real>& call, Index layer, bool backward) {
    const Convolutions<Real>& s = call.stack;
    const Index n = s.channels, C = padded(s), from_step = backward ? n * 9 : 9, to_step = backward ? 9 : n * 9;
    for (Index which = 0; which < 2; ++which) {
        const Real* W = s.W[which] + layer * n * n * 9;
        for (Index i = 0; i < n; ++i) {
            for (Index c = 0; c < C; c += lanes<Real>) {
                Vector<Real> g[9] = {}, u[places];
                for (Index j = 0; j < lanes<Real> && c + j < n; ++j)
                    for (int t = 0; t < 9; ++t) g[t][j] = W[i * from_step + (c + j) * to_step + t];
                transform_kernel<Real>(g, u);
                for (Index place = 0; place < places; ++place) store<Real>(call.kernels[which] + (place * n + i) * C + c, u[place]);
            }
        }
    }
}

// Sums over samples in double, whatever the precision.
template <class Real>
struct Totals {
    double sums[2][lanes<Real>] = {};

    // Terms: the first of a sample, and the second.
    template <class Term>
    DEEPLIMIT_INLINE Totals(const ConvolutionPass<Real>& call, Index c, const Term& term) {
        const Index C = padded(call.stack);
        for (Index i = 0; i < call.stack.samples; ++i)
            for (Index j = 0; j < lanes<Real>; ++j) {
                const Real* at = call.sums + 2 * i * C + c + j;
                term(j, static_cast<double>(at[0]), static_cast<double>(at[C]), sums);
            }
    }
};

// The rows of a normalisation, and the moments of the batch.
template <class Real>
void gather_moments(const ConvolutionPass<Real>& call, Index layer, Index which) {
    const Convolutions<Real>& s = call.stack;
    const Index n = s.channels, C = padded(s);
    const Kept<Real> kept{s, call.kept};
    Real *mean = kept.row(layer, which, row_mean), *inverse = kept.row(layer, which, row_inverse);
    Real *gain = kept.row(layer, which, row_gain), *shift = kept.row(layer, which, row_shift);
    for (Index c = 0; c < C; ++c) mean[c] = inverse[c] = shift[c] = 0, gain[c] = c < n ? Real(1) : Real(0);
    if (!s.gain[0]) return;
    const double pixels = static_cast<double>(s.height * s.width), samples = static_cast<double>(s.samples), count = samples * pixels;
    for (Index c = 0; c < C; c += lanes<Real>) {
        const Totals<Real> first(call, c, [](Index j, double m, double, auto& sums) { sums[0][j] += m; });
        const Totals<Real> all(call, c, [&](Index j, double m, double squares, auto& sums) {
            const double off = m - first.sums[0][j] / samples;
            sums[1][j] += squares + pixels * (off * off);
        });
        for (Index j = 0; j < lanes<Real> && c + j < n; ++j) {
            const double middle = first.sums[0][j] / samples, variance = all.sums[1][j] / count;
            const double root = 1 / __builtin_sqrt(variance + s.eps);
            const Index at = layer * n + c + j, to = (layer * 2 + which) * 2 * n + c + j;
            mean[c + j] = static_cast<Real>(middle), inverse[c + j] = static_cast<Real>(root);
            gain[c + j] = static_cast<Real>(root * static_cast<double>(s.gain[which][at])), shift[c + j] = s.shift[which][at];
            call.moments[to] = static_cast<Real>(middle);
            call.moments[to + n] = static_cast<Real>(all.sums[1][j] / (count - 1));
        }
    }
}

// From the sums of a gradient p: the gradients of gain, shift and bias, and how p is pulled through the normalisation.
template <class Real>
void gather_pulls(const ConvolutionPass<Real>& call, Index layer, Index which) {
    const Convolutions<Real>& s = call.stack;
    const Index n = s.channels, C = padded(s);
    const Kept<Real> kept{s, call.kept};
    const Real *inverse = kept.row(layer, which, row_inverse), *gain = kept.row(layer, which, row_gain);
    const double count = static_cast<double>(s.samples * s.height * s.width), scale = which == 1 ? static_cast<double>(s.scale) : 1;
    const bool normalises = s.gain[0], summed = normalises || s.b[0] || s.b[1];
    for (Index c = 0; c < C; ++c)
        call.pulls[c] = static_cast<Real>(scale * static_cast<double>(gain[c])), call.pulls[C + c] = call.pulls[2 * C + c] = 0;
    for (Index c = 0; summed && c < C; c += lanes<Real>) {
        const Totals<Real> of(call, c, [](Index j, double p, double product, auto& sums) { sums[0][j] += p, sums[1][j] += product; });
        for (Index j = 0; j < lanes<Real> && c + j < n; ++j) {
            const Index at = layer * n + c + j;
            const double root = static_cast<double>(inverse[c + j]), p = of.sums[0][j], product = of.sums[1][j];
            // What a bias adds, the normalisation takes away again.
            if (s.b[which]) call.out.b[which][at] = normalises ? Real(0) : static_cast<Real>(scale * p);
            if (!normalises) continue;
            call.out.gain[which][at] = static_cast<Real>(scale * root * product);
            call.out.shift[which][at] = static_cast<Real>(scale * p);
            call.pulls[C + c + j] = static_cast<Real>(p / count);
            call.pulls[2 * C + c + j] = static_cast<Real>(root * root * product / count);
        }
    }
}

// The gradient of a layer's kernels: the sum over the parts, in their order.
template <class Real>
void gather_kernels(const ConvolutionPass<Real>& call, Index layer, Index which) {
    const Convolutions<Real>& s = call.stack;
    const Index n = s.channels, C = padded(s), size = places * n * C;
    Real* to = call.out.W[which] + layer * n * n * 9;
    for (Index i = 0; i < n; ++i) {
        for (Index c = 0; c < C; c += lanes<Real>) {
            Vector<Real> u[places] = {}, g[9];
            for (Index part = 0; part < parts_of(s); ++part)
                for (Index place = 0; place < places; ++place) u[place] += load(call.parts + part * size + (place * n + i) * C + c);
            pull_kernel<Real>(u, g);
            for (Index j = 0; j < lanes<Real> && c + j < n; ++j)
                for (int t = 0; t < 9; ++t) to[((c + j) * n + i) * 9 + t] = g[t][j];
        }
    }
}

template <class Real>
void gather(const ConvolutionPass<Real>& call, Phase phase, Index layer) {
    switch (phase) {
        case Phase::first: gather_moments(call, layer, 0); break;
        case Phase::second: gather_moments(call, layer, 1); break;
        case Phase::last: break;
        case Phase::start: gather_pulls(call, layer, 1); break;
        case Phase::pull_second: gather_kernels(call, layer, 1), gather_pulls(call, layer, 0); break;
        case Phase::pull_first:
            gather_kernels(call, layer, 0);
            if (layer > 0) gather_pulls(call, layer - 1, 1);
            break;
    }
}

template <class Real>
constexpr ConvolutionKernels<Real> convolution_kernels{lanes<Real>, scratch<Real>, prepare<Real>, run<Real>, gather<Real>};

const ConvolutionSet table{convolution_kernels<float>, convolution_kernels<double>};

}  // namespace

const ConvolutionSet& convolutions() { return table; }

}  // namespace deeplimit::DEEPLIMIT_ISA
