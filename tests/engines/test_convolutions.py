from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deeplimit.branches import GELU, Activation, ReLU, Tanh
from deeplimit.checks import InputError
from deeplimit.engines import blocks_in_use, reset_peak
from deeplimit.engines.convolutions import EPS, ROLES, convolution_stack
from deeplimit.engines.extension import MISSING
from tests.cases import ACTIVATIONS

if not MISSING:
    from deeplimit.engines import _native

native = pytest.mark.skipif(bool(MISSING), reason=MISSING)
INSTRUCTION_SETS = [] if MISSING else [name for name, here in _native.instruction_sets() if here]


def parameters(
    L: int, C: int, *, bias: bool = True, norm: bool = True, dtype=torch.float64, seed: int = 0
) -> dict[str, Tensor]:
    """Random parameters of about the sizes that training starts from."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    theta = {f"conv{i}.W": drawn(L, C, C, 3, 3) / (3 * C**0.5) for i in (1, 2)}
    if bias:
        theta |= {f"conv{i}.b": 0.3 * drawn(L, C) for i in (1, 2)}
    if norm:
        theta |= {f"norm{i}.scale": 1 + 0.3 * drawn(L, C) for i in (1, 2)}
        theta |= {f"norm{i}.shift": 0.3 * drawn(L, C) for i in (1, 2)}
    return theta


def states(n: int, C: int, H: int, W: int, *, dtype=torch.float64, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, C, H, W, generator=generator, dtype=torch.float64).to(dtype)


class Layer(nn.Module):
    """The layer as one writes it with modules."""

    def __init__(self, theta: dict[str, Tensor], k: int) -> None:
        super().__init__()
        C = theta["conv1.W"].shape[1]
        self.conv1, self.conv2 = (nn.Conv2d(C, C, 3, padding=1, bias="conv1.b" in theta) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm2d(C, momentum=1.0, eps=EPS) for _ in range(2))
        self.to(theta["conv1.W"].dtype)
        names = {"W": "weight", "b": "bias", "scale": "weight", "shift": "bias"}
        with torch.no_grad():
            for role, t in theta.items():
                module, _, part = role.partition(".")
                getattr(getattr(self, module), names[part]).copy_(t[k])

    def forward(self, h: Tensor) -> Tensor:
        last: Tensor = self.norm2(self.conv2(nn.functional.gelu(self.norm1(self.conv1(h)))))
        return last


def moments_of(layer: Layer) -> Tensor:
    """What the modules have kept of the last batch."""
    pairs = [(norm.running_mean, norm.running_var) for norm in (layer.norm1, layer.norm2)]
    return torch.stack([torch.stack([mean, var]) for mean, var in pairs if mean is not None and var is not None])


def test_it_is_what_modules_compute():
    theta, h = parameters(3, 4), states(5, 4, 6, 7)
    layers = [Layer(theta, k) for k in range(3)]
    last, moments = convolution_stack(h, theta, activation=GELU(), scale=0.5, engine="reference")
    expected = h
    for layer in layers:
        expected = expected + 0.5 * layer(expected)
    torch.testing.assert_close(last, expected, rtol=1e-12, atol=1e-12)
    assert moments is not None
    assert not moments.requires_grad
    torch.testing.assert_close(moments, torch.stack([moments_of(layer) for layer in layers]), rtol=1e-12, atol=1e-12)


def test_in_evaluation_the_given_moments_normalise():
    theta, h = parameters(3, 4), states(5, 4, 6, 7)
    layers = [Layer(theta, k) for k in range(3)]
    with torch.no_grad():
        for layer in layers:
            layer(states(7, 4, 6, 7, seed=5))
    moments = torch.stack([moments_of(layer.eval()) for layer in layers])
    last, none = convolution_stack(h, theta, activation=GELU(), scale=0.5, engine="reference", moments=moments)
    expected = h
    for layer in layers:
        expected = expected + 0.5 * layer(expected)
    torch.testing.assert_close(last, expected, rtol=1e-12, atol=1e-12)
    assert none is None


def without(*roles: str):
    return lambda theta: {role: t for role, t in theta.items() if role not in roles}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("conv2.W"), "roles: expected conv2.W too"),
        (without("norm2.shift"), "roles: expected norm2.shift too"),
        (lambda theta: theta | {"conv3.W": theta["conv2.W"]}, "role: expected one of .*found 'conv3.W'"),
        (lambda theta: theta | {"conv1.b": theta["conv1.b"][:1]}, r"conv1.b: expected shape \(2, 4\), found \(1, 4\)"),
        (lambda theta: {role: t[:0] for role, t in theta.items()}, "expected a layer and a pixel at least, found L = 0"),
    ],
)  # fmt: skip
def test_roles_and_shapes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        convolution_stack(states(2, 4, 3, 3), change(parameters(2, 4)), activation=GELU(), scale=1.0)


def test_states_moments_and_engines_that_do_not_fit_are_refused():
    theta, h = parameters(2, 4), states(2, 4, 3, 3)
    one = h[:1, :, :1, :1]
    with pytest.raises(InputError, match=r"h: expected shape \[n, C, H, W\], found \[4, 3, 3\]"):
        convolution_stack(h[0], theta, activation=GELU(), scale=1.0)
    with pytest.raises(InputError, match="h: expected more than one pixel"):
        convolution_stack(one, theta, activation=GELU(), scale=1.0)
    with pytest.raises(InputError, match=r"moments .*: expected shape \(2, 2, 2, 4\), found \(2, 4\)"):
        convolution_stack(h, theta, activation=GELU(), scale=1.0, moments=h.new_ones(2, 4))
    with pytest.raises(InputError, match=r"moments \(none without normalisation\): expected shape \(0"):
        convolution_stack(h, parameters(2, 4, norm=False), activation=GELU(), scale=1.0, moments=h.new_ones(2, 2, 2, 4))
    with pytest.raises(InputError, match=r"engine: expected one of .*found 'torch'"):
        convolution_stack(h, theta, activation=GELU(), scale=1.0, engine="torch")
    assert (
        convolution_stack(one, theta, activation=GELU(), scale=1.0, moments=h.new_ones(2, 2, 2, 4))[0].shape
        == one.shape
    )


# --- groups, and bfloat16 ---


def side_by_side(*thetas: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of several stacks as those of one whose channels fall into groups."""
    return {role: torch.cat([theta[role] for theta in thetas], 1) for role in thetas[0]}


