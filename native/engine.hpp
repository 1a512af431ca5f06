// The engine on whole stacks: the instruction set, the threads and the memory are chosen here.
#pragma once

#include <string>
#include <vector>

#include "memory.hpp"
#include "stack.hpp"

namespace deeplimit {

struct Compiled {
    std::string name;
    bool runs_here;                // this processor has it
    const InstructionSet& (*get)();
};

const std::vector<Compiled>& compiled();       // the best first
const InstructionSet& instruction_set();       // the one in use
void use_instruction_set(const std::string&);  // throws std::invalid_argument

template <class Real>
Index kept_size(const Stack<Real>& stack);     // Reals of the states that a forward pass keeps

// kept: null where stack.interval is 0.
template <class Real>
void forward(const Stack<Real>& stack, const Real* first, Real* last, Real* kept, Index threads);

template <class Real>
void backward(const Stack<Real>& stack, const Real* direction, const Real* kept, const Gradients<Real>& out, Index threads);

}  // namespace deeplimit
