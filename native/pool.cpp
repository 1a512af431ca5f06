#include "pool.hpp"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace deeplimit {
namespace {

// Rounds of looking for work before a thread goes to sleep, some 50 microseconds: the backward pass follows soon upon the forward pass.
constexpr int patience = 2000;

void breathe() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Lives as long as the process: its threads are never joined.
class Pool {
public:
    // False where another caller has the threads.
    bool run(Index helpers, Index count, const std::function<void(Index)>& job) {
        if (taken_.test_and_set()) return false;
        {
            const std::lock_guard lock(mutex_);
            start(helpers);
            job_ = &job;
            count_ = count;
            next_.store(0);
            places_ = helpers;
            round_.fetch_add(1);
        }
        wake_.notify_all();
        work();
        {
            const std::lock_guard lock(mutex_);
            places_ = 0;  // who wakes only now is not waited for
        }
        for (Index i = 0; at_work_.load() != 0; ++i) i < patience ? breathe() : std::this_thread::yield();
        taken_.clear();
        return true;
    }

private:
    void start(Index helpers) {
        try {
            while (static_cast<Index>(threads_.size()) < helpers) threads_.emplace_back([this] { serve(); });
        } catch (const std::exception&) {  // no more threads, or no memory for them: those that are there do
        }
    }

    void work() {
        for (Index i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1)) (*job_)(i);
    }

    void serve() {
        for (Index seen = 0;;) {
            for (int i = 0; i < patience && round_.load() == seen; ++i) breathe();
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return round_.load() != seen; });
                seen = round_.load();
                if (places_ == 0) continue;
                --places_;
                at_work_.fetch_add(1);
            }
            work();
            at_work_.fetch_sub(1);
        }
    }

    std::atomic_flag taken_;       // by a caller
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::thread> threads_;
    std::atomic<Index> round_{0}, next_{0}, at_work_{0};
    const std::function<void(Index)>* job_ = nullptr;
    Index count_ = 0, places_ = 0;
};

std::mutex making;
std::atomic<Pool*> pool{nullptr};

// A child of fork has none of the threads, and locks in any state: it forgets the pool without touching it.
void forget() {
    pool.store(nullptr);
    new (&making) std::mutex;
}

Pool& shared() {
    Pool* found = pool.load();
    if (found) return *found;
    const std::lock_guard lock(making);
    if (!pool.load()) {
        static const int registered = pthread_atfork(nullptr, nullptr, forget);
        (void)registered;
        pool.store(new Pool);
    }
    return *pool.load();
}

}  // namespace

void parallel(Index threads, Index count, const std::function<void(Index)>& job) {
    std::mutex noting;
    std::exception_ptr failure;
    const auto guarded = [&](Index i) {
        try {
            job(i);
        } catch (...) {
            const std::lock_guard lock(noting);
            failure = std::current_exception();
        }
    };
    const Index helpers = (threads < count ? threads : count) - 1;
    if (helpers <= 0 || !shared().run(helpers, count, guarded))
        for (Index i = 0; i < count; ++i) guarded(i);
    if (failure) std::rethrow_exception(failure);
}

}  // namespace deeplimit
