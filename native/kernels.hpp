// The entry point of each instruction set that kernels.cpp is compiled for.
#pragma once

#include "stack.hpp"

#define DEEPLIMIT_DECLARE(isa) \
    namespace deeplimit::isa { \
    const InstructionSet& instruction_set(); \
    }

DEEPLIMIT_DECLARE(generic)
DEEPLIMIT_DECLARE(avx2)
DEEPLIMIT_DECLARE(avx512)
