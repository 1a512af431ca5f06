// The C++ tests of the native engine: `test_native [ISA]` runs all of them with an instruction set, or with the best one.
// Exit status: 0 passed, 1 failed, 77 the processor lacks the instruction set.
#include <chrono>
#include <stdexcept>

#include "check.hpp"
#include "engine.hpp"

namespace {

void test_instruction_sets() {
    const std::string used = deeplimit::instruction_set().name;
    for (const deeplimit::Compiled& c : deeplimit::compiled()) {
        const auto use = [&] { deeplimit::use_instruction_set(c.name); };
        if (c.runs_here) {
            use();
            CHECK(deeplimit::instruction_set().name == c.name, c.name, deeplimit::instruction_set().name);
            CHECK(deeplimit::instruction_set().single.lanes == 2 * deeplimit::instruction_set().twice.lanes);
        } else {
            CHECK(throws<std::invalid_argument>(use), c.name);
        }
    }
    CHECK(deeplimit::compiled().back().name == "generic" && deeplimit::compiled().back().runs_here);
    CHECK(throws<std::invalid_argument>([] { deeplimit::use_instruction_set("abacus"); }));
    deeplimit::use_instruction_set(used);
    CHECK(used == deeplimit::instruction_set().name, used);
}

struct Test {
    const char* name;
    void (*run)();
};

// The tests of memory come first, while nothing else has taken any.
constexpr Test tests[] = {
    {"memory", test_memory},             {"instruction sets", test_instruction_sets},
    {"tree", test_tree},                 {"activations", test_activations},
    {"values", test_values},             {"bits", test_bits},
    {"convolutions", test_convolutions}, {"pool", test_pool},
};

}  // namespace

int main(int count, char** arguments) {
    if (count > 1) {
        const std::string isa = arguments[1];
        for (const deeplimit::Compiled& c : deeplimit::compiled())
            if (c.name == isa && !c.runs_here) return 77;
        deeplimit::use_instruction_set(isa);
    }
    std::printf("instruction set: %s\n", deeplimit::instruction_set().name);
    for (const Test& test : tests) {
        const int before = failures;
        const auto start = std::chrono::steady_clock::now();
        test.run();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        std::printf("-- %s: %.1f s, %d failures\n", test.name, seconds.count(), failures - before);
        std::fflush(stdout);
    }
    return failures == 0 ? 0 : 1;
}