@pytest.mark.parametrize("norm", [True, False])
def test_groups_are_stacks_of_their_own(norm):
    thetas = [parameters(3, 4, norm=norm, seed=seed) for seed in (0, 1)]
    own = [states(5, 4, 6, 7, seed=seed) for seed in (2, 3)]
    last, moments = convolution_stack(torch.cat(own, 1), side_by_side(*thetas), activation=GELU(), scale=0.5)
    assert (moments is None) != norm
    for e, (theta, h) in enumerate(zip(thetas, own, strict=True)):
        part = slice(4 * e, 4 * e + 4)
        expected, found = convolution_stack(h, theta, activation=GELU(), scale=0.5, engine="reference")
        torch.testing.assert_close(last[:, part], expected, rtol=1e-12, atol=1e-12)
        if moments is not None:
            torch.testing.assert_close(moments[..., part], found, rtol=1e-12, atol=1e-12)


@native
def test_the_native_engine_refuses_groups():
    theta, h = side_by_side(parameters(2, 4), parameters(2, 4)), states(2, 8, 3, 3)
    with pytest.raises(InputError, match=r"engine: expected one that runs this .* 2 groups"):
        convolution_stack(h, theta, activation=GELU(), scale=1.0, engine="native")
    given = [theta.get(role) for role in ROLES]
    with pytest.raises(InputError, match=r"conv1.W: expected shape \(2, 8, 8, 3, 3\)"):
        torch.ops.deeplimit.convolve(h, *given, "gelu", [0.0, 1.0, EPS], False)


