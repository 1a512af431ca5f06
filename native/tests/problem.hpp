// A stack with random parameters, and what the engine computes of it.
#pragma once

#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "check.hpp"
#include "engine.hpp"

using deeplimit::Activation;
using deeplimit::Index;
using deeplimit::Stack;

constexpr const char* activation_names[] = {"identity", "tanh", "gelu", "relu", "leaky_relu", "silu", "shifted_softplus"};
constexpr int activation_count = static_cast<int>(Activation::count);

inline bool kinked(Activation a) { return a == Activation::relu || a == Activation::leaky_relu; }

template <class Real>
const char* precision() {
    return std::is_same_v<Real, float> ? "float" : "double";
}

template <class Real>
const deeplimit::Kernels<Real>& kernels() {
    if constexpr (std::is_same_v<Real, float>)
        return deeplimit::instruction_set().single;
    else
        return deeplimit::instruction_set().twice;
}

enum class Delta { fixed, shared, per_layer };

struct Kind {
    const char* name;
    bool V, b, c;
    Delta delta;
};

constexpr Kind kinds[] = {
    {"perceptron", true, false, false, Delta::fixed},        {"perceptron, b", true, true, false, Delta::fixed},
    {"perceptron, c", true, false, true, Delta::fixed},      {"perceptron, b, c", true, true, true, Delta::fixed},
    {"matrix", false, false, false, Delta::fixed},           {"matrix, b", false, true, false, Delta::fixed},
    {"matrix, delta", false, false, false, Delta::shared},   {"matrix, b, delta", false, true, false, Delta::shared},
    {"matrix, deltas", false, false, false, Delta::per_layer}, {"matrix, b, deltas", false, true, false, Delta::per_layer},
};

struct Size {
    Index samples, state, width, depth;
};

template <class Real>
struct Problem {
    Stack<Real> stack{};
    Buffer<Real> W, V, b, c, delta, first, direction;
    std::string name;

    Problem() = default;

    // Sizes of parameters by which the states and all pre-activations are about 1.
    Problem(Index members, Size size, const Kind& kind, Activation activation, std::uint64_t seed) {
        if (!kind.V) size.width = size.state;
        const double depth = static_cast<double>(size.depth);
        stack.members = members, stack.depth = size.depth, stack.samples = size.samples;
        stack.state = size.state, stack.width = size.width;
        stack.activation = activation, stack.negative_slope = Real(0.125);
        stack.inner = Real(kind.V ? 0.9 : 1), stack.outer = Real(kind.V ? 1.1 : 1), stack.scale = Real(0.7 / depth);
        stack.shared_delta = kind.delta == Delta::shared, stack.interval = 1;
        Random random(seed);
        const auto drawn = [&](Index count, double middle, double spread) {
            Buffer<Real> values(count);
            for (Real& value : values) value = static_cast<Real>(random.uniform(middle - spread, middle + spread));
            return values;
        };
        const Index q = size.state, m = size.width, layers = members * size.depth;
        W = drawn(layers * m * q, 0, std::sqrt(3.0 / static_cast<double>(q)));
        if (kind.V) V = drawn(layers * q * m, 0, std::sqrt(3.0 / static_cast<double>(m)));
        if (kind.b) b = drawn(layers * m, 0, 0.5);
        if (kind.c) c = drawn(layers * q, 0, 0.5);
        if (kind.delta != Delta::fixed) delta = drawn(kind.delta == Delta::shared ? members : layers, 1, 0.5);
        first = drawn(members * size.samples * q, 0, 1.7);
        direction = drawn(members * size.samples * q, 0, 1.7);
        name = text(precision<Real>(), kind.name, activation_names[static_cast<int>(activation)], "E", members, "n", size.samples, "q", q,
                    "m", m, "L", size.depth);
        connect();
    }

    // The problem of a single member.
    Problem member(Index e) const {
        Problem one;
        one.stack = stack;
        one.stack.members = 1;
        const Index E = stack.members;
        one.W = W.slice(e, E), one.V = V.slice(e, E), one.b = b.slice(e, E), one.c = c.slice(e, E), one.delta = delta.slice(e, E);
        one.first = first.slice(e, E), one.direction = direction.slice(e, E);
        one.name = name;
        one.connect();
        return one;
    }

private:
    void connect() { stack.W = W.data(), stack.V = V.data(), stack.b = b.data(), stack.c = c.data(), stack.delta = delta.data(); }
};

// The results, h_L and the gradients, by number.
enum Which { of_last, of_h, of_W, of_V, of_b, of_c, of_delta, results };
constexpr const char* result_names[] = {"last", "gradient h", "gradient W", "gradient V", "gradient b", "gradient c", "gradient delta"};

template <class Real>
struct Results {
    std::array<Buffer<Real>, results> all;
    Buffer<Real> kept;

    explicit Results(const Problem<Real>& p) {
        const Buffer<Real>* shapes[] = {&p.first, &p.first, &p.W, &p.V, &p.b, &p.c, &p.delta};
        for (int i = 0; i < results; ++i)
            if (shapes[i]->data()) all[i] = Buffer<Real>(shapes[i]->size());
    }

    deeplimit::Gradients<Real> gradients() const {
        return {all[of_h].data(), all[of_W].data(), all[of_V].data(), all[of_b].data(), all[of_c].data(), all[of_delta].data()};
    }

    bool intact() const {
        return kept.intact() && std::all_of(all.begin(), all.end(), [](const Buffer<Real>& buffer) { return buffer.intact(); });
    }
};

template <class Real>
bool same_bits(const Buffer<Real>& x, const Buffer<Real>& y) {
    const std::size_t bytes = static_cast<std::size_t>(x.size()) * sizeof(Real);
    return x.size() == y.size() && (bytes == 0 || std::memcmp(x.data(), y.data(), bytes) == 0);
}

// The results that differ, by name; empty: all are the same to the last bit.
template <class Real>
std::string difference(const Results<Real>& x, const Results<Real>& y) {
    std::string names;
    for (int i = 0; i < results; ++i)
        if (!same_bits(x.all[i], y.all[i])) names += std::string(names.empty() ? "" : ", ") + result_names[i];
    return names;
}

// Forward and, where states are kept, backward.
template <class Real>
Results<Real> run(const Problem<Real>& problem, Index interval, Index threads) {
    Stack<Real> stack = problem.stack;
    stack.interval = interval;
    Results<Real> r(problem);
    if (interval > 0) r.kept = Buffer<Real>(deeplimit::kept_size(stack));
    deeplimit::forward(stack, problem.first.data(), r.all[of_last].data(), r.kept.data(), threads);
    if (interval > 0) deeplimit::backward(stack, problem.direction.data(), r.kept.data(), r.gradients(), threads);
    CHECK(r.intact(), problem.name, interval, threads);
    return r;
}
