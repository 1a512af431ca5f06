from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deeplimit.branches import GELU
from deeplimit.checks import InputError
from deeplimit.engines.convolutions import EPS, convolution_stack


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
