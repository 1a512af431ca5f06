// Forward and backward against the naive implementation, and the activations against the standard library.
#include "naive.hpp"

namespace {

// The largest error beside the largest entry. In float, a unit is 6e-8: an entry is a sum of up to 545 rounded products, and the states
// have the roundings of L layers; these errors mostly cancel, which leaves some tens of units. In double, a unit is 1.1e-16. Any mistake
// would be larger by orders of magnitude.
template <class Real>
constexpr double most = std::is_same_v<Real, float> ? 5e-6 : 1e-13;
template <class Real>
constexpr double kink_margin = std::is_same_v<Real, float> ? 5e-6 : 1e-12;
template <class Real>
using Wide = std::conditional_t<std::is_same_v<Real, float>, double, long double>;

constexpr Size sizes[] = {
    {1, 1, 1, 1},     {1, 1, 5, 3},    {2, 3, 1, 2},     {1, 7, 9, 4},    {3, 8, 7, 1},     {7, 9, 8, 2},    {8, 2, 15, 3},
    {9, 15, 16, 2},   {15, 16, 17, 4}, {16, 17, 15, 2},  {17, 31, 33, 1}, {31, 32, 31, 2},  {32, 33, 32, 1}, {33, 63, 5, 2},
    {33, 5, 64, 2},   {65, 65, 2, 2},  {64, 64, 65, 1},  {63, 3, 63, 2},  {100, 24, 40, 1}, {129, 4, 6, 5},  {129, 33, 17, 1},
    {65, 127, 3, 1},  {40, 1, 129, 1}, {300, 2, 3, 2},   {545, 3, 2, 1},  {5, 100, 48, 1}, {0, 3, 4, 2},
};

// In the maximum norm, relative to `norm`.
template <class Wide, class Real>
double error(const Buffer<Real>& found, const std::vector<Wide>& expected, const std::vector<Wide>& norm) {
    Wide difference = 0, largest = 0;
    for (Index i = 0; i < found.size(); ++i) {
        if (!std::isfinite(found[i])) return std::numeric_limits<double>::infinity();
        difference = std::max(difference, std::abs(found[i] - expected[i]));
        largest = std::max(largest, std::abs(norm[i]));
    }
    return static_cast<double>(difference == 0 ? 0 : difference / largest);
}

template <class Real>
class Comparison {
public:
    void operator()(Index members, const Size& size, const Kind& kind, Activation activation) {
        ++seed_;
        Problem<Real> problem(members, size, kind, activation, seed_);
        Expected<Wide<Real>> expected = naive<Wide<Real>>(problem);
        while (kinked(activation) && expected.nearest < kink_margin<Real>) {  // the slope would depend on rounding
            seed_ += 1000000;
            problem = Problem<Real>(members, size, kind, activation, seed_);
            expected = naive<Wide<Real>>(problem);
        }
        const Index interval = 1 + static_cast<Index>(seed_ % 3), threads = 1 + static_cast<Index>(seed_ / 3 % 3);
        const Results<Real> found = run(problem, interval, threads);
        for (int i = 0; i < results; ++i) {
            // The gradient of delta is one number, whose terms may cancel: it can be no more exact than they are.
            const double e = error(found.all[i], expected.all[i], i == of_delta ? expected.delta_terms : expected.all[i]);
            CHECK(e <= most<Real>, e, result_names[i], problem.name, interval, threads);
            Worst& worst = worst_[i > 0];
            if (e > worst.error) worst = {e, text(result_names[i], problem.name)};
        }
        ++count_;
    }

    void report() const {
        std::printf("%s: %d stacks; worst errors:\n", precision<Real>(), count_);
        for (const Worst& worst : worst_) std::printf("  %.1e: %s\n", worst.error, worst.name.c_str());
    }

private:
    struct Worst {
        double error = 0;
        std::string name;
    };

