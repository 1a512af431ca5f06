// The stack of convolutions against the formulas of convolution.hpp written plainly, in a wider type; and the same bits on any threads.
#include <vector>

#include "convolution.hpp"
#include "problem.hpp"
#include "naive.hpp"

namespace {

using deeplimit::Convolutions;

struct Shape {
    Index samples, channels, height, width, depth;
};

constexpr Shape shapes[] = {
    {1, 1, 1, 1, 1},  {1, 3, 2, 3, 2},   {2, 2, 1, 5, 1},   {3, 16, 10, 10, 2}, {5, 4, 3, 4, 3},  {7, 17, 4, 3, 1},
    {8, 8, 5, 5, 2},  {9, 5, 6, 2, 2},   {20, 16, 4, 5, 1}, {2, 33, 3, 3, 1},   {1, 2, 3, 70, 1}, {2, 3, 18, 37, 1},
};

// The results, by number: h_L, the moments, and the gradients.
enum { r_last, r_moments, r_h, r_W1, r_W2, r_b1, r_b2, r_gain1, r_gain2, r_shift1, r_shift2, r_count };
constexpr const char* r_names[] = {"last", "moments", "h", "W1", "W2", "b1", "b2", "gain1", "gain2", "shift1", "shift2"};

template <class Real>
struct Stacked {
    Convolutions<Real> s{};
    Buffer<Real> W[2], b[2], gain[2], shift[2], first, direction;
    std::string name;

    Stacked(const Shape& shape, bool bias, bool norm, Activation activation, std::uint64_t seed) {
        s.depth = shape.depth, s.samples = shape.samples, s.channels = shape.channels, s.height = shape.height, s.width = shape.width;
        s.activation = activation, s.negative_slope = Real(0.125), s.scale = Real(0.7), s.eps = 0.01, s.keeps = true;
        Random random(seed);
        const auto drawn = [&](Index count, double middle, double spread) {
            Buffer<Real> values(count);
            for (Real& value : values) value = static_cast<Real>(random.uniform(middle - spread, middle + spread));
            return values;
        };
        const Index L = s.depth, C = s.channels, all = s.samples * C * s.height * s.width;
        for (int i = 0; i < 2; ++i) {
            W[i] = drawn(L * C * C * 9, 0, std::sqrt(3.0 / static_cast<double>(9 * C)));
            if (bias) b[i] = drawn(L * C, 0, 0.5);
            if (norm) gain[i] = drawn(L * C, 1, 0.5), shift[i] = drawn(L * C, 0, 0.5);
            s.W[i] = W[i].data(), s.b[i] = b[i].data(), s.gain[i] = gain[i].data(), s.shift[i] = shift[i].data();
        }
        first = drawn(all, 0, 1.7), direction = drawn(all, 0, 1.7);
        name = text(precision<Real>(), bias ? "bias" : "", norm ? "norm" : "", activation_names[static_cast<int>(activation)], "n",
                    s.samples, "C", C, "H", s.height, "W", s.width, "L", L);
    }

    // How many numbers each result has.
    std::array<Index, r_count> sizes() const {
        const Index layers = s.depth * s.channels;
        const Index moments = gain[0].size() ? 4 * layers : 0;
        return {first.size(), moments, first.size(), W[0].size(), W[1].size(), b[0].size(),
                b[1].size(), gain[0].size(), gain[1].size(), shift[0].size(), shift[1].size()};
    }
};

template <class Real>
std::array<Buffer<Real>, r_count> computed(const Stacked<Real>& problem, bool keeps, Index threads) {
    Convolutions<Real> s = problem.s;
    s.keeps = keeps;
    std::array<Buffer<Real>, r_count> found;
    const auto sizes = problem.sizes();
    for (int i = 0; i < r_count; ++i)
        if (sizes[i]) found[i] = Buffer<Real>(sizes[i]);
    const Buffer<Real> kept(deeplimit::kept_size(s));
    deeplimit::forward(s, problem.first.data(), found[r_last].data(), kept.data(), found[r_moments].data(), threads);
    const auto at = [&](int i) { return found[i].data(); };
    if (keeps)
        deeplimit::backward<Real>(s, problem.direction.data(), kept.data(),
                                  {at(r_h), {at(r_W1), at(r_W2)}, {at(r_b1), at(r_b2)}, {at(r_gain1), at(r_gain2)}, {at(r_shift1), at(r_shift2)}},
                                  threads);
    CHECK(kept.intact(), problem.name, keeps, threads);
    for (int i = 0; i < r_count; ++i) CHECK(found[i].intact(), problem.name, r_names[i], keeps, threads);
    return found;
}

// One pixel after the other. Maps are [n, H, W, C].
template <class Wide, class Real>
class Naive {
public:
    using Maps = std::vector<Wide>;