@pytest.mark.parametrize("norm", [True, False])
def test_bfloat16_rounds_and_no_more(norm):
    theta, h = parameters(6, 8, norm=norm, dtype=torch.float32), states(9, 8, 6, 7, dtype=torch.float32)
    leaves = {role: t.requires_grad_() for role, t in theta.items()}
    found = {}
    for engine in ("reference", "reference:bf16"):
        # Smooth: a rounded number on the other side of a kink has another slope altogether.
        last, moments = convolution_stack(h, leaves, activation=GELU(), scale=1 / 6, engine=engine)
        grads = torch.autograd.grad(last.square().mean(), [leaves["conv1.W"], leaves["conv2.W"]])
        assert last.dtype == torch.float32
        assert {t.dtype for t in grads} == {torch.float32}
        assert moments is None or moments.dtype == torch.float32
        found[engine] = (last.detach(), *grads)
    for exact, rounded in zip(*found.values(), strict=True):
        error = float((rounded - exact).norm() / exact.norm())
        assert 1e-5 < error < 8 * 2**-9, error  # half a unit of 8 bits, a few times


def test_bfloat16_is_refused_where_it_would_do_nothing():
    theta, h = parameters(2, 4), states(2, 4, 3, 3)
    with pytest.raises(InputError, match=r"engine: expected float32 with 'reference:bf16', found torch.float64"):
        convolution_stack(h, theta, activation=GELU(), scale=1.0, engine="reference:bf16")


class Largest(TorchDispatchMode):
    """Counts results as large as all kernels of a role."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        self.count += isinstance(found, Tensor) and found.numel() == self.size
        return found


def test_the_cost_of_a_gradient_is_linear_in_depth():
    counts = []
    for L in (4, 8):
        theta = {role: t.requires_grad_() for role, t in parameters(L, 3).items()}
        last, _ = convolution_stack(states(2, 3, 4, 4), theta, activation=ReLU(), scale=1.0, engine="reference")
        with Largest(theta["conv1.W"].numel()) as largest:
            torch.autograd.grad(last.sum(), list(theta.values()))
        counts.append(largest.count)
    assert counts[0] == counts[1] > 0


# --- the native engine against the reference ---

TANH = Tanh()
SIZES = [
    (1, 1, 3, 2, 1),
    (2, 3, 1, 4, 2),
    (3, 16, 10, 10, 2),
    (5, 8, 7, 6, 3),
    (9, 17, 5, 9, 1),
    (8, 33, 3, 3, 2),
    (17, 16, 4, 5, 2),
    (2, 4, 17, 71, 1),
]
"""n, C, H, W, L: around the lanes of vector registers, odd, with more and fewer samples than parts, and with several bands of tiles."""


@pytest.fixture
def instruction_sets() -> Iterator[None]:
    before = "" if MISSING else _native.instruction_set()
    yield
    if before:
        _native.use_instruction_set(before)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def results(
    h: Tensor, theta: dict[str, Tensor], engine: str, *, activation: Activation = TANH, moments: Tensor | None = None
) -> dict[str, Tensor]:
    """Last state, moments and gradients, in a direction that is the same every time."""
    h, theta = h.clone().requires_grad_(), {role: t.clone().requires_grad_() for role, t in theta.items()}
    last, found = convolution_stack(h, theta, activation=activation, scale=0.5, engine=engine, moments=moments)
    p = states(*h.shape, dtype=h.dtype, seed=7)
    gradients = torch.autograd.grad(last, [h, *theta.values()], p)
    of_batch = {} if found is None else {"moments": found}
    return {"last": last.detach(), "h": gradients[0], **dict(zip(theta, gradients[1:], strict=True)), **of_batch}


def error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest error of a result beside its largest entry; a bias before a normalisation has the gradient 0, and 1 beside it."""
    assert found.keys() == expected.keys()
    normalised = "norm1.scale" in found

    def size(role: str) -> float:
        return 1.0 if normalised and role.endswith(".b") else expected[role].abs().max().item()

    return max((found[role].double() - expected[role]).abs().max().item() / size(role) for role in found)


