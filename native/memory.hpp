// Blocks of memory that are kept for the next call: at large depth, fresh pages cost more than the arithmetic on them.
#pragma once

#include <cstddef>
#include <memory>

namespace deeplimit {

void* take_block(std::size_t bytes);      // aligned to cache lines, content undefined; throws std::bad_alloc
void give_block(void* block);             // what take_block gave
void release_blocks();                    // frees what is not in use

struct GiveBlock {
    void operator()(void* block) const { give_block(block); }
};

template <class T>
using Block = std::unique_ptr<T[], GiveBlock>;

template <class T>
Block<T> block(std::size_t count) {
    return Block<T>(static_cast<T*>(take_block(count * sizeof(T))));
}

struct Usage {
    std::size_t in_use, peak, cached;     // bytes
};

Usage usage();
void reset_peak();                        // peak = in use

}  // namespace deeplimit
