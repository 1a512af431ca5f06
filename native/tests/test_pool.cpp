// Threads: each job once, exceptions, callers at once and inside each other, and fork.
#include "pool.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "problem.hpp"

using deeplimit::parallel;

namespace {

bool each_once(Index threads, Index count) {
    std::vector<std::atomic<int>> times(static_cast<std::size_t>(count));
    parallel(threads, count, [&](Index i) { times[static_cast<std::size_t>(i)].fetch_add(1); });
    return std::all_of(times.begin(), times.end(), [](const std::atomic<int>& t) { return t.load() == 1; });
}

void jobs() {
    for (Index count : {0, 1, 2, 3, 1000})
        for (Index threads : {0, 1, 2, 3, 4, 8}) CHECK(each_once(threads, count), threads, count);
    // One after the other, without a pause: a thread that wakes late must not take part in the next call with the jobs of the last.
    for (int round = 0; round < 2000; ++round) CHECK(each_once(2 + round % 3, 1 + round % 7), round);
    // The threads sleep in between.
    for (int round = 0; round < 5; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
        CHECK(each_once(4, 100), round);
    }
}

// As many jobs at once as there are threads, and on no more threads than that, though the pool has more.
void numbers_of_threads() {
    using namespace std::chrono;
    for (Index threads : {8, 2, 3}) {
        std::atomic<Index> arrived{0};
        const auto end = steady_clock::now() + seconds(20);
        parallel(threads, threads, [&](Index) {
            arrived.fetch_add(1);
            while (arrived.load() < threads && steady_clock::now() < end) std::this_thread::yield();
        });
        CHECK(steady_clock::now() < end, threads, arrived.load());

        std::mutex noting;
        std::set<std::thread::id> ids;
        parallel(threads, 60, [&](Index) {
            std::this_thread::sleep_for(microseconds(100));
            const std::lock_guard lock(noting);
            ids.insert(std::this_thread::get_id());
        });
        CHECK(static_cast<Index>(ids.size()) <= threads && ids.count(std::this_thread::get_id()) == 1, threads, ids.size());
    }
}

void exceptions() {
    for (Index threads : {1, 2, 4}) {
        for (Index thrower : {0, 1, 17, 39}) {
            std::atomic<int> done{0};
            const auto call = [&] {
                parallel(threads, 40, [&](Index i) {
                    if (i == thrower) throw std::out_of_range("job");
                    done.fetch_add(1);
                });
            };
            CHECK(throws<std::out_of_range>(call), threads, thrower);
            CHECK(done.load() == 39, threads, thrower, done.load());  // the others are done
            CHECK(each_once(threads, 100), threads, thrower);
        }
        CHECK(throws<int>([&] { parallel(threads, 40, [](Index i) { throw static_cast<int>(i); }); }), threads);
        CHECK(each_once(threads, 100), threads);
    }
}

void nested() {
    for (Index threads : {1, 2, 4}) {
        std::vector<std::atomic<int>> times(12 * 30);
        parallel(threads, 12, [&](Index i) {
            parallel(threads, 30, [&](Index j) { times[static_cast<std::size_t>(i * 30 + j)].fetch_add(1); });
        });
        CHECK(std::all_of(times.begin(), times.end(), [](const std::atomic<int>& t) { return t.load() == 1; }), threads);
    }
}

// Different problems at once, each caller with several threads, among callers of other jobs.
void callers() {
    std::vector<std::thread> threads;
    for (int caller = 0; caller < 4; ++caller) {
        threads.emplace_back([caller] {
            const Size size{80 + 40 * caller, 5 + caller, 7, 6};
            const Problem<double> problem(1 + caller % 2, size, kinds[3 + caller], Activation::gelu, 10u + caller);
            const Results<double> expected = run(problem, 1, 1);
            for (int round = 0; round < 30; ++round) {
                const Results<double> found = run(problem, 1 + round % 3, 1 + (caller + round) % 5);
                CHECK(difference(expected, found).empty(), difference(expected, found), problem.name, round);
            }
        });
        threads.emplace_back([caller] {
            for (int round = 0; round < 100; ++round) CHECK(each_once(2 + caller % 3, 50), caller, round);
        });
    }
    for (std::thread& thread : threads) thread.join();
}

// Runs the check in a child of fork, which has a minute for it.
template <class Check>
bool in_child(const Check& check) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(check() ? 0 : 1);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void forks() {
    const Problem<double> problem(2, {150, 9, 7, 6}, kinds[3], Activation::gelu, 20);
    const Results<double> expected = run(problem, 2, 4);  // there are threads before the fork
    const auto computes = [&] {
        bool right = each_once(4, 100);
        for (Index threads : {4, 1, 3}) right = right && difference(expected, run(problem, 2, threads)).empty();
        return right;
    };
    CHECK(in_child(computes));
    CHECK(in_child([&] { return computes() && in_child(computes); }));  // a child's child
    CHECK(computes());
}

// Fork while another thread computes, and so has threads and memory in its hands.
void forks_amid_work() {
    const Problem<double> problem(2, {150, 9, 7, 6}, kinds[3], Activation::gelu, 21);
    const Results<double> expected = run(problem, 2, 4);
    std::atomic<bool> stop{false};
    std::thread other([&] {
        while (!stop.load()) deeplimit::give_block(deeplimit::take_block(1000)), run(problem, 2, 3);
    });
    std::thread taker([&] {
        while (!stop.load()) deeplimit::give_block(deeplimit::take_block(1000));
    });
    bool right = true;
    for (int i = 0; right && i < 50; ++i) right = in_child([&] { return difference(expected, run(problem, 2, 4)).empty(); });
    CHECK(right);
    stop.store(true);
    other.join();
    taker.join();
}

}  // namespace

void test_pool() {
    jobs();
    numbers_of_threads();
    exceptions();
    nested();
    callers();
    if (!thread_sanitizer) forks();  // it knows no threads in a child of fork
    if (!address_sanitizer && !thread_sanitizer) forks_amid_work();  // whose own locks may be held at the fork
}
