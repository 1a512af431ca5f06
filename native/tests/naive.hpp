// The formulas of stack.hpp written plainly, one sample after the other, in a wider type.
#pragma once

#include <vector>

#include "problem.hpp"

template <class Wide>
struct Sigma {
    Wide value, slope;
};

template <class Wide>
Sigma<Wide> naive_sigma(Activation activation, Wide z, Wide negative_slope) {
    const Wide one = 1, log_2 = std::log(Wide(2)), root_2 = std::sqrt(Wide(2)), pi = std::acos(-one);
    switch (activation) {
        case Activation::identity: return {z, one};
        case Activation::tanh: return {std::tanh(z), one / (std::cosh(z) * std::cosh(z))};
        case Activation::gelu: {
            // Where erf is next to -1, erfc keeps the digits that 1 + erf loses.
            const Wide below = z < -1 ? std::erfc(-z / root_2) / 2 : (1 + std::erf(z / root_2)) / 2;
            return {z * below, below + z * std::exp(-z * z / 2) / std::sqrt(2 * pi)};
        }
        case Activation::relu: return {z > 0 ? z : 0, z > 0 ? one : 0};
        case Activation::leaky_relu: return {z > 0 ? z : negative_slope * z, z > 0 ? one : negative_slope};
        case Activation::silu: {
            const Wide s = one / (1 + std::exp(-z));
            return {z * s, s * (1 + z * (1 - s))};
        }
        case Activation::shifted_softplus:
            return {std::max(z, Wide(0)) + std::log1p(std::exp(-std::abs(z))) - log_2, one / (1 + std::exp(-z))};
        default: CHECK(false); return {};
    }
}

template <class Wide>
struct Expected {
    std::array<std::vector<Wide>, results> all;
    Wide nearest = std::numeric_limits<Wide>::infinity();  // the least |z|: how far from a kink
    std::vector<Wide> delta_terms;                         // sums of what the gradients of delta are sums of, without signs
};

template <class Wide, class Real>
Expected<Wide> naive(const Problem<Real>& problem) {
    const Stack<Real>& s = problem.stack;
    const Index E = s.members, n = s.samples, q = s.state, m = s.width, L = s.depth;
    const Wide inner = s.inner, outer = s.outer, scale = s.scale;
    Expected<Wide> out;
    auto& g = out.all;
    const Buffer<Real>* shapes[] = {&problem.first, &problem.first, &problem.W, &problem.V, &problem.b, &problem.c, &problem.delta};
    for (int i = 0; i < results; ++i) g[i].assign(static_cast<std::size_t>(shapes[i]->size()), 0);
    out.delta_terms.assign(g[of_delta].size(), 0);
    std::vector<Wide> h(static_cast<std::size_t>((L + 1) * q)), p(static_cast<std::size_t>(q)), dz(static_cast<std::size_t>(m));
    std::vector<Sigma<Wide>> a(static_cast<std::size_t>(L * m));
    for (Index e = 0; e < E; ++e) {
        for (Index i = 0; i < n; ++i) {
            const Index row = (e * n + i) * q;
            for (Index j = 0; j < q; ++j) h[j] = problem.first[row + j];
            for (Index k = 0; k < L; ++k) {
                const Index layer = e * L + k;
                const Wide* now = &h[k * q];
                Wide* next = &h[(k + 1) * q];
                for (Index r = 0; r < m; ++r) {
                    Wide z = 0;
                    for (Index j = 0; j < q; ++j) z += s.W[(layer * m + r) * q + j] * now[j];
                    z = inner * z + (s.b ? s.b[layer * m + r] : 0);
                    out.nearest = std::min(out.nearest, std::abs(z));
                    a[k * m + r] = naive_sigma<Wide>(s.activation, z, s.negative_slope);
                }
                const Wide delta = s.delta ? s.delta[s.shared_delta ? e : layer] : 1;
                for (Index j = 0; j < q; ++j) {
                    Wide f = 0;
                    if (s.V)
                        for (Index r = 0; r < m; ++r) f += outer * s.V[(layer * q + j) * m + r] * a[k * m + r].value;
                    else
                        f = delta * a[k * m + j].value;
                    next[j] = now[j] + scale * (f + (s.c ? s.c[layer * q + j] : 0));
                }
            }
            for (Index j = 0; j < q; ++j) g[of_last][row + j] = h[L * q + j];

            for (Index j = 0; j < q; ++j) p[j] = problem.direction[row + j];
            for (Index k = L - 1; k >= 0; --k) {
                const Index layer = e * L + k;
                const Wide delta = s.delta ? s.delta[s.shared_delta ? e : layer] : 1;
                for (Index r = 0; r < m; ++r) {
                    Wide pulled = 0;  // d loss / d a
                    if (s.V)
                        for (Index j = 0; j < q; ++j) pulled += scale * outer * s.V[(layer * q + j) * m + r] * p[j];
                    else
                        pulled = scale * delta * p[r];
                    dz[r] = pulled * a[k * m + r].slope;
                    if (s.b) g[of_b][layer * m + r] += dz[r];
                    for (Index j = 0; j < q; ++j) g[of_W][(layer * m + r) * q + j] += dz[r] * inner * h[k * q + j];
                }
                for (Index j = 0; j < q; ++j) {
                    if (s.c) g[of_c][layer * q + j] += scale * p[j];
                    if (s.delta) {
                        const Wide term = scale * p[j] * a[k * m + j].value;
                        g[of_delta][s.shared_delta ? e : layer] += term;
                        out.delta_terms[s.shared_delta ? e : layer] += std::abs(term);
                    }
                    if (s.V)
                        for (Index r = 0; r < m; ++r) g[of_V][(layer * q + j) * m + r] += scale * outer * p[j] * a[k * m + r].value;
                }
                for (Index r = 0; r < m; ++r)
                    for (Index j = 0; j < q; ++j) p[j] += dz[r] * inner * s.W[(layer * m + r) * q + j];
            }
            for (Index j = 0; j < q; ++j) g[of_h][row + j] = p[j];
        }
    }
    return out;
}
