"""Sketches keep what they should keep, and an order of hidden units does not show in them."""

from __future__ import annotations

import pytest
import torch

from deeplimit.diagnosis.weights import sketches


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_small_matrix_is_its_own_sketch():
    matrix = drawn(40, 64)
    assert torch.equal(sketches.sketch(matrix), matrix.reshape(-1))


@pytest.mark.parametrize("shape", [(300, 200), (1500, 100), (50, 700)])
def test_a_sketch_keeps_distances_and_angles(shape):
    one, other = drawn(*shape), drawn(*shape, seed=1)
    near, far = sketches.sketch(one), sketches.sketch(one + other)
    assert len(near) <= sketches.SIDE**2
    assert float((far - near).norm() / other.norm()) == pytest.approx(1, abs=0.06)
    assert float(near @ sketches.sketch(other)) / float(one.norm() * other.norm()) == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("hidden", [100, 2500])
@pytest.mark.parametrize("width", [32, 150])
def test_products_and_gram_matrices_do_not_see_an_order_of_hidden_units(hidden, width):
    first, second, order = drawn(hidden, width), drawn(width, hidden, seed=1), torch.randperm(hidden)
    product = sketches.product_sketch(second, first)
    torch.testing.assert_close(sketches.product_sketch(second[:, order], first[order]), product, rtol=1e-10, atol=1e-9)
    gram = sketches.gram_sketch(first)
    torch.testing.assert_close(sketches.gram_sketch(first[order]), gram, rtol=1e-10, atol=1e-9)
    assert not torch.allclose(sketches.sketch(first[order]), sketches.sketch(first))
    if width <= sketches.SIDE:
        torch.testing.assert_close(product.reshape(width, width), second @ first)
        torch.testing.assert_close(gram.reshape(width, width), first.T @ first)


def test_a_spectrum_is_that_of_the_singular_values():
    matrix = drawn(30, 70)
    values = torch.linalg.svdvals(matrix)
    found = sketches.spectrum(matrix)
    assert found.norm == pytest.approx(float(matrix.norm()))
    assert found.top == pytest.approx(float(values[0]))
    assert found.participation == pytest.approx(float(values.square().sum() ** 2 / values.pow(4).sum()))
    other = drawn(70, 30, seed=1)
    assert sketches.product_spectrum(matrix, other).top == pytest.approx(float(torch.linalg.svdvals(matrix @ other)[0]))


def test_a_large_spectrum_is_estimated_by_probes(monkeypatch):
    decay = torch.arange(1, 201, dtype=torch.float64) ** -0.5
    first, second = decay[:, None] * drawn(200, 300), drawn(250, 200, seed=1) * decay
    whole, product = sketches.spectrum(first), sketches.product_spectrum(second, first)
    monkeypatch.setattr(sketches, "EXACT", 100)
    for estimate, exact in ((sketches.spectrum(first), whole), (sketches.product_spectrum(second, first), product)):
        assert estimate.norm == pytest.approx(exact.norm, rel=0.15)
        assert estimate.top == pytest.approx(exact.top, rel=0.02)
        assert estimate.top <= exact.top * (1 + 1e-9)
        assert estimate.participation == pytest.approx(exact.participation, rel=0.4)


def test_a_matrix_of_zeros_has_no_directions():
    assert sketches.spectrum(torch.zeros(3, 4)) == sketches.Spectrum(0.0, 0.0, 0.0)


def test_the_size_of_a_map_is_that_on_random_inputs_whatever_the_order_of_hidden_units():
    first, second, order = drawn(1500, 40), drawn(40, 1500, seed=1), torch.randperm(1500)
    x = drawn(40, 20_000, seed=2)
    for linear in (True, False):
        hidden = first @ x if linear else (first @ x).relu()
        found = sketches.map_norm(second, first, linear=linear)
        assert found == pytest.approx(float((second @ hidden).norm() / x.norm()), rel=0.05)
        assert sketches.map_norm(second[:, order], first[order], linear=linear) == pytest.approx(found, rel=1e-9)


def test_the_norm_of_a_large_matrix_is_exact_and_no_less_than_its_operator_norm(monkeypatch):
    monkeypatch.setattr(sketches, "EXACT", 8)
    matrix = drawn(20, 1, seed=1) @ drawn(1, 30, seed=2)
    found = sketches.spectrum(matrix)
    assert found.norm == pytest.approx(float(matrix.norm()), rel=1e-9)
    assert found.top == pytest.approx(found.norm, rel=1e-9)
