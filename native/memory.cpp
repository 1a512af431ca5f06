#include "memory.hpp"

#include <cstdint>
#include <cstdlib>
#include <list>
#include <mutex>
#include <new>
#include <unordered_map>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#include <pthread.h>
#include <unistd.h>

namespace deeplimit {
namespace {

constexpr std::size_t line = 64, page = std::size_t(2) << 20;

std::size_t physical_memory() {
    return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// Large blocks start at different places within a page: at equal ones, what is read and written side by side would contend for the same
// lines of the caches.
constexpr std::size_t colours = 61, step = 17 * line, margin = colours * step;

std::size_t rounded(std::size_t bytes) {
    if (bytes > SIZE_MAX - margin - page) throw std::bad_alloc();
    if (bytes == 0) return line;
    const bool large = bytes >= page / 2;
    const std::size_t unit = large ? page : line, all = bytes + (large ? margin : 0);
    return (all + unit - 1) / unit * unit;
}

void* allocate(std::size_t bytes) {
    static std::size_t next = 0;   // called under the lock of the cache
    const bool large = bytes >= page;
    void* start = std::aligned_alloc(large ? page : line, bytes);
    if (!start) throw std::bad_alloc();
    if (!large) return start;
#if defined(__linux__)
    madvise(start, bytes, MADV_HUGEPAGE);  // one fault for 2 MiB in place of 512
#endif
    next = (next + 1) % colours;
    return static_cast<char*>(start) + next * step;
}

void deallocate(void* block, std::size_t bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(block);
    std::free(bytes >= page ? reinterpret_cast<void*>(address / page * page) : block);
}

class Cache {
public:
    void* take(std::size_t bytes) {
        bytes = rounded(bytes);
        const std::lock_guard lock(mutex_);
        void* block = reused(bytes);
        if (!block) block = allocate(bytes);
        sizes_[block] = bytes;
        usage_.in_use += bytes;
        if (usage_.in_use > usage_.peak) usage_.peak = usage_.in_use;
        return block;
    }

    void give(void* block) {
        const std::lock_guard lock(mutex_);
        const std::size_t bytes = sizes_.extract(block).mapped();
        usage_.in_use -= bytes;
        free_.push_front({block, bytes});
        usage_.cached += bytes;
        shrink(most_);
    }

    void release() {
        const std::lock_guard lock(mutex_);
        shrink(0);
    }

    Usage usage() {
        const std::lock_guard lock(mutex_);
        return usage_;
    }

    void reset_peak() {
        const std::lock_guard lock(mutex_);
        usage_.peak = usage_.in_use;
    }

    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

private:
    struct Free {
        void* block;
        std::size_t bytes;
    };

    void* reused(std::size_t bytes) {
        for (auto i = free_.begin(); i != free_.end(); ++i) {
            if (i->bytes != bytes) continue;
            void* block = i->block;
            free_.erase(i);
            usage_.cached -= bytes;
            return block;
        }
        return nullptr;
    }

    // Free the blocks that were not used for longest, until at most so many bytes are kept.
    void shrink(std::size_t most) {
        while (usage_.cached > most) {
            deallocate(free_.back().block, free_.back().bytes);
            usage_.cached -= free_.back().bytes;
            free_.pop_back();
        }
    }

    std::mutex mutex_;
    std::list<Free> free_;         // the latest first
    std::unordered_map<void*, std::size_t> sizes_;
    Usage usage_{};
    const std::size_t most_ = physical_memory() / 8;
};

// Never destroyed: tensors may give blocks back while the process ends.
Cache& cache() {
    static Cache* const shared = [] {
        // Fork waits until no other thread is in the cache: its child finds it whole and unlocked.
        pthread_atfork([] { cache().lock(); }, [] { cache().unlock(); }, [] { cache().unlock(); });
        return new Cache;
    }();
    return *shared;
}

}  // namespace

void* take_block(std::size_t bytes) { return cache().take(bytes); }
void give_block(void* block) { cache().give(block); }
void release_blocks() { cache().release(); }
Usage usage() { return cache().usage(); }
void reset_peak() { cache().reset_peak(); }

}  // namespace deeplimit
