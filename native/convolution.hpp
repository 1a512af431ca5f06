// What a stack of residual layers of two convolutions is, for the kernels of every instruction set.
//
//     h_{k+1} = h_k + scale * N(W2_k * sigma(N(W1_k * h_k + b1_k)) + b2_k),    k = 0 ... L-1
//
// Kernels have 3 x 3 pixels, maps are bordered by zeros. N normalises a channel by its mean and variance over the batch and all pixels, then
// multiplies by a gain and adds a shift; without gains there is no N.
//
// States are [n, H, W, C] (channels last), kernels [L, C out, C in, 3, 3], all else [L, C]. Inside, the channels are padded to whole vectors.
#pragma once

#include "stack.hpp"

namespace deeplimit {

template <class Real>
struct Convolutions {
    Index depth, samples, channels, height, width;
    Activation activation;
    Real negative_slope;           // of leaky_relu
    Real scale;
    double eps;                    // beside a variance
    const Real *W[2], *b[2];       // b: null where there are none
    const Real *gain[2], *shift[2];  // null without normalisation
    bool keeps;                    // whether all layers are kept for a backward pass
};

// Results of a backward pass, shaped like what they are gradients of; null where there is no such parameter.
template <class Real>
struct ConvolutionGradients {
    Real *h, *W[2], *b[2], *gain[2], *shift[2];
};

// What is kept of each layer: three maps of the batch, and eight rows of channels, four for each normalisation.
enum Map { map_h, map_z1, map_z2, maps };                            // the state, and what the convolutions give
enum Row { row_mean, row_inverse, row_gain, row_shift, rows_count }; // N(z) = (z - mean) * gain + shift; 1 / deviation or 0

constexpr Index places = 16;       // of a transformed kernel or tile (winograd.hpp)

// One pass over the depth: what its phases share. A phase runs on parts of the samples, which may run at once; what comes of the samples
// together is computed between two phases.
template <class Real>
struct ConvolutionPass {
    const Convolutions<Real>& stack;
    Real* kept;                    // [L or 1, maps, n, H, W, padded C], then [L or 1, 2, rows_count, padded C]
    const Real* first;             // h_0
    Real* last;                    // h_L
    Real* moments;                 // [L, 2, 2, C]: mean and unbiased variance of the batch; null where nobody asks
    Real* kernels[2];              // of a layer, transformed: [places, C, padded C]
    Real* sums;                    // [n, 2, padded C]: of each sample, for what is computed between two phases
    // backward
    const Real* direction;         // d loss / d h_L
    Real *p, *g;                   // [n, H, W, padded C]: d loss / d h_k, d loss / d N(z1)
    Real* pulls;                   // [3, padded C]: d loss / d z = pull * (p - middle - (z - mean) * tilt)
    Real* parts;                   // [parts, places, C, padded C]: gradients of transformed kernels
    ConvolutionGradients<Real> out;
};

enum class Phase { first, second, last, start, pull_second, pull_first };

template <class Real>
struct ConvolutionKernels {
    Index lanes;
    Index (*scratch)(const Convolutions<Real>&);                                              // Reals that a part needs
    void (*prepare)(const ConvolutionPass<Real>&, Index layer, bool backward);                // transforms kernels
    void (*run)(const ConvolutionPass<Real>&, Phase, Index layer, Index part, Real* scratch); // one part
    void (*gather)(const ConvolutionPass<Real>&, Phase, Index layer);                         // after all parts
};

struct ConvolutionSet {
    ConvolutionKernels<float> single;
    ConvolutionKernels<double> twice;
};

// Parts of the batch, whatever the number of threads: each sums its gradients, and the sums are added in the order of the parts.
constexpr Index most_parts = 8;

template <class Real>
static Index parts_of(const Convolutions<Real>& s) {
    return s.samples < most_parts ? s.samples : most_parts;
}

template <class Real>
Index kept_size(const Convolutions<Real>& stack);

template <class Real>
void forward(const Convolutions<Real>& stack, const Real* first, Real* last, Real* kept, Real* moments, Index threads);

template <class Real>
void backward(const Convolutions<Real>& stack, const Real* direction, Real* kept, const ConvolutionGradients<Real>& out, Index threads);

}  // namespace deeplimit
