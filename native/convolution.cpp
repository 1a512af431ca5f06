// A stack of convolutions from one end to the other: phases in turn, each on all parts of the samples.
#include "convolution.hpp"

#include <type_traits>

#include "engine.hpp"
#include "pool.hpp"

namespace deeplimit {
namespace {

template <class Real>
const ConvolutionKernels<Real>& kernels() {
    const ConvolutionSet& set = instruction_set().convolutions();
    if constexpr (std::is_same_v<Real, float>)
        return set.single;
    else
        return set.twice;
}

// The phases of a pass, with the memory that they share.
template <class Real>
class Phases {
public:
    Phases(const Convolutions<Real>& s, const ConvolutionKernels<Real>& kernels, bool backward, Index threads)
        : s_(s), kernels_(kernels), threads_(threads), padded_(round_up(s.channels, kernels.lanes)),
          kernel_(places * s.channels * padded_), scratch_(kernels.scratch(s)), map_(s.samples * s.height * s.width * padded_),
          memory_(block<Real>(2 * kernel_ + 2 * s.samples * padded_ + (backward ? 2 * map_ + 3 * padded_ + parts_of(s) * kernel_ : 0))) {}

    // Puts what phases share at its places.
    ConvolutionPass<Real> pass(Real* kept) {
        Real* at = memory_.get();
        const auto take = [&](Index size) { return (at += size) - size; };
        ConvolutionPass<Real> call{s_, kept, nullptr, nullptr, nullptr, {}, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, {}};
        call.kernels[0] = take(kernel_), call.kernels[1] = take(kernel_), call.sums = take(2 * s_.samples * padded_);
        call.p = at, call.g = at + map_, call.parts = at + 2 * map_, call.pulls = call.parts + parts_of(s_) * kernel_;
        return call;
    }

    void run(const ConvolutionPass<Real>& call, Phase phase, Index layer) {
        parallel(threads_, parts_of(s_), [&](Index part) {
            const Block<Real> scratch = block<Real>(scratch_);
            kernels_.run(call, phase, layer, part, scratch.get());
        });
        kernels_.gather(call, phase, layer);
    }

private:
    const Convolutions<Real>& s_;
    const ConvolutionKernels<Real>& kernels_;
    const Index threads_, padded_, kernel_, scratch_, map_;
    const Block<Real> memory_;
};

}  // namespace

template <class Real>
Index kept_size(const Convolutions<Real>& s) {
    const Index padded = round_up(s.channels, kernels<Real>().lanes), layers = s.keeps ? s.depth : 1;
    return layers * (maps * s.samples * s.height * s.width + 2 * rows_count) * padded;
}

template <class Real>
void forward(const Convolutions<Real>& s, const Real* first, Real* last, Real* kept, Real* moments, Index threads) {
    const ConvolutionKernels<Real>& k = kernels<Real>();  // looked up once a call
    Phases<Real> phases(s, k, false, threads);
    ConvolutionPass<Real> call = phases.pass(kept);
    call.first = first, call.last = last, call.moments = moments;
    for (Index layer = 0; layer < s.depth; ++layer) {
        k.prepare(call, layer, false);
        phases.run(call, Phase::first, layer);
        phases.run(call, Phase::second, layer);
    }
    phases.run(call, Phase::last, s.depth);
}

template <class Real>
void backward(const Convolutions<Real>& s, const Real* direction, Real* kept, const ConvolutionGradients<Real>& out, Index threads) {
    const ConvolutionKernels<Real>& k = kernels<Real>();
    Phases<Real> phases(s, k, true, threads);
    ConvolutionPass<Real> call = phases.pass(kept);
    call.direction = direction, call.out = out;
    phases.run(call, Phase::start, s.depth - 1);
    for (Index layer = s.depth - 1; layer >= 0; --layer) {
        k.prepare(call, layer, true);
        phases.run(call, Phase::pull_second, layer);
        phases.run(call, Phase::pull_first, layer);
    }
}

#define DEEPLIMIT_INSTANTIATE(Real)                                                                                     \
    template Index kept_size<Real>(const Convolutions<Real>&);                                                          \
    template void forward<Real>(const Convolutions<Real>&, const Real*, Real*, Real*, Real*, Index);                    \
    template void backward<Real>(const Convolutions<Real>&, const Real*, Real*, const ConvolutionGradients<Real>&, Index);
DEEPLIMIT_INSTANTIATE(float)
DEEPLIMIT_INSTANTIATE(double)

}  // namespace deeplimit
