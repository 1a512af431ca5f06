// Threads that wait for work.
#pragma once

#include <functional>

#include "stack.hpp"

namespace deeplimit {

// Runs job(0) ... job(count - 1), each once, on at most `threads` threads, the caller's among them.
//
// The threads are started once and kept. Where they are at work for another caller, this caller does its jobs alone: jobs must not depend
// on who runs them. A child of fork starts threads of its own.
void parallel(Index threads, Index count, const std::function<void(Index)>& job);

}  // namespace deeplimit