def double(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.double() for name, t in tensors.items()}


@native
@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", ""])
@pytest.mark.parametrize("norm", [True, False], ids=["norm", ""])
def test_native_is_the_reference(instruction_sets, isa, sizes, bias, norm):
    _native.use_instruction_set(isa)
    n, C, H, W, L = sizes
    theta, h = parameters(L, C, bias=bias, norm=norm), states(n, C, H, W)
    exact = results(h, theta, "reference")
    assert (
        error(results(h, theta, "native"), exact) <= 1e-11
    )  # the least batch has two pixels: their deviation magnifies rounding
    single = {role: t.float() for role, t in theta.items()}
    exact = results(h.float().double(), double(single), "reference")
    found, own = results(h.float(), single, "native"), results(h.float(), single, "reference")
    assert found["last"].dtype == torch.float32
    assert error(found, exact) <= max(1e-5, 3 * error(own, exact))


@native
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("norm", [True, False], ids=["norm", ""])
def test_every_activation(name, norm):
    theta, h, activation = parameters(2, 5, norm=norm), states(4, 5, 4, 6), ACTIVATIONS[name]
    expected = results(h, theta, "reference", activation=activation)
    assert error(results(h, theta, "native", activation=activation), expected) <= 1e-12
    assert (
        error(results(h, theta, "auto", activation=activation), results(h, theta, "native", activation=activation)) == 0
    )


@native
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(threads, sizes, dtype):
    n, C, H, W, L = sizes
    theta, h = parameters(L, C, dtype=dtype), states(n, C, H, W, dtype=dtype)
    torch.set_num_threads(1)
    alone = results(h, theta, "native")
    for count in (2, 5):
        torch.set_num_threads(count)
        found = results(h, theta, "native")
        assert all(torch.equal(found[role], alone[role]) for role in alone)


@native
@pytest.mark.parametrize("bias", [True, False], ids=["bias", ""])
def test_native_normalises_by_given_moments(bias):
    theta, h = parameters(3, 6, bias=bias), states(5, 6, 7, 4)
    _, moments = convolution_stack(states(9, 6, 7, 4, seed=3), theta, activation=GELU(), scale=0.5, engine="reference")
    assert error(results(h, theta, "native", moments=moments), results(h, theta, "reference", moments=moments)) <= 1e-12


@native
def test_without_a_gradient_nothing_is_kept_and_the_numbers_are_the_same():
    theta, h = parameters(16, 16, dtype=torch.float32), states(16, 16, 12, 12, dtype=torch.float32)
    expected = results(h, theta, "native")
    sizes = []
    for grad in (True, False):
        leaf = h.clone().requires_grad_(grad)
        before = blocks_in_use()[0]
        reset_peak()
        last, moments = convolution_stack(leaf, theta, activation=Tanh(), scale=0.5, engine="native")
        sizes.append(blocks_in_use()[1] - before)
        assert torch.equal(last, expected["last"])
        assert moments is not None
        assert torch.equal(moments, expected["moments"])
        assert last.requires_grad == grad
        del last
    assert sizes[1] < sizes[0] / 4


@native
def test_a_mean_far_from_zero_does_not_spoil_the_variance():
    theta, h = parameters(1, 16, dtype=torch.float32), states(16, 16, 8, 8, dtype=torch.float32)
    far = theta | {"conv1.b": theta["conv1.b"] + 300.0}
    _, moments = convolution_stack(h, far, activation=Tanh(), scale=1.0, engine="native")
    _, expected = convolution_stack(h.double(), double(far), activation=Tanh(), scale=1.0, engine="reference")
    assert moments is not None
    assert expected is not None
    torch.testing.assert_close(moments[0, 0].double(), expected[0, 0], rtol=3e-5, atol=0)


