from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.networks import Dense, LastCoordinates, Padding


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_padding_puts_the_input_first_and_zeros_after_it():
    x = torch.tensor([2.0, 3.0])
    assert (Padding(2, 5).matrix(generator()) @ x).tolist() == [2, 3, 0, 0, 0]


def test_the_read_out_takes_the_last_coordinates():
    h = torch.arange(5.0)
    assert (LastCoordinates(5, 2).matrix(generator()) @ h).tolist() == [3, 4]


@pytest.mark.parametrize(("d", "out", "zero"), [(2, 3, True), (3, 3, False)])
def test_read_out_after_padding_is_zero_where_the_state_has_room(d, out, zero):
    both = LastCoordinates(5, out).matrix(generator()) @ Padding(d, 5).matrix(generator())
    assert both.shape == (out, d)
    assert bool((both == 0).all()) is zero


def test_a_state_of_the_size_of_the_input_needs_no_padding():
    assert torch.equal(Padding(4, 4).matrix(generator()), torch.eye(4))
    assert torch.equal(LastCoordinates(4, 4).matrix(generator()), torch.eye(4))


def test_a_dense_map_has_normal_entries_of_the_scale_asked_for():
    matrix = Dense(200, 300, 0.1).matrix(generator())
    assert matrix.shape == (300, 200)
    assert float(matrix.std()) == pytest.approx(0.1, rel=0.02)
    assert float(matrix.mean()) == pytest.approx(0.0, abs=2e-3)
    assert torch.equal(Dense(200, 300, 0.2).matrix(generator()), 2 * matrix)


@pytest.mark.parametrize("map_", [Padding(2, 3), LastCoordinates(3, 2), Dense(2, 3, 1.0)])
def test_maps_are_trained_unless_said_otherwise(map_):
    assert map_.trainable


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Padding(5, 4), "inputs: expected at most the size of the state, 4; found 5"),
        (lambda: LastCoordinates(4, 5), "outputs: expected at most the size of the state, 4; found 5"),
        (lambda: Padding(0, 4), "inputs: expected an integer of at least 1, found 0"),
        (lambda: LastCoordinates(0, 1), "state: expected an integer of at least 1, found 0"),
        (lambda: Dense(0, 1, 1.0), "inputs: expected an integer of at least 1, found 0"),
        (lambda: Dense(1, 2.5, 1.0), r"outputs: expected an integer of at least 1, found 2\.5"),  # type: ignore[arg-type]
        (lambda: Dense(1, 1, 0.0), r"std: expected a finite number above 0, found 0\.0"),
    ],
)
def test_sizes_that_make_no_map_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()
