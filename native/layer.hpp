// One layer of one member on a few rows: a step forward, and its pullback.
#pragma once

#include "activations.hpp"
#include "product.hpp"

namespace deeplimit::DEEPLIMIT_ISA {
namespace {

// Hands out pieces of a block; with no block it only counts.
template <class Real>
class Arena {
public:
    explicit Arena(Real* block) : block_(block) {}

    Real* take(Index size) {
        const Index at = used_;
        used_ += round_up(size, 64 / sizeof(Real));  // whole cache lines
        return block_ ? block_ + at : nullptr;
    }

    Index used() const { return used_; }

private:
    Real* block_;
    Index used_ = 0;
};

// Where the parts of one layer's gradient stand, in rows of whole vectors.
template <class Real>
struct Layout {
    Index q, m;                    // padded sizes
    Index V, b, c, delta, size;    // W stands at 0

    explicit Layout(const Stack<Real>& s) : q(round_up(s.state, lanes<Real>)), m(round_up(s.width, lanes<Real>)) {
        V = s.width * q;
        b = V + (s.V ? s.state * m : 0);
        c = b + (s.b ? m : 0);
        delta = c + (s.c ? q : 0);
        size = delta + (s.delta ? lanes<Real> : 0);
    }
};

template <class Real>
void add(Real* to, const Real* more, Index count) {
    for (Index i = 0; i < count; i += lanes<Real>) store<Real>(to + i, load(to + i) + load(more + i));
}

template <class Real>
void sum_rows(const Real* rows, Index count, Index columns, Real* to) {
    for (Index j = 0; j < columns; j += lanes<Real>) {
        Vector<Real> total{};
        for (Index i = 0; i < count; ++i) total += load(rows + i * columns + j);
        store<Real>(to + j, total);
    }
}

// Asks for memory that is needed some layers ahead: it comes while the arithmetic of this layer goes on.
constexpr Index ahead = 3;

template <int Write, class Real>
void prefetch(const Real* from, Index count) {
    for (Index i = 0; i < count; i += 64 / sizeof(Real)) __builtin_prefetch(from + i, Write, 2);
}

// Rows of a tensor to rows of whole vectors and back.
template <class Real>
void widen(const Real* from, Index rows, Index columns, Real* to) {
    pack<Real>(from, rows, columns, Real(1), to);
}

template <class Real>
void narrow(const Real* from, Index rows, Index columns, Real* to) {
    unpack<Real>(from, rows, columns, Real(1), to);
}

template <class Real>
class Layer {
public:
    Layer(const Stack<Real>& stack, Index member, Arena<Real>& arena)
        : at(stack), s(stack), member_(member), sigma(elementwise<Real>(stack.activation)) {
        W_turned = arena.take(s.state * at.m);
        W = arena.take(s.width * at.q);
        V_turned = arena.take(s.V ? s.width * at.q : 0);
        V = arena.take(s.V ? s.state * at.m : 0);
        b = arena.take(at.m);
        c = arena.take(at.q);
        Z = arena.take(leaf_rows * at.m);
        A = arena.take(leaf_rows * at.m);
    }

    const Layout<Real> at;

    // Bring the parameters of layer k into the form that `step` reads.
    void load_forward(Index k) {
        load_inner(k);
        const Index layer = member_ * s.depth + k;
        if (s.V) pack_transposed(s.V + layer * s.state * s.width, s.state, s.width, s.scale * s.outer, V_turned);
        if (s.c) pack(s.c + layer * s.state, 1, s.state, s.scale, c);
    }

    // The same for `pull`.
    void load_backward(Index k) {
        load_inner(k);
        const Index layer = member_ * s.depth + k;
        pack(s.W + layer * s.width * s.state, s.width, s.state, s.inner, W);
        if (s.V) pack(s.V + layer * s.state * s.width, s.state, s.width, s.scale * s.outer, V);
    }

    // Ask for the parameters of layer k.
    void prefetch_layer(Index k) const {
        if (k < 0 || k >= s.depth) return;
        const Index at = (member_ * s.depth + k) * s.width * s.state;
        prefetch<0>(s.W + at, s.width * s.state);
        if (s.V) prefetch<0>(s.V + at, s.width * s.state);
    }

