// The engine as a Python module. Tensors come as addresses: deeplimit/engines/native.py, the only caller, has checked shapes, precision and
// layout. So nothing here links PyTorch, and a call costs a few microseconds where taking each tensor as an object costs that many times.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstdint>
#include <functional>
#include <numeric>

#include "engine.hpp"

namespace nb = nanobind;
using namespace deeplimit;

namespace {

using Address = std::uintptr_t;    // 0: not there
using Sizes = std::array<Index, 5>;
using Parameters = std::array<Address, 5>;
using Numbers = std::array<double, 4>;

template <class Real>
Real* at(Address address) {
    return reinterpret_cast<Real*>(address);
}

// sizes: E, L, n, q, m. parameters: W, V, b, c, delta. numbers: negative slope, inner, outer, scale.
template <class Real>
Stack<Real> stack(const Sizes& sizes, const Parameters& parameters, bool shared_delta, int activation, const Numbers& numbers,
                  Index interval) {
    const auto [E, L, n, q, m] = sizes;
    const auto [W, V, b, c, delta] = parameters;
    const auto real = [&](int i) { return static_cast<Real>(numbers[i]); };
    return {E, L, n, q, m, static_cast<Activation>(activation), real(0), real(1), real(2), real(3), at<const Real>(W),
            at<const Real>(V), at<const Real>(b), at<const Real>(c), at<const Real>(delta), shared_delta, interval};
}

template <class Real>
void forward_at(const std::array<Address, 3>& states, const Sizes& sizes, const Parameters& parameters, bool shared_delta,
                int activation, const Numbers& numbers, Index interval, Index threads) {
    const auto [first, last, kept] = states;
    forward(stack<Real>(sizes, parameters, shared_delta, activation, numbers, interval), at<const Real>(first), at<Real>(last),
            at<Real>(kept), threads);
}

template <class Real>
void backward_at(const std::array<Address, 3>& states, const Parameters& gradients, const Sizes& sizes, const Parameters& parameters,
                 bool shared_delta, int activation, const Numbers& numbers, Index interval, Index threads) {
    const auto [direction, kept, first] = states;
    const auto [W, V, b, c, delta] = gradients;
    const Gradients<Real> out{at<Real>(first), at<Real>(W), at<Real>(V), at<Real>(b), at<Real>(c), at<Real>(delta)};
    backward(stack<Real>(sizes, parameters, shared_delta, activation, numbers, interval), at<const Real>(direction),
             at<const Real>(kept), out, threads);
}

// A tensor in a block that returns to the cache with it.
template <class Real>
nb::object empty(const std::vector<std::size_t>& shape) {
    const std::size_t size = std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
    Real* data = block<Real>(size).release();
    const nb::capsule owner(data, [](void* held) noexcept { give_block(held); });
    return nb::cast(nb::ndarray<nb::pytorch, Real>(data, shape.size(), shape.data(), owner));
}

}  // namespace

NB_MODULE(_native, m) {
    using namespace nb::literals;
    const nb::call_guard<nb::gil_scoped_release> unlocked;
    m.def("forward32", &forward_at<float>, unlocked);
    m.def("forward64", &forward_at<double>, unlocked);
    m.def("backward32", &backward_at<float>, unlocked);
    m.def("backward64", &backward_at<double>, unlocked);
    m.def("empty32", &empty<float>, "shape"_a);
    m.def("empty64", &empty<double>, "shape"_a);
    m.def("kept_size32", [](const Sizes& s, Index interval) { return kept_size(stack<float>(s, {}, false, 0, {}, interval)); });
    m.def("kept_size64", [](const Sizes& s, Index interval) { return kept_size(stack<double>(s, {}, false, 0, {}, interval)); });
    m.def("instruction_sets", [] {
        nb::list all;
        for (const Compiled& c : compiled()) all.append(nb::make_tuple(c.name, c.runs_here));
        return all;
    });
    m.def("instruction_set", [] { return std::string(instruction_set().name); });
    m.def("use_instruction_set", &use_instruction_set, "name"_a);
    m.def("release", &release_blocks);
    m.def("reset_peak", &reset_peak);
    m.def("memory", [] {
        const Usage u = usage();
        return nb::make_tuple(u.in_use, u.peak, u.cached);
    });
}