@native
def test_the_state_may_lie_in_memory_in_any_way():
    theta, h = parameters(2, 5), states(4, 5, 4, 6)
    expected = results(h, theta, "native")
    for other in (
        h.contiguous(memory_format=torch.channels_last),
        h.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    ):
        found = results(other, theta, "native")
        assert all(torch.equal(found[role], expected[role]) for role in expected)
    assert expected["last"].is_contiguous(memory_format=torch.channels_last)
    negative = torch._neg_view(h)
    last, _ = convolution_stack(negative, theta, activation=Tanh(), scale=0.5, engine="native")
    assert torch.equal(last, results(-h, theta, "native")["last"])


@native
@pytest.mark.parametrize("norm", [True, False], ids=["norm", ""])
def test_a_gradient_of_a_gradient(norm):
    theta, h = parameters(2, 3, norm=norm), states(3, 3, 4, 3)

    def second(engine: str) -> list[Tensor]:
        leaves = {role: t.clone().requires_grad_() for role, t in {"h": h, **theta}.items()}
        inputs = dict(leaves)
        last, _ = convolution_stack(inputs.pop("h"), inputs, activation=Tanh(), scale=0.5, engine=engine)
        first = torch.autograd.grad(last.square().sum(), list(leaves.values()), create_graph=True)
        total = torch.stack([g.square().sum() for g in first]).sum()
        return list(torch.autograd.grad(total, list(leaves.values())))

    for found, expected in zip(second("native"), second("reference"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item() + 1e-9)


@native
def test_a_retained_graph_gives_the_same_gradient_again():
    theta, h = parameters(3, 5), states(4, 5, 4, 6)
    h.requires_grad_()
    last, _ = convolution_stack(h, theta, activation=Tanh(), scale=0.5, engine="native")
    one, two = (torch.autograd.grad(last.square().sum(), h, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(one, two)


@native
def test_only_what_asks_for_a_gradient_gets_one_and_a_changed_input_is_noticed():
    theta, h = parameters(2, 3), states(3, 3, 4, 3)
    theta["norm1.shift"].requires_grad_()
    last, _ = convolution_stack(h, theta, activation=Tanh(), scale=0.5, engine="native")
    last.sum().backward()
    assert [role for role, t in theta.items() if t.grad is not None] == ["norm1.shift"]
    assert h.grad is None
    last, _ = convolution_stack(h, theta, activation=Tanh(), scale=0.5, engine="native")
    h.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        last.sum().backward()


@native
def test_a_state_that_is_not_finite_passes_through():
    theta, h = parameters(2, 16, dtype=torch.float32), states(4, 16, 5, 5, dtype=torch.float32)
    for value in (float("nan"), float("inf"), 1e38):
        h[1, 2, 3, 4] = value
        found = results(h, theta, "native", activation=ReLU())
        assert not found["last"].isfinite().all()
        assert not found["conv1.W"].isfinite().all()


@native
def test_what_native_cannot_run_is_left_to_the_reference():
    theta, h = parameters(2, 3), states(3, 3, 4, 3)

    class Doubled(Tanh):
        def __call__(self, z: Tensor) -> Tensor:
            return 2 * super().__call__(z)

    def doubled(engine: str) -> Tensor:
        return convolution_stack(h, theta, activation=Doubled(), scale=0.5, engine=engine)[0]

    assert torch.equal(doubled("auto"), doubled("reference"))
    with pytest.raises(InputError, match=r"engine: expected one that runs this .*found 'native': Doubled, "):
        doubled("native")
    with pytest.raises(InputError, match=r"found 'native': Tanh, torch\.float32 on cpu, torch\.float64 on cpu"):
        convolution_stack(h.float(), theta, activation=Tanh(), scale=0.5, engine="native")
    half = convolution_stack(
        h.bfloat16(), {role: t.bfloat16() for role, t in theta.items()}, activation=Tanh(), scale=0.5
    )
    assert half[0].dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = convolution_stack(
            h.float(), {role: t.float() for role, t in theta.items()}, activation=Tanh(), scale=0.5
        )
    assert mixed[0].dtype == torch.float32
    assert (mixed[0] - results(h, theta, "native")["last"]).abs().max() > 1e-4, "in bfloat16"


@native
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("norm", [True, False], ids=["norm", ""])
def test_transforms_and_forward_mode_take_the_reference(norm):
    theta, h = parameters(2, 3, norm=norm), states(3, 3, 4, 3)

    def last(h: Tensor) -> Tensor:
        return convolution_stack(h, theta, activation=Tanh(), scale=0.5, engine="native")[0]

    v = states(3, 3, 4, 3, seed=4)
    p = states(3, 3, 4, 3, seed=7)
    (gradient,) = torch.autograd.grad(last(leaf := h.clone().requires_grad_()), leaf, p)
    tangent = torch.func.jvp(last, (h,), (v,))[1]
    torch.testing.assert_close((p * tangent).sum(), (gradient * v).sum(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.func.grad(lambda h: (p * last(h)).sum())(h), gradient, rtol=1e-10, atol=1e-10)
    several = torch.stack([h, v])
    torch.testing.assert_close(torch.vmap(last)(several), torch.stack([last(h), last(v)]), rtol=1e-10, atol=1e-10)


@native
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_compiles():
    theta, h = parameters(2, 3), states(3, 3, 4, 3)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def last(h: Tensor, theta: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        return convolution_stack(h, theta, activation=Tanh(), scale=0.5, engine="native")

    expected = results(h, theta, "native")
    leaf = h.clone().requires_grad_()
    found, moments = last(leaf, theta)
    found.backward(states(3, 3, 4, 3, seed=7))
    assert torch.equal(found, expected["last"])
    assert moments is not None
    assert torch.equal(moments, expected["moments"])
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, expected["h"])


# --- the operator ---


def arguments(**change: Tensor | None) -> list[object]:
    theta: dict[str, Tensor | None] = {**parameters(2, 3)}
    theta.update({role.replace("_", "."): t for role, t in change.items()})
    return [states(3, 3, 4, 3), *(theta[role] for role in ROLES), "tanh", [0.0, 0.5, EPS], True]


@native
def test_the_operator_is_registered_as_it_should_be():
    call = [t.requires_grad_() if isinstance(t, Tensor) else t for t in arguments()]
    torch.library.opcheck(torch.ops.deeplimit.convolve.default, tuple(call))
    torch.library.opcheck(torch.ops.deeplimit.convolve.default, tuple(arguments(conv1_b=None)))
    plain = arguments()
    last, kept, _ = torch.ops.deeplimit.convolve(*plain)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.deeplimit.convolve_backward.default, (last, kept, *plain[1:]), test_utils=checks)


@native
@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, states(3, 4, 4, 3), r"conv1.W: expected shape \(2, 4, 4, 3, 3\)"),
        (0, states(3, 3, 4, 3).float(), r"conv1.W: expected float32 or float64 as the state has"),
        (3, None, "roles: expected norm1.scale too"),
        (-3, "sine", "activation: expected one of .*found 'sine'"),
        (-2, [0.0], "numbers: expected 3, found 1"),
    ],
)  # fmt: skip
def test_the_operator_refuses_what_does_not_fit(position, value, message):
    call = arguments()
    call[position] = value
    with pytest.raises(InputError, match=message):
        torch.ops.deeplimit.convolve(*call)


@native
def test_a_gradient_needs_what_was_kept():
    call = arguments()
    last, kept, _ = torch.ops.deeplimit.convolve(*call)
    for wrong in (kept[1:], kept.float()):
        with pytest.raises(InputError, match=r"kept: expected \[\d+\] in torch.float64, found"):
            torch.ops.deeplimit.convolve_backward(last, wrong, *call[1:])
    assert torch.ops.deeplimit.convolve(*call[:-1], False)[1].numel() == 0