    explicit Naive(const Stacked<Real>& problem) : s(problem.s), size(problem.first.size()) {
        const auto sizes = problem.sizes();
        for (int i = 0; i < r_count; ++i) all[i].assign(static_cast<std::size_t>(sizes[i]), 0);
        std::vector<Layer> layers(static_cast<std::size_t>(s.depth));
        Maps h(problem.first.begin(), problem.first.end());
        for (Index k = 0; k < s.depth; ++k) {
            Layer& layer = layers[k];
            layer.in[0] = h;
            for (int i = 0; i < 2; ++i) {
                layer.z[i] = convolve(layer.in[i], k, i);
                layer.y[i] = normalise(layer, k, i);
                if (i == 0) layer.in[1] = activate(layer.y[0]);
            }
            for (Index j = 0; j < size; ++j) h[j] += s.scale * layer.y[1][j];
        }
        all[r_last] = h;
        Maps p(problem.direction.begin(), problem.direction.end());
        for (Index k = s.depth - 1; k >= 0; --k) {
            Maps g = p;
            for (Wide& value : g) value *= s.scale;
            for (int i = 1; i >= 0; --i) {
                g = pull_convolution(layers[k].in[i], pull_norm(layers[k], g, k, i), k, i);
                if (i == 1)
                    for (Index j = 0; j < size; ++j) g[j] *= naive_sigma<Wide>(s.activation, layers[k].y[0][j], s.negative_slope).slope;
            }
            for (Index j = 0; j < size; ++j) p[j] += g[j];
        }
        all[r_h] = p;
    }

    std::array<Maps, r_count> all;
    Wide nearest = std::numeric_limits<Wide>::infinity();  // how far from a kink

private:
    struct Layer {
        Maps in[2], z[2], y[2];
        std::vector<Wide> mean[2], inverse[2];
    };

    // Calls with a kernel's number and those of an output and an input that it connects.
    template <class Call>
    void connections(Index k, const Call& call) const {
        const Index C = s.channels;
        for (Index n = 0; n < s.samples; ++n)
            for (Index y = 0; y < s.height; ++y)
                for (Index x = 0; x < s.width; ++x)
                    for (Index t = 0; t < 9; ++t) {
                        const Index v = y + t / 3 - 1, u = x + t % 3 - 1;
                        if (v < 0 || u < 0 || v >= s.height || u >= s.width) continue;
                        const Index out = ((n * s.height + y) * s.width + x) * C, in = ((n * s.height + v) * s.width + u) * C;
                        for (Index o = 0; o < C; ++o)
                            for (Index i = 0; i < C; ++i) call(((k * C + o) * C + i) * 9 + t, out + o, in + i);
                    }
    }

    Maps convolve(const Maps& in, Index k, int i) const {
        Maps out(in.size(), 0);
        connections(k, [&](Index w, Index to, Index from) { out[to] += s.W[i][w] * in[from]; });
        for (Index j = 0; s.b[i] && j < size; ++j) out[j] += s.b[i][k * s.channels + j % s.channels];
        return out;
    }

    Maps pull_convolution(const Maps& in, const Maps& g, Index k, int i) {
        Maps pulled(in.size(), 0);
        connections(k, [&](Index w, Index to, Index from) {
            pulled[from] += s.W[i][w] * g[to];
            all[r_W1 + i][w] += in[from] * g[to];
        });
        for (Index j = 0; s.b[i] && j < size; ++j) all[r_b1 + i][k * s.channels + j % s.channels] += g[j];
        return pulled;
    }

