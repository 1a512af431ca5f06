// A stack from one end to the other, for one part of one member's samples. Compiled once for each instruction set.
#include "kernels.hpp"

#include "layer.hpp"

namespace deeplimit::DEEPLIMIT_ISA {
namespace {

// One part of one member: its rows and its working memory.
template <class Real>
class Task {
public:
    Task(const Stack<Real>& stack, Index level, Index task, Real* scratch)
        : s(stack), arena(scratch), member(task >> level), leaf_count(leaves(stack.samples)),
          leaf_range(node(leaf_count, level, task - (member << level))),
          rows(rows_of(leaf_range, leaf_count, stack.samples)), layer(stack, member, arena) {
        state = arena.take(rows.size() * layer.at.q);
    }

    // The rows of this part in a tensor [E, n, q].
    template <class Pointer>
    Pointer in(Pointer tensor) const {
        return tensor + (member * s.samples + rows.from) * s.state;
    }

    // The rows of this part in the i-th kept state.
    template <class Pointer>
    Pointer kept(Pointer states, Index i) const {
        return states + ((member * kept_states(s) + i) * s.samples + rows.from) * layer.at.q;
    }

    void advance(Index k, const Real* h, Real* next) {
        layer.load_forward(k);
        layer.prefetch_layer(k + ahead);
        for (Index leaf = leaf_range.from; leaf < leaf_range.to; ++leaf) {
            const Range r = leaf_rows_of(leaf);
            layer.step(h + r.from * layer.at.q, next + r.from * layer.at.q, r.size());
        }
    }

    // The rows of a leaf, counted from the first of this part.
    Range leaf_rows_of(Index leaf) const {
        const Index from = first_row(leaf, leaf_count, s.samples), to = first_row(leaf + 1, leaf_count, s.samples);
        return {from - rows.from, to - rows.from};
    }

    const Stack<Real>& s;
    Arena<Real> arena;
    const Index member, leaf_count;
    const Range leaf_range, rows;
    Layer<Real> layer;
    Real* state;                   // [rows, padded q]: h forward, p backward
};

template <class Real>
void forward(const Forward<Real>& f, Index index, Real* scratch) {
    const Stack<Real>& s = f.stack;
    Task<Real> task(s, f.level, index, scratch);
    const Index size = task.rows.size() * task.layer.at.q;
    Real* h = s.interval == 1 ? task.kept(f.kept, 0) : task.state;
    widen(task.in(f.first), task.rows.size(), s.state, h);
    for (Index k = 0; k < s.depth; ++k) {
        if (s.interval > 1 && k % s.interval == 0) __builtin_memcpy(task.kept(f.kept, k / s.interval), h, size * sizeof(Real));
        Real* next = s.interval == 1 ? task.kept(f.kept, k + 1) : h;
        if (s.interval == 1 && k + ahead <= s.depth) prefetch<1>(task.kept(f.kept, k + ahead), size);
        task.advance(k, h, next);
        h = next;
    }
    narrow(h, task.rows.size(), s.state, task.in(f.last));
}

// States that are computed once more at a time.
template <class Real>
Index segment_states(const Stack<Real>& s) {
    return s.interval <= 1 ? 0 : s.interval < s.depth ? s.interval : s.depth;
}

template <class Real>
class BackwardTask : public Task<Real> {
public:
    using Base = Task<Real>;

    BackwardTask(const Backward<Real>& backward, Index index, Real* scratch)
        : Base(backward.stack, backward.level, index, scratch), call(backward), part(index) {
        const Stack<Real>& s = this->s;
        Index levels = 1;
        while (Index(1) << (levels - 1) < this->leaf_range.size()) ++levels;
        sums = this->arena.take(levels * this->layer.at.size);
        segment = this->arena.take(segment_states(s) * this->rows.size() * this->layer.at.q);
    }

