// Blocks of memory: where they lie, that they come back, and what is counted.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <new>
#include <thread>
#include <vector>

#include "check.hpp"
#include "memory.hpp"

using namespace deeplimit;

namespace {

constexpr std::size_t mega = std::size_t(1) << 20;

struct Held {
    char* block;
    std::size_t bytes, counted;  // asked for; and by how much `in_use` grew, which is for memory.cpp to choose
};

Held take(std::size_t bytes) {
    const std::size_t before = usage().in_use;
    char* block = static_cast<char*>(take_block(bytes));
    return {block, bytes, usage().in_use - before};
}

void alignment_and_counts() {
    release_blocks();
    reset_peak();
    const Usage before = usage();
    CHECK(before.in_use == 0 && before.peak == 0 && before.cached == 0, before.in_use, before.peak, before.cached);
    std::vector<Held> held;
    std::size_t total = 0;
    for (std::size_t bytes : std::initializer_list<std::size_t>{0, 1, 63, 64, 65, 1000, 1000, mega - 1, mega, 2 * mega - 64, 2 * mega - 1,
                                                                2 * mega, 2 * mega + 1, 6 * mega - 5, 6 * mega - 5}) {
        const Held h = take(bytes);
        CHECK(reinterpret_cast<std::uintptr_t>(h.block) % 64 == 0, bytes);
        CHECK(h.counted >= bytes && h.counted > 0 && h.counted <= 3 * bytes + 64, bytes, h.counted);
        held.push_back(h);
        std::memset(h.block, static_cast<int>(held.size()), bytes);
        total += h.counted;
        CHECK(usage().in_use == total && usage().peak == total && usage().cached == 0, bytes, usage().in_use, total);
    }
    std::size_t cached = 0;
    for (std::size_t i = 0; i < held.size(); ++i) {
        const char mark = static_cast<char>(i + 1);
        CHECK(std::all_of(held[i].block, held[i].block + held[i].bytes, [&](char c) { return c == mark; }), held[i].bytes);
        give_block(held[i].block);
        cached += held[i].counted;
        CHECK(usage().in_use == total - cached && usage().cached == cached, held[i].bytes, usage().in_use, usage().cached);
    }
    CHECK(usage().peak == total, usage().peak, total);
    reset_peak();
    CHECK(usage().peak == 0, usage().peak);
    release_blocks();
    CHECK(usage().in_use == 0 && usage().cached == 0, usage().in_use, usage().cached);
}

void reuse() {
    for (std::size_t bytes : {std::size_t(5000), 3 * mega}) {
        const Held held = take(bytes);
        give_block(held.block);
        CHECK(usage().cached == held.counted, usage().cached, held.counted);
        const Held other = take(4 * bytes);  // of another size: not that block
        const Held again = take(bytes);
        CHECK(other.block != held.block && again.block == held.block, bytes);
        CHECK(again.counted == held.counted && usage().cached == 0, again.counted, held.counted, usage().cached);
        release_blocks();  // what is in use stays
        std::memset(again.block, 1, bytes);
        std::memset(other.block, 1, 4 * bytes);
        give_block(again.block);
        give_block(other.block);
        {
            const Block<double> numbers = block<double>(bytes / sizeof(double));
            CHECK(static_cast<void*>(numbers.get()) == held.block, bytes);
            numbers[bytes / sizeof(double) - 1] = 1;
        }
        CHECK(usage().in_use == 0, usage().in_use);
        release_blocks();
    }
}

// No more than an eighth of the memory is kept; the blocks that were not used for longest go first. The large blocks are never touched, so
// they take addresses only.
void limit() {
    const std::size_t most = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) / 8;
    try {
        const Held older = take(100), half = take(most / 2 - 8 * mega), larger = take(most / 2 + 8 * mega);
        give_block(older.block);
        give_block(half.block);
        CHECK(usage().cached == older.counted + half.counted, usage().cached);
        give_block(larger.block);
        CHECK(usage().cached == larger.counted, usage().cached, most);
        const Held again = take(larger.bytes);
        CHECK(again.block == larger.block);
        give_block(again.block);
        give_block(take(most + mega).block);
        CHECK(usage().cached == 0, usage().cached);
    } catch (const std::bad_alloc&) {
        std::printf("limit: skipped, the system gives no such large blocks\n");
    }
    release_blocks();
    CHECK(throws<std::bad_alloc>([] { take_block(std::size_t(1) << 60); }));
    CHECK(usage().in_use == 0 && usage().cached == 0, usage().in_use, usage().cached);
}

// Blocks in use, some of them used before, share no byte.
void apart() {
    Random random(9);
    std::vector<Held> held;
    std::size_t total = 0;
    for (int round = 0; round < 300; ++round) {
        held.push_back(take(static_cast<std::size_t>(round % 50 == 0 ? 3 << 20 : random.index(1, 3000))));
        total += held.back().counted;
        if (round % 3 == 2) {
            const std::size_t i = static_cast<std::size_t>(random.index(0, static_cast<Index>(held.size()) - 1));
            give_block(held[i].block);
            total -= held[i].counted;
            held[i] = held.back();
            held.pop_back();
        }
    }
    std::sort(held.begin(), held.end(), [](const Held& x, const Held& y) { return x.block < y.block; });
    for (std::size_t i = 1; i < held.size(); ++i) CHECK(held[i - 1].block + held[i - 1].bytes <= held[i].block, i, held[i - 1].bytes);
    CHECK(usage().in_use == total, usage().in_use, total);
    for (const Held& h : held) give_block(h.block);
    release_blocks();
}

// Random taking and giving by several threads at once: each fills what it holds, and finds it as it was.
void at_once() {
    constexpr int workers = 4;
    std::vector<std::thread> threads;
    for (int worker = 0; worker < workers; ++worker) {
        threads.emplace_back([worker] {
            Random random(static_cast<std::uint64_t>(worker));
            std::vector<Held> held;
            std::vector<char> marks;
            const auto give = [&](std::size_t i) {
                const char mark = marks[i];
                CHECK(std::all_of(held[i].block, held[i].block + held[i].bytes, [&](char c) { return c == mark; }), worker, held[i].bytes);
                give_block(held[i].block);
                held[i] = held.back(), marks[i] = marks.back();
                held.pop_back(), marks.pop_back();
            };
            for (int step = 0; step < 1500; ++step) {
                if (held.size() < 12 && random.index(0, 2) > 0) {
                    const std::size_t bytes = static_cast<std::size_t>(random.index(0, 20)) * 64;
                    char* block = static_cast<char*>(take_block(bytes));
                    const char mark = static_cast<char>(random.index(0, 127));
                    std::memset(block, mark, bytes);
                    held.push_back({block, bytes, 0}), marks.push_back(mark);
                } else if (!held.empty()) {
                    give(static_cast<std::size_t>(random.index(0, static_cast<Index>(held.size()) - 1)));
                }
                if (step % 200 == 0) release_blocks();
            }
            while (!held.empty()) give(0);
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(usage().in_use == 0, usage().in_use);
    release_blocks();
}

}  // namespace

void test_memory() {
    alignment_and_counts();
    reuse();
    if (!address_sanitizer && !thread_sanitizer) limit();  // the sanitizers mark every byte, and end the process
    apart();
    at_once();
}