    Maps normalise(Layer& layer, Index k, int i) {
        const Maps& z = layer.z[i];
        if (!s.gain[i]) return z;
        const Index C = s.channels;
        const Wide count = static_cast<Wide>(size / C);
        std::vector<Wide> mean(C, 0), squares(C, 0), inverse(C);
        for (Index j = 0; j < size; ++j) mean[j % C] += z[j] / count;
        for (Index j = 0; j < size; ++j) squares[j % C] += (z[j] - mean[j % C]) * (z[j] - mean[j % C]);
        for (Index c = 0; c < C; ++c) {
            inverse[c] = 1 / std::sqrt(squares[c] / count + s.eps);
            all[r_moments][((k * 2 + i) * 2) * C + c] = mean[c];
            all[r_moments][((k * 2 + i) * 2 + 1) * C + c] = squares[c] / (count - 1);
        }
        Maps y(z.size());
        for (Index j = 0; j < size; ++j) y[j] = (z[j] - mean[j % C]) * inverse[j % C] * s.gain[i][k * C + j % C] + s.shift[i][k * C + j % C];
        layer.mean[i] = mean, layer.inverse[i] = inverse;
        return y;
    }

    Maps pull_norm(const Layer& layer, const Maps& g, Index k, int i) {
        if (!s.gain[i]) return g;
        const Index C = s.channels;
        const Wide count = static_cast<Wide>(size / C);
        std::vector<Wide> sum(C, 0), product(C, 0);
        const auto normal = [&](Index j) { return (layer.z[i][j] - layer.mean[i][j % C]) * layer.inverse[i][j % C]; };
        for (Index j = 0; j < size; ++j) sum[j % C] += g[j], product[j % C] += g[j] * normal(j);
        for (Index c = 0; c < C; ++c) all[r_gain1 + i][k * C + c] = product[c], all[r_shift1 + i][k * C + c] = sum[c];
        Maps pulled(g.size());
        for (Index j = 0; j < size; ++j) {
            const Index c = j % C;
            pulled[j] = s.gain[i][k * C + c] * layer.inverse[i][c] * (g[j] - sum[c] / count - normal(j) * product[c] / count);
        }
        return pulled;
    }

    Maps activate(const Maps& y) {
        Maps out(y.size());
        for (Index j = 0; j < size; ++j) {
            nearest = std::min(nearest, std::abs(y[j]));
            out[j] = naive_sigma<Wide>(s.activation, y[j], s.negative_slope).value;
        }
        return out;
    }

    Convolutions<Real> s;
    Index size;
};

// Sums of up to some thousand rounded products, divided by a deviation of at least 0.1: any mistake would be larger by orders.
template <class Real>
void compare(const Shape& shape, bool bias, bool norm, Activation activation, std::uint64_t seed) {
    using Wide = std::conditional_t<std::is_same_v<Real, float>, double, long double>;
    const double most = std::is_same_v<Real, float> ? 2e-5 : 4e-14;
    if (norm && shape.samples * shape.height * shape.width == 1) return;
    Stacked<Real> problem(shape, bias, norm, activation, seed);
    Naive<Wide, Real> expected(problem);
    while (kinked(activation) && expected.nearest < most / 10) {  // the slope would depend on rounding
        seed += 1000000;
        problem = Stacked<Real>(shape, bias, norm, activation, seed);
        expected = Naive<Wide, Real>(problem);
    }
    const auto found = computed(problem, true, 1);
    for (int i = 0; i < r_count; ++i) {
        Wide error = 0, size = norm && (i == r_b1 || i == r_b2) ? 1 : 0;  // these are 0
        for (Index j = 0; j < found[i].size(); ++j) {
            const Wide e = std::abs(found[i][j] - expected.all[i][j]);
            error = e <= error ? error : e;  // NaN goes through
            size = std::max(size, std::abs(expected.all[i][j]));
        }
        CHECK(error <= most * size, static_cast<double>(error / size), r_names[i], problem.name);
    }
    for (const Index threads : {1, 2, 5}) {
        for (const bool keeps : {true, false}) {
            const auto again = computed(problem, keeps, threads);
            for (int i = 0; i < (keeps ? int(r_count) : int(r_h)); ++i)
                CHECK(same_bits(again[i], found[i]), r_names[i], problem.name, keeps, threads);
        }
    }
}

}  // namespace

void test_convolutions() {
    std::uint64_t seed = 1;
    for (const Shape& shape : shapes)
        for (const bool bias : {true, false})
            for (const bool norm : {true, false}) {
                const Activation activation = static_cast<Activation>(seed++ % activation_count);
                compare<float>(shape, bias, norm, activation, seed);
                compare<double>(shape, bias, norm, activation, seed);
            }
}
