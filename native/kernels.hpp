// The entry points of each instruction set that kernels.cpp and convolution_kernels.cpp are compiled for.
#pragma once

#include "convolution.hpp"

#define DEEPLIMIT_DECLARE(isa) \
    namespace deeplimit::isa { \
    const InstructionSet& instruction_set(); \
    const ConvolutionSet& convolutions(); \
    }

DEEPLIMIT_DECLARE(generic)
DEEPLIMIT_DECLARE(avx2)
DEEPLIMIT_DECLARE(avx512)
