// What must not change a single bit: the interval, the number of threads, the ensemble. And the tree of samples by which it does not.
#include <vector>

#include "problem.hpp"

namespace {

constexpr Activation activations[] = {Activation::gelu, Activation::tanh, Activation::silu};

// Intervals: the same gradients; the kept states are those of interval 1.
template <class Real>
void intervals(Index members, const Size& size, const Kind& kind, Activation activation) {
    const Problem<Real> problem(members, size, kind, activation, 3);
    const Results<Real> stored = run(problem, 1, 1);
    const Index lanes = kernels<Real>().lanes, L = size.depth, row = (size.state + lanes - 1) / lanes * lanes, state = size.samples * row;
    CHECK(stored.kept.size() == members * (L + 1) * state, problem.name, stored.kept.size());
    const Results<Real> none = run(problem, 0, 1);
    CHECK(same_bits(none.all[of_last], stored.all[of_last]), problem.name);
    const Index root = static_cast<Index>(std::ceil(std::sqrt(static_cast<double>(L))));
    for (Index interval : {Index(2), Index(3), Index(7), root, L, L + 1, L + 20}) {
        if (interval == 1) continue;
        const Index each = (L + interval - 1) / interval;
        for (Index threads : {1, 3}) {
            const Results<Real> found = run(problem, interval, threads);
            CHECK(difference(stored, found).empty(), difference(stored, found), problem.name, interval, threads);
            CHECK(found.kept.size() == members * each * state, problem.name, interval, found.kept.size());
            bool equal = true;
            for (Index e = 0; e < members; ++e)
                for (Index i = 0; i < each; ++i)
                    for (Index x = 0; x < state; ++x)
                        equal = equal && found.kept[(e * each + i) * state + x] == stored.kept[(e * (L + 1) + i * interval) * state + x];
            CHECK(equal, problem.name, interval, threads);
        }
    }
    bool first = true, last = true;
    for (Index e = 0; e < members; ++e) {
        for (Index i = 0; i < size.samples; ++i) {
            for (Index j = 0; j < size.state; ++j) {
                const Index x = (e * size.samples + i) * size.state + j;
                first = first && stored.kept[e * (L + 1) * state + i * row + j] == problem.first[x];
                last = last && stored.kept[(e * (L + 1) + L) * state + i * row + j] == stored.all[of_last][x];
            }
        }
    }
    CHECK(first && last, problem.name, first, last);
}

template <class Real>
void threads_and_members(Index members, Index samples, const Kind& kind, Activation activation) {
    const Problem<Real> problem(members, {samples, 9, 13, 4}, kind, activation, 4);
    for (Index interval : {1, 3}) {
        const Results<Real> one = run(problem, interval, 1);
        for (Index threads : {2, 3, 4, 5, 8}) {
            const Results<Real> many = run(problem, interval, threads);
            CHECK(difference(one, many).empty(), difference(one, many), problem.name, interval, threads);
            CHECK(same_bits(one.kept, many.kept), problem.name, interval, threads);
        }
        for (Index e = 0; members > 1 && e < members; ++e) {
            const Results<Real> alone = run(problem.member(e), interval, 2);
            Results<Real> part(problem.member(e));
            for (int i = 0; i < results; ++i) part.all[i] = one.all[i].slice(e, members);
            CHECK(difference(alone, part).empty(), difference(alone, part), problem.name, interval, e);
            CHECK(same_bits(alone.kept, one.kept.slice(e, members)), problem.name, interval, e);
        }
    }
}

// The kernels without the engine: working memory is exactly as long as they say, and NaN before each task, so that neither what lies beyond
// nor what an earlier task left can have any part in the results. Every level must give the same bits.
template <class Real>
void levels(Index members, const Size& size, const Kind& kind, Activation activation, Index interval) {
    const Problem<Real> problem(members, size, kind, activation, 6);
    const Results<Real> expected = run(problem, interval, 1);
    Stack<Real> s = problem.stack;
    s.interval = interval;
    const auto& k = kernels<Real>();
    for (Index level = 0; Index(1) << level <= deeplimit::leaves(s.samples); ++level) {
        const Index tasks = members << level;
        Results<Real> found(problem);
        found.kept = Buffer<Real>(deeplimit::kept_size(s));
        const deeplimit::Forward<Real> forward{s, problem.first.data(), found.all[of_last].data(), found.kept.data(), level};
        for (Index task = tasks - 1; task >= 0; --task) {
            const Buffer<Real> scratch(k.scratch(s, level));
            k.forward(forward, task, scratch.data());
            CHECK(scratch.intact(), problem.name, level, task);
        }
        const Buffer<Real> parts(level ? tasks * (deeplimit::ring + s.depth) * k.gradient_size(s) : 0);
        const Buffer<Real> deltas(s.shared_delta ? members * s.depth : 0);
        std::vector<Real*> places(tasks * s.depth);
        const Buffer<std::int32_t> arrived(level ? members * s.depth : 0, 0);
        deeplimit::Backward<Real> backward{s, problem.direction.data(), found.kept.data(), found.gradients(), level, parts.data(),
                                           places.data(), arrived.data()};
        if (s.shared_delta) backward.out.delta = deltas.data();
        for (Index task = tasks - 1; task >= 0; --task) {
            const Buffer<Real> scratch(k.scratch(s, level));
            k.backward(backward, task, scratch.data());
            CHECK(scratch.intact() && parts.intact(), problem.name, level, task);
        }
        for (Index e = 0; s.shared_delta && e < members; ++e) {
            found.all[of_delta][e] = 0;
            for (Index i = 0; i < s.depth; ++i) found.all[of_delta][e] += deltas[e * s.depth + i];
        }
        CHECK(found.intact() && deltas.intact() && arrived.intact(), problem.name, level);
        CHECK(difference(expected, found).empty(), difference(expected, found), problem.name, interval, level);
        CHECK(same_bits(expected.kept, found.kept), problem.name, interval, level);
    }
}

template <class Real>
void bits() {
    int turn = 0;
    for (const Kind& kind : kinds) {
        const Activation activation = activations[turn++ % 3];
        intervals<Real>(turn % 2 + 1, {turn % 3 ? 35 : 5, 11, 6, 10}, kind, activation);
        intervals<Real>(1, {3, 5, 3, 1 + turn % 5}, kind, activation);
        threads_and_members<Real>(3, 70, kind, activation);
        threads_and_members<Real>(1, 33 + 29 * turn, kind, activation);
        levels<Real>(2, {20 + 31 * turn, 7, 5, 5}, kind, activation, turn % 4 + 1);
    }
    for (const Index members : {1, 2, 5})
        for (const Index samples : {1, 32, 65, 129, 400})
            threads_and_members<Real>(members, samples, kinds[members % 2 ? 3 : 7], Activation::gelu);
    // A part with one row more than the first, whose pieces of working memory are rounded to cache lines apart.
    levels<Real>(1, {41, 8, 8, 49}, kinds[3], Activation::tanh, 7);
    levels<Real>(1, {41, 4, 4, 16}, kinds[3], Activation::tanh, 15);
    for (const Index samples : {1, 31, 33, 63, 65, 97, 100, 129, 161, 190, 257, 290}) {
        levels<Real>(1, {samples, 17, 9, 3}, kinds[3], Activation::tanh, 1);
        levels<Real>(1, {samples, 17, 9, 7}, kinds[9], Activation::tanh, 3);
    }
}

// The nodes of a level are consecutive, cover all leaves, and none is empty.
void cuts(Index samples) {
    using namespace deeplimit;
    const Index count = leaves(samples);
    CHECK(count >= 1 && (count == 1 || samples >= count), samples, count);
    for (Index leaf = 0; leaf < count; ++leaf) {
        const Index size = rows_of({leaf, leaf + 1}, count, samples).size();
        CHECK(size <= leaf_rows && size >= samples / count && size <= samples / count + 1, samples, leaf, size);
    }
    Index largest_before = 2 * count;
    for (Index level = 0; Index(1) << level <= count; ++level) {
        Index leaf = 0, row = 0, largest = 0;
        for (Index part = 0; part < Index(1) << level; ++part) {
            const Range range = node(count, level, part), rows = rows_of(range, count, samples);
            CHECK(range.from == leaf && range.size() > 0, samples, level, part, range.from, range.to);
            CHECK(rows.from == row && rows.size() >= 0, samples, level, part, rows.from, rows.to);
            leaf = range.to, row = rows.to, largest = std::max(largest, range.size());
            if (level > 0) {
                const Range parent = node(count, level - 1, part / 2);
                CHECK(part % 2 ? range.to == parent.to : range.from == parent.from, samples, level, part);
            }
        }
        CHECK(leaf == count && row == samples, samples, level, leaf, row);
        CHECK(largest == node(count, level, 0).size() && largest == (largest_before + 1) / 2, samples, level, largest);
        largest_before = largest;
    }
}

}  // namespace

void test_bits() {
    bits<float>();
    bits<double>();
}

void test_tree() {
    for (Index samples = 0; samples <= 1500; ++samples) cuts(samples);
    for (Index samples : {2047, 2048, 2049, 10000, 32769, 100003}) cuts(samples);
}
