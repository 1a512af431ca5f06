"""Roles of the tensors of a block."""

from __future__ import annotations

from deeplimit.diagnosis.roles import find_roles


def uses(found):
    return {role.name: role.use for role in found.roles}


def test_two_square_matrices_go_by_their_names_and_one_is_a_map_of_the_stream():
    found = find_roles({"V": (4, 4), "W": (4, 4)})
    assert uses(found) == {"V": "writes", "W": "reads"}
    assert [(pair.first, pair.second) for pair in found.pairs] == [("W", "V")]
    assert uses(find_roles({"A": (4, 4), "b": (4,), "delta": ()})) == {"A": "stream", "b": "bias", "delta": "scale"}


def test_names_tell_the_stream_of_a_perceptron_without_a_norm():
    found = find_roles({"V": (4, 6), "W": (6, 4), "b": (6,), "c": (4,)})
    assert found.stream == 4
    assert uses(found) == {"V": "writes", "W": "reads", "b": "hidden bias", "c": "bias"}
    assert find_roles({"V": (6, 4), "W": (4, 6)}).stream == 6
