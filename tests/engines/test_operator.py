from __future__ import annotations

import pytest
import torch

from deeplimit.branches import Perceptron
from deeplimit.checks import InputError
from deeplimit.engines import ENGINES
from tests.cases import problem

native = pytest.mark.skipif(bool(ENGINES["native"].missing), reason=ENGINES["native"].missing)


def arguments(change=lambda given: None):
    """h, W, V, b, c, delta of a perceptron with E = 2, n = 5, q = 3, m = 4, L = 6, changed."""
    p = problem(Perceptron(3, 4, bias=True), 5, 6, members=2)
    given = {"h": p.h, **{name: p.theta.get(name) for name in ("W", "V", "b", "c", "delta")}}
    change(given)
    return [*given.values(), "gelu", [0.0, 1.0, 1.0, 0.5], 1]


@native
def test_the_operator_computes_what_fits():
    last, kept = torch.ops.deeplimit.stack(*arguments())
    assert last.shape == (2, 5, 3)
    assert kept.dim() == 1


@native
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.update(h=g["h"][0]), r"expected h \[n, q\] and W \[L, m, q\]"),
        (lambda g: g.update(h=g["h"][0, 0]), r"expected h \[n, q\] and W \[L, m, q\]"),
        (lambda g: g.update(h=g["h"][..., :2]), r"expected W \[2, 6, 4, 2\] in torch.float64 on cpu, found \[2, 6, 4, 3\]"),
        (lambda g: g.update(W=g["W"].float()), "expected W .* in torch.float64 on cpu, found .* in torch.float32"),
        (lambda g: g.update({name: t if t is None else t.half() for name, t in g.items()}), "expected float32 or float64"),
        (lambda g: g.update(V=g["V"].mT), r"expected V \[2, 6, 3, 4\]"),
        (lambda g: g.update(b=g["b"][:, :5]), r"expected b \[2, 6, 4\]"),
        (lambda g: g.update(c=g["c"][:1]), r"expected c \[2, 6, 3\]"),
        (lambda g: g.update(delta=g["h"].new_ones(2)), "delta and a square W only without it"),
        (lambda g: g.update({r: g[r][:, :0] for r in "WVbc"}), "expected at least one layer, found none"),
        (lambda g: g.update(V=None, c=None), "delta and a square W only without it"),
        (lambda g: g.update(V=None, W=g["W"][:, :, :3], b=g["b"][..., :3]), "expected c only with V"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        torch.ops.deeplimit.stack(*arguments(change))


@native
@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (6, "sine", "activation: expected one of .*found 'sine'"),
        (7, [0.0, 1.0], "numbers: expected 4, found 2"),
        (8, -1, "interval: expected a number of at least 0, found -1"),
    ],
)
def test_an_unknown_activation_and_other_numbers_are_refused(position, value, message):
    call = arguments()
    call[position] = value
    with pytest.raises(InputError, match=message):
        torch.ops.deeplimit.stack(*call)


@native
def test_a_gradient_needs_the_states_that_were_kept():
    h, *rest = arguments()
    last, kept = torch.ops.deeplimit.stack(h, *rest)
    with pytest.raises(InputError, match=r"expected kept \[\d+\] in torch.float64 .* found \[3\]"):
        torch.ops.deeplimit.stack_backward(last, kept[:3], *rest)
    with pytest.raises(InputError, match=r"expected kept .* in torch.float64 .* found .* in torch.float16"):
        torch.ops.deeplimit.stack_backward(last, kept.half(), *rest)
    strided = torch.stack([kept, kept], 1)[:, 0]
    right = torch.ops.deeplimit.stack_backward(last, kept, *rest)
    found = torch.ops.deeplimit.stack_backward(last, strided, *rest)
    assert all(torch.equal(a, b) for a, b in zip(found, right, strict=True))
    leaf = h.clone().requires_grad_()
    last, _ = torch.ops.deeplimit.stack(leaf, *rest[:-1], 0)
    with pytest.raises(InputError, match="interval: expected a number of at least 1 for a gradient, found 0"):
        last.sum().backward()


@native
def test_another_instruction_set_between_the_passes_is_noticed():
    from deeplimit.engines import _native

    sets = [name for name, here in _native.instruction_sets() if here]
    before = _native.instruction_set()
    h, *rest = arguments()
    try:
        for first, second in ((a, b) for a in sets for b in sets):
            _native.use_instruction_set(first)
            last, kept = torch.ops.deeplimit.stack(h, *rest)
            _native.use_instruction_set(second)
            if _native.kept_size64((2, 6, 5, 3, 4), 1) == kept.numel():  # padded alike: nothing to notice
                torch.ops.deeplimit.stack_backward(last, kept, *rest)
            else:
                with pytest.raises(InputError, match="expected kept"):
                    torch.ops.deeplimit.stack_backward(last, kept, *rest)
    finally:
        _native.use_instruction_set(before)


@native
def test_a_tensor_with_the_negative_bit_is_read_as_it_is_meant():
    call = arguments()
    case = Perceptron(3, 4, bias=True)
    theta = dict(zip(("W", "V", "b", "c"), call[1:5], strict=True))
    engine = ENGINES["native"]
    negative = torch._neg_view(call[0])
    assert negative.is_neg()
    assert torch.equal(engine.final(case, negative, theta, 0.5), engine.final(case, -call[0], theta, 0.5))
    turned = {role: torch._neg_view(t) for role, t in theta.items()}
    meant = {role: -t for role, t in theta.items()}
    assert torch.equal(engine.final(case, call[0], turned, 0.5), engine.final(case, call[0], meant, 0.5))
