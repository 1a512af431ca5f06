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

#include "convolution.hpp"
#include "engine.hpp"

namespace nb = nanobind;
using namespace deeplimit;

namespace {

using Address = std::uintptr_t;    // 0: not there
using Sizes = std::array<Index, 5>;
using Parameters = std::array<Address, 5>;
using Convolution = std::array<Address, 8>;
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

// sizes: L, n, C, H, W. parameters: W, b, gain, shift of the first convolution, then of the second. numbers: negative slope, scale, epsilon.
template <class Real>
Convolutions<Real> convolutions(const Sizes& sizes, const Convolution& parameters, int activation, const std::array<double, 3>& numbers,
                                bool keeps) {
    const auto [L, n, C, H, W] = sizes;
    const auto p = [&](int i) { return at<const Real>(parameters[i]); };
    return {L, n, C, H, W, static_cast<Activation>(activation), static_cast<Real>(numbers[0]), static_cast<Real>(numbers[1]), numbers[2],
            {p(0), p(4)}, {p(1), p(5)}, {p(2), p(6)}, {p(3), p(7)}, keeps};
}

template <class Real>
void convolve_at(const std::array<Address, 4>& states, const Sizes& sizes, const Convolution& parameters, int activation,
                 const std::array<double, 3>& numbers, bool keeps, Index threads) {
    const auto [first, last, kept, moments] = states;
    forward(convolutions<Real>(sizes, parameters, activation, numbers, keeps), at<const Real>(first), at<Real>(last), at<Real>(kept),
            at<Real>(moments), threads);
}

template <class Real>
void convolve_backward_at(const std::array<Address, 3>& states, const Convolution& gradients, const Sizes& sizes,
                          const Convolution& parameters, int activation, const std::array<double, 3>& numbers, Index threads) {
    const auto [direction, kept, first] = states;
    const auto g = [&](int i) { return at<Real>(gradients[i]); };
    const ConvolutionGradients<Real> out{at<Real>(first), {g(0), g(4)}, {g(1), g(5)}, {g(2), g(6)}, {g(3), g(7)}};
    backward(convolutions<Real>(sizes, parameters, activation, numbers, true), at<const Real>(direction), at<Real>(kept), out, threads);
}

template <class Real>
Index convolution_size(const Sizes& sizes, bool keeps) {
    return kept_size(convolutions<Real>(sizes, {}, 0, {}, keeps));
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
    m.def("convolve32", &convolve_at<float>, unlocked);
    m.def("convolve64", &convolve_at<double>, unlocked);
    m.def("convolve_backward32", &convolve_backward_at<float>, unlocked);
    m.def("convolve_backward64", &convolve_backward_at<double>, unlocked);
    m.def("convolution_size32", &convolution_size<float>);
    m.def("convolution_size64", &convolution_size<double>);
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