    void run() {
        const Stack<Real>& s = this->s;
        widen(this->in(call.direction), this->rows.size(), s.state, this->state);
        const Index interval = s.interval > 1 ? s.interval : s.depth;
        for (Index from = (s.depth - 1) / interval * interval; from >= 0; from -= interval)
            pull_segment(from, from + interval < s.depth ? from + interval : s.depth);
        narrow(this->state, this->rows.size(), s.state, this->in(call.out.h));
    }

private:
    // The layers from ... to - 1, the last first, their states read or computed once more.
    void pull_segment(Index from, Index to) {
        const bool stored = this->s.interval == 1;
        const Index stride = stored ? this->s.samples * this->layer.at.q : this->rows.size() * this->layer.at.q;
        const Real* states = stored ? this->kept(call.kept, 0) : recompute(from, to, stride);
        for (Index k = to - 1; k >= from; --k) {
            this->layer.load_backward(k);
            this->layer.prefetch_layer(k - ahead);
            if (k - ahead >= from) prefetch<0>(states + (k - ahead - (stored ? 0 : from)) * stride, this->rows.size() * this->layer.at.q);
            if (!call.level) this->layer.prefetch_gradient(k - ahead, call.out);
            Real* gradient = call.level ? place(k) : sums;
            pull(this->leaf_range, states + (k - (stored ? 0 : from)) * stride, gradient, sums + (call.level ? 0 : this->layer.at.size));
            if (call.level)
                arrive(k, gradient);
            else
                this->layer.write(gradient, k, call.out);
        }
    }

    const Real* recompute(Index from, Index to, Index stride) {
        __builtin_memcpy(segment, this->kept(call.kept, from / this->s.interval), stride * sizeof(Real));
        for (Index k = from; k < to - 1; ++k) this->advance(k, segment + (k - from) * stride, segment + (k + 1 - from) * stride);
        return segment;
    }

    // Where this part puts its gradient of layer k: in a ring that stays in the cache if the other parts have kept up, else in its long store.
    Real* place(Index k) {
        const Index depth = this->s.depth, next = k + ring;
        const bool kept_up = next >= depth || __atomic_load_n(arrived() + next, __ATOMIC_ACQUIRE) > (1 << call.level);
        return call.parts + (part * (ring + depth) + (kept_up ? k % ring : ring + k)) * this->layer.at.size;
    }

    // The part that ends a layer last sums the parts: the rest of the tree of leaves.
    void arrive(Index k, Real* gradient) {
        const Index parts = Index(1) << call.level, depth = this->s.depth;
        call.places[part * depth + k] = gradient;
        if (__atomic_add_fetch(arrived() + k, 1, __ATOMIC_ACQ_REL) < parts) return;
        Real** first = call.places + this->member * parts * depth + k;
        for (Index step = 1; step < parts; step *= 2)
            for (Index i = 0; i < parts; i += 2 * step) add(first[i * depth], first[(i + step) * depth], this->layer.at.size);
        this->layer.write(first[0], k, call.out);
        __atomic_store_n(arrived() + k, parts + 1, __ATOMIC_RELEASE);
    }

    std::int32_t* arrived() const { return call.arrived + this->member * this->s.depth; }

    // The gradient of a layer over a node of the tree of leaves.
    void pull(Range range, const Real* h, Real* gradient, Real* spare) {
        if (range.size() == 1) {
            const Range r = this->leaf_rows_of(range.from);
            const Index at = r.from * this->layer.at.q;
            this->layer.pull(h + at, this->state + at, r.size(), gradient);
            return;
        }
        pull({range.from, range.middle()}, h, gradient, spare);
        pull({range.middle(), range.to}, h, spare, spare + this->layer.at.size);
        add(gradient, spare, this->layer.at.size);
    }

    const Backward<Real>& call;
    const Index part;
    Real *sums, *segment;
};

template <class Real>
void backward(const Backward<Real>& b, Index index, Real* scratch) {
    BackwardTask<Real>(b, index, scratch).run();
}

template <class Real>
Index gradient_size(const Stack<Real>& s) {
    return Layout<Real>(s).size;
}

template <class Real>
Index scratch(const Stack<Real>& s, Index level) {
    // The first part has the most leaves; a leaf elsewhere may have one row more, and each of two pieces is rounded to whole cache lines.
    const Backward<Real> none{s, nullptr, nullptr, {}, level, nullptr, nullptr, nullptr};
    BackwardTask<Real> task(none, 0, nullptr);
    const Index more = task.leaf_range.size() * task.layer.at.q * (segment_states(s) + 1);
    return task.arena.used() + round_up(more + 2 * 64 / sizeof(Real), 64);
}

template <class Real>
constexpr Kernels<Real> kernels{lanes<Real>, gradient_size<Real>, scratch<Real>, forward<Real>, backward<Real>};

#define DEEPLIMIT_TEXT(x) DEEPLIMIT_TEXT_OF(x)
#define DEEPLIMIT_TEXT_OF(x) #x
const InstructionSet table{DEEPLIMIT_TEXT(DEEPLIMIT_ISA), kernels<float>, kernels<double>, convolutions};

}  // namespace

const InstructionSet& instruction_set() { return table; }

}  // namespace deeplimit::DEEPLIMIT_ISA
