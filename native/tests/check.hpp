// What every test uses: CHECK, memory with guards, and random numbers that are the same everywhere.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <random>
#include <sstream>
#include <string>

#include "stack.hpp"

#if defined(__has_feature)
#define TEST_HAS_FEATURE(name) __has_feature(name)
#else
#define TEST_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || TEST_HAS_FEATURE(address_sanitizer)
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__) || TEST_HAS_FEATURE(thread_sanitizer)
constexpr bool thread_sanitizer = true;
#else
constexpr bool thread_sanitizer = false;
#endif

inline std::atomic<int> failures{0};

template <class... T>
std::string text(const T&... values) {
    std::ostringstream out;
    out.precision(9);
    [[maybe_unused]] const char* separator = "";
    ((out << separator << values, separator = ", "), ...);
    return out.str();
}

inline void fail(const char* file, int line, const char* condition, const char* names, const std::string& values) {
    constexpr int shown = 40;
    const int before = failures.fetch_add(1);
    if (before == shown) std::printf("... more failures are counted, not shown\n");
    if (before < shown) std::printf("%s:%d: failed: %s   [%s] = [%s]\n", file, line, condition, names, values.c_str());
    std::fflush(stdout);
}

// CHECK(condition, values to show where it fails ...): counts a failure and goes on.
#define CHECK(condition, ...) ((condition) ? void() : fail(__FILE__, __LINE__, #condition, #__VA_ARGS__, text(__VA_ARGS__)))

template <class Exception, class Call>
bool throws(const Call& call) {
    try {
        call();
    } catch (const Exception&) {
        return true;
    }
    return false;
}

// Exactly as many values as asked for, so that the address sanitizer sees any access beyond them; without it, guards on both sides tell
// of writes. New values are NaN: what is not written shows. A default-made buffer is null.
template <class T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(deeplimit::Index size, T value = std::numeric_limits<T>::quiet_NaN())
        : size_(size), block_(new T[static_cast<std::size_t>(size + 2 * guard)]) {
        std::fill_n(block_.get(), size + 2 * guard, guarding);
        std::fill_n(data(), size, value);
    }

    T* data() const { return block_ ? block_.get() + guard : nullptr; }
    deeplimit::Index size() const { return size_; }
    T* begin() const { return data(); }
    T* end() const { return data() + size_; }
    T& operator[](deeplimit::Index i) const { return data()[i]; }

    bool intact() const {
        const auto held = [](T value) { return value == guarding; };
        return !block_ || (std::all_of(block_.get(), data(), held) && std::all_of(end(), end() + guard, held));
    }

    Buffer slice(deeplimit::Index part, deeplimit::Index parts) const {
        if (!block_) return {};
        Buffer copy(size_ / parts);
        std::copy_n(data() + part * copy.size(), copy.size(), copy.data());
        return copy;
    }

private:
    static constexpr deeplimit::Index guard = address_sanitizer ? 0 : 64;
    static constexpr T guarding = T(-12345.5);
    deeplimit::Index size_ = 0;
    std::unique_ptr<T[]> block_;
};

class Random {
public:
    explicit Random(std::uint64_t seed) : bits_(seed) {}
    double uniform(double from, double to) { return from + (to - from) * static_cast<double>(bits_() >> 11) * 0x1p-53; }
    deeplimit::Index index(deeplimit::Index from, deeplimit::Index to) {  // from ... to, both possible
        return from + static_cast<deeplimit::Index>(bits_() % static_cast<std::uint64_t>(to - from + 1));
    }

private:
    std::mt19937_64 bits_;
};

// The tests, one function for each file.
void test_values();
void test_activations();
void test_bits();
void test_convolutions();
void test_tree();
void test_pool();
void test_memory();
