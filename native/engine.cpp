#include "engine.hpp"

#include <atomic>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <type_traits>

#include "kernels.hpp"
#include "pool.hpp"

namespace deeplimit {
namespace {

template <class Real>
const Kernels<Real>& kernels() {
    if constexpr (std::is_same_v<Real, float>)
        return instruction_set().single;
    else
        return instruction_set().twice;
}

std::vector<Compiled> listed() {
    std::vector<Compiled> all;
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
#if defined(DEEPLIMIT_HAVE_AVX512)
    all.push_back({"avx512",
                   __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"),
                   avx512::instruction_set});
#endif
#if defined(DEEPLIMIT_HAVE_AVX2)
    all.push_back({"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), avx2::instruction_set});
#endif
    all.push_back({"generic", true, generic::instruction_set});
    return all;
}

const InstructionSet* best() {
    for (const Compiled& c : compiled())
        if (c.runs_here) return &c.get();
    return nullptr;  // not reached: generic runs everywhere
}

std::atomic<const InstructionSet*>& chosen() {
    static std::atomic<const InstructionSet*> current{best()};
    return current;
}

// How finely the members' samples are cut: coarse, but so that the threads end at about the same time.
Index level_for(Index members, Index samples, Index threads) {
    if (threads <= 1) return 0;
    Index level = 0;
    for (; Index(2) << level <= leaves(samples); ++level) {
        const Index tasks = members << level, rounds = (tasks + threads - 1) / threads;
        if (100 * rounds * threads <= 115 * tasks) break;
    }
    return level;
}

// Runs a kernel on every task, each with working memory.
template <class Real>
void run(const Stack<Real>& s, Index level, Index threads, Index scratch_size, const std::function<void(Index, Real*)>& kernel) {
    parallel(threads, s.members << level, [&](Index task) {
        const Block<Real> scratch = block<Real>(scratch_size);
        kernel(task, scratch.get());
    });
}

template <class Real>
void sum_over_depth(const Real* deltas, Index members, Index depth, Real* totals) {
    for (Index e = 0; e < members; ++e) {
        totals[e] = 0;
        for (Index k = 0; k < depth; ++k) totals[e] += deltas[e * depth + k];
    }
}

}  // namespace

const std::vector<Compiled>& compiled() {
    static const std::vector<Compiled> all = listed();
    return all;
}

const InstructionSet& instruction_set() { return *chosen().load(); }

void use_instruction_set(const std::string& name) {
    for (const Compiled& c : compiled()) {
        if (c.name != name) continue;
        if (!c.runs_here) throw std::invalid_argument("instruction set: this processor does not have " + name);
        chosen().store(&c.get());
        return;
    }
    throw std::invalid_argument("instruction set: " + name + " was not compiled");
}

template <class Real>
Index kept_size(const Stack<Real>& s) {
    return s.members * kept_states(s) * s.samples * round_up(s.state, kernels<Real>().lanes);
}

template <class Real>
void forward(const Stack<Real>& s, const Real* first, Real* last, Real* kept, Index threads) {
    const Kernels<Real>& k = kernels<Real>();  // looked up once a call
    const Forward<Real> call{s, first, last, kept, level_for(s.members, s.samples, threads)};
    run<Real>(s, call.level, threads, k.scratch(s, call.level), [&](Index task, Real* scratch) { k.forward(call, task, scratch); });
}

template <class Real>
void backward(const Stack<Real>& s, const Real* direction, const Real* kept, const Gradients<Real>& out, Index threads) {
    const Kernels<Real>& k = kernels<Real>();
    const Index level = level_for(s.members, s.samples, threads), layers = s.members * s.depth;
    const Block<Real> parts = block<Real>(level ? (s.members << level) * (ring + s.depth) * k.gradient_size(s) : 0);
    const Block<Real*> places = block<Real*>(level ? layers << level : 0);
    const Block<std::int32_t> arrived = block<std::int32_t>(level ? layers : 0);
    const Block<Real> deltas = block<Real>(s.shared_delta ? layers : 0);
    if (level) std::memset(arrived.get(), 0, layers * sizeof(std::int32_t));
    Backward<Real> call{s, direction, kept, out, level, parts.get(), places.get(), arrived.get()};
    if (s.shared_delta) call.out.delta = deltas.get();
    run<Real>(s, level, threads, k.scratch(s, level), [&](Index task, Real* scratch) { k.backward(call, task, scratch); });
    if (s.shared_delta) sum_over_depth(deltas.get(), s.members, s.depth, out.delta);
}

#define DEEPLIMIT_INSTANTIATE(Real)                                                                                     \
    template Index kept_size<Real>(const Stack<Real>&);                                                                 \
    template void forward<Real>(const Stack<Real>&, const Real*, Real*, Real*, Index);                                  \
    template void backward<Real>(const Stack<Real>&, const Real*, const Real*, const Gradients<Real>&, Index);
DEEPLIMIT_INSTANTIATE(float)
DEEPLIMIT_INSTANTIATE(double)

}  // namespace deeplimit
