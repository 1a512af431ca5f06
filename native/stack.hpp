// What a stack of residual layers is, for the kernels of every instruction set, and how its samples are cut. Functions are static: each file
// has its own, compiled for its own instruction set.
//
//     h_{k+1} = h_k + scale * f(h_k, theta_{k+1}),    k = 0 ... L-1
//
// perceptron:  f = outer * V sigma(inner * W h + b) + c
// one matrix:  f = delta * sigma(inner * W h + b)                  (m = q; delta fixed at 1, shared, or one per layer)
//
// All tensors are contiguous, the members E of an ensemble first. Sizes: n samples, q state, m width, L depth.
#pragma once

#include <cstdint>

namespace deeplimit {

using Index = std::int64_t;

enum class Activation : int { identity, tanh, gelu, relu, leaky_relu, silu, shifted_softplus, count };

template <class Real>
struct Stack {
    Index members, depth, samples, state, width;
    Activation activation;
    Real negative_slope;         // of leaky_relu
    Real inner, outer, scale;
    const Real* W;               // [E, L, m, q]
    const Real* V;               // [E, L, q, m]; null: one matrix
    const Real* b;               // [E, L, m] or null
    const Real* c;               // [E, L, q] or null
    const Real* delta;           // [E, L], or [E] where shared; null: fixed
    bool shared_delta;
    Index interval;              // layers between two states that are kept: 1 keeps all; 0 keeps none
};

// Results of a backward pass, shaped like what they are gradients of; null where there is no such parameter.
template <class Real>
struct Gradients {
    Real *h, *W, *V, *b, *c, *delta;
};

template <class Real>
struct Forward {
    const Stack<Real>& stack;
    const Real* first;           // h_0 [E, n, q]
    Real* last;                  // h_L [E, n, q]
    Real* kept;                  // [E, kept_states, n, padded q]; null where none is kept
    Index level;                 // each member's samples are cut into 2^level parts
};

template <class Real>
struct Backward {
    const Stack<Real>& stack;
    const Real* direction;       // p = d loss / d h_L, [E, n, q]
    const Real* kept;            // as the forward pass left them
    Gradients<Real> out;         // its delta is [E, L] even where delta is shared
    Index level;
    Real* parts;                 // [E, 2^level, ring + L, gradient_size]; null where level is 0, as are:
    Real** places;               // [E, 2^level, L]: where in `parts` a part has put its gradient of a layer
    std::int32_t* arrived;       // [E, L]: how many parts have ended a layer, one more once they are summed; zero at first
};

// The kernels of one instruction set and precision. A task is one part of one member: task = member * 2^level + part.
template <class Real>
struct Kernels {
    Index lanes;                                                // Reals in a vector register
    Index (*gradient_size)(const Stack<Real>&);                 // Reals of one layer's gradient, padded
    Index (*scratch)(const Stack<Real>&, Index level);          // Reals of working memory that a backward task needs
    void (*forward)(const Forward<Real>&, Index task, Real* scratch);
    void (*backward)(const Backward<Real>&, Index task, Real* scratch);
};

struct ConvolutionSet;

struct InstructionSet {
    const char* name;
    Kernels<float> single;
    Kernels<double> twice;
    const ConvolutionSet& (*convolutions)();                    // convolution.hpp
};

static inline Index round_up(Index size, Index lanes) { return (size + lanes - 1) / lanes * lanes; }

// States that a forward pass keeps of one member: h_0 ... h_L, or h_0, h_S, h_2S ... for an interval S.
template <class Real>
static Index kept_states(const Stack<Real>& s) {
    return s.interval == 0 ? 0 : s.interval == 1 ? s.depth + 1 : (s.depth + s.interval - 1) / s.interval;
}

// The samples are cut into leaves of at most leaf_rows, whatever the number of threads; gradients are summed over the leaves in the order
// of a binary tree. So a thread may take any node of that tree and the sums are the same to the last bit.
constexpr Index leaf_rows = 32;

static inline Index leaves(Index samples) { return samples > leaf_rows ? (samples + leaf_rows - 1) / leaf_rows : 1; }

// Layers whose gradients the parts of a member keep at one place in turn.
constexpr Index ring = 32;

struct Range {
    Index from, to;
    Index size() const { return to - from; }
    Index middle() const { return from + (size() + 1) / 2; }
};

// The leaves of node `part` among the 2^level nodes of a level.
static inline Range node(Index count, Index level, Index part) {
    Range range{0, count};
    for (Index bit = level - 1; bit >= 0; --bit) {
        if (part >> bit & 1)
            range.from = range.middle();
        else
            range.to = range.middle();
    }
    return range;
}

static inline Index first_row(Index leaf, Index count, Index samples) { return leaf * samples / count; }

static inline Range rows_of(Range leaf_range, Index count, Index samples) {
    return {first_row(leaf_range.from, count, samples), first_row(leaf_range.to, count, samples)};
}

}  // namespace deeplimit