    // Ask for the place of the gradient of layer k.
    void prefetch_gradient(Index k, const Gradients<Real>& out) const {
        if (k < 0) return;
        const Index at = (member_ * s.depth + k) * s.width * s.state;
        prefetch<1>(out.W + at, s.width * s.state);
        if (s.V) prefetch<1>(out.V + at, s.width * s.state);
    }

    // next = h + scale f(h) on rows [rows, padded q]; next may be h.
    void step(const Real* h, Real* next, Index rows) {
        activate_inner(h, rows);
        sigma.values(Z, rows * at.m, s.negative_slope);
        if (s.V)
            multiply<Real, Finish::add>({rows, at.q, s.width, Z, at.m, 1, V_turned, at.q, next, at.q, h, at.q});
        else
            for (Index i = 0; i < rows * at.q; i += lanes<Real>) store<Real>(next + i, load(h + i) + gain * load(Z + i));
        if (s.c)
            for (Index i = 0; i < rows; ++i) add(next + i * at.q, c, at.q);
    }

    // From p = d loss / d next: the gradient of this layer's parameters, without their constant factors, and p = d loss / d h.
    void pull(const Real* h, Real* p, Index rows, Real* gradient) {
        activate_inner(h, rows);
        sigma.values_and_slopes(Z, A, rows * at.m, s.negative_slope);
        if (s.V) {
            multiply<Real, Finish::set>({s.state, at.m, rows, p, 1, at.q, A, at.m, gradient + at.V, at.m, nullptr, 0});
            multiply<Real, Finish::multiply>({rows, at.m, s.state, p, at.q, 1, V, at.m, Z, at.m, Z, at.m});
        } else {
            pull_elementwise(p, rows, gradient);
        }
        multiply<Real, Finish::set>({s.width, at.q, rows, Z, 1, at.m, h, at.q, gradient, at.q, nullptr, 0});
        if (s.b) sum_rows(Z, rows, at.m, gradient + at.b);
        if (s.c) sum_rows(p, rows, at.q, gradient + at.c);
        multiply<Real, Finish::add>({rows, at.q, s.width, Z, at.m, 1, W, at.q, p, at.q, p, at.q});
    }

    // Write a layer's gradient to the tensors.
    void write(const Real* gradient, Index k, const Gradients<Real>& out) const {
        const Index layer = member_ * s.depth + k;
        unpack(gradient, s.width, s.state, s.inner, out.W + layer * s.width * s.state);
        if (s.V) unpack(gradient + at.V, s.state, s.width, s.scale * s.outer, out.V + layer * s.state * s.width);
        if (s.b) unpack(gradient + at.b, 1, s.width, Real(1), out.b + layer * s.width);
        if (s.c) unpack(gradient + at.c, 1, s.state, s.scale, out.c + layer * s.state);
        if (s.delta) out.delta[layer] = s.scale * sum<Real>(load(gradient + at.delta));
    }

private:
    void load_inner(Index k) {
        const Index layer = member_ * s.depth + k;
        pack_transposed(s.W + layer * s.width * s.state, s.width, s.state, s.inner, W_turned);
        if (s.b) pack(s.b + layer * s.width, 1, s.width, Real(1), b);
        gain = s.scale * (s.delta ? s.delta[s.shared_delta ? member_ : layer] : Real(1));
    }

    // Z = inner W h + b
    void activate_inner(const Real* h, Index rows) {
        if (s.b)
            multiply<Real, Finish::add>({rows, at.m, s.state, h, at.q, 1, W_turned, at.m, Z, at.m, b, 0});
        else
            multiply<Real, Finish::set>({rows, at.m, s.state, h, at.q, 1, W_turned, at.m, Z, at.m, nullptr, 0});
    }

    void pull_elementwise(const Real* p, Index rows, Real* gradient) {
        Vector<Real> delta{};
        for (Index i = 0; i < rows * at.q; i += lanes<Real>) {
            const Vector<Real> pi = load(p + i);
            delta += pi * load(A + i);
            store<Real>(Z + i, gain * pi * load(Z + i));
        }
        if (s.delta) store<Real>(gradient + at.delta, delta);
    }

    const Stack<Real>& s;
    Index member_;
    Elementwise<Real> sigma;
    Real *W, *W_turned, *V, *V_turned, *b, *c;
    Real *Z, *A;                   // of one leaf, [leaf_rows, padded m]
    Real gain = 0;                 // scale * delta
};

}  // namespace
}  // namespace deeplimit::DEEPLIMIT_ISA