    std::uint64_t seed_ = 0;
    Worst worst_[2];  // forward, gradients
    int count_ = 0;
};

template <class Real>
void compare() {
    Comparison<Real> comparison;
    int turn = 0;
    for (const Size& size : sizes) {
        for (const Kind& kind : kinds) {
            if (!kind.V && size.state * size.state > 4000 && kind.delta != Delta::shared) continue;  // as slow as it is repetitive
            comparison(turn % 2 ? 3 : 1, size, kind, static_cast<Activation>(turn % activation_count));
            ++turn;
        }
    }
    for (const Kind& kind : kinds)
        for (int a = 0; a < activation_count; ++a)
            for (Index members : {1, 3})
                comparison(members, members == 1 ? Size{35, 10, 19, 3} : Size{6, 5, 3, 4}, kind, static_cast<Activation>(a));
    Random random(17);
    for (int i = 0; i < 40; ++i) {
        const Size size{random.index(1, 140), random.index(1, 40), random.index(1, 40), random.index(1, 6)};
        comparison(random.index(1, 3), size, kinds[random.index(0, 9)], static_cast<Activation>(random.index(0, activation_count - 1)));
    }
    comparison.report();
}

// ------------------------------------------------------------------------------------------------ activations alone

template <class Real>
std::vector<Real> finite_points() {
    std::vector<Real> z;
    const int steps = thread_sanitizer ? 256 : 1024;  // for each unit
    for (int i = -40 * steps; i <= 40 * steps; ++i) z.push_back(static_cast<Real>(i) / static_cast<Real>(steps));
    Random random(5);
    for (int i = 0; i < 20000; ++i) z.push_back(static_cast<Real>(random.uniform(-8, 8)));
    using limits = std::numeric_limits<Real>;
    for (Real x = 1; x > 0; x /= 3) z.push_back(x), z.push_back(-x);  // down to denormals
    for (Real x = 50; x < limits::max() / 8; x *= 7) z.push_back(x), z.push_back(-x);
    for (Real x : {Real(0), limits::min(), limits::denorm_min(), limits::max()}) z.push_back(x), z.push_back(-x);
    return z;
}

// Values and slopes without any further rounding, by h = (z, 0), W = (1, 0), V = (0, 1)^T: the second entry of h_1 is sigma(z), and for
// p = (0, 1) the first entry of the gradient is sigma'(z).
template <class Real>
std::vector<Sigma<Real>> sigma_of(Activation activation, const std::vector<Real>& z) {
    const Index n = static_cast<Index>(z.size());
    Problem<Real> problem(1, {n, 2, 1, 1}, kinds[0], activation, 1);
    problem.stack.inner = problem.stack.outer = problem.stack.scale = 1;
    problem.W[0] = 1, problem.W[1] = 0, problem.V[0] = 0, problem.V[1] = 1;
    for (Index i = 0; i < n; ++i) {
        problem.first[2 * i] = z[i], problem.first[2 * i + 1] = 0;
        problem.direction[2 * i] = 0, problem.direction[2 * i + 1] = 1;
    }
    const Results<Real> r = run(problem, 1, 1);
    std::vector<Sigma<Real>> out;
    for (Index i = 0; i < n; ++i) out.push_back({r.all[of_last][2 * i + 1], r.all[of_h][2 * i]});
    return out;
}

template <class Real>
void finite(Activation activation) {
    using W = Wide<Real>;
    const std::vector<Real> z = finite_points<Real>();
    const std::vector<Sigma<Real>> found = sigma_of(activation, z);
    W worst[2] = {};
    Real at[2] = {};
    for (std::size_t i = 0; i < z.size(); ++i) {
        const Sigma<W> expected = naive_sigma<W>(activation, z[i], W(0.125));
        const W errors[] = {std::abs(found[i].value - expected.value), std::abs(found[i].slope - expected.slope)};
        for (int k = 0; k < 2; ++k) {
            const W error = errors[k] / std::max(W(1), std::abs(W(z[i])));
            CHECK(std::isfinite(error), activation_names[static_cast<int>(activation)], precision<Real>(), k, z[i], errors[k]);
            if (error > worst[k]) worst[k] = error, at[k] = z[i];
        }
    }
    const char* name = activation_names[static_cast<int>(activation)];
    std::printf("%-6s %-16s worst errors, relative to max(1, |z|): value %.1e at %.6g, slope %.1e at %.6g\n", precision<Real>(), name,
                static_cast<double>(worst[0]), static_cast<double>(at[0]), static_cast<double>(worst[1]), static_cast<double>(at[1]));
    for (W error : worst) CHECK(error <= (std::is_same_v<Real, float> ? 3e-7L : 6e-16L), error, name, precision<Real>());
}

template <class Real>
void special(Activation activation) {
    constexpr Real infinity = std::numeric_limits<Real>::infinity(), nan = std::numeric_limits<Real>::quiet_NaN();
    // NaN stands among numbers: those beside it in its vector must not notice.
    const std::vector<Sigma<Real>> found = sigma_of<Real>(activation, {1, nan, infinity, -infinity, -nan, 1});
    const char* name = activation_names[static_cast<int>(activation)];
    const bool piecewise = activation == Activation::identity || kinked(activation);
    const bool product = activation == Activation::gelu || activation == Activation::silu;  // z times 0 at infinity: NaN, as in PyTorch
    CHECK(found[0].value == found[5].value && found[0].slope == found[5].slope && std::isfinite(found[0].value), name, found[0].value);
    for (int i : {1, 4}) {
        CHECK(std::isnan(found[i].value), name, precision<Real>(), found[i].value);
        CHECK(piecewise || std::isnan(found[i].slope), name, precision<Real>(), found[i].slope);
    }
    const Real high = activation == Activation::tanh ? 1 : infinity;
    Real low = -infinity, low_slope = 0;
    if (activation == Activation::tanh) low = -1;
    if (activation == Activation::relu) low = 0;
    if (activation == Activation::shifted_softplus) low = -std::log(Real(2));
    if (activation == Activation::identity) low_slope = 1;
    if (activation == Activation::leaky_relu) low_slope = Real(0.125);
    CHECK(found[2].value == high, name, precision<Real>(), found[2].value);
    CHECK(product || found[2].slope == (activation == Activation::tanh ? 0 : 1), name, precision<Real>(), found[2].slope);
    CHECK(product || std::abs(found[3].value - low) < 1e-6 || found[3].value == low, name, precision<Real>(), found[3].value);
    CHECK(product || found[3].slope == low_slope, name, precision<Real>(), found[3].slope);
}

}  // namespace

void test_values() {
    compare<float>();
    compare<double>();
}

void test_activations() {
    for (int a = 0; a < activation_count; ++a) {
        finite<float>(static_cast<Activation>(a));
        finite<double>(static_cast<Activation>(a));
        special<float>(static_cast<Activation>(a));
        special<double>(static_cast<Activation>(a));
    }
}
