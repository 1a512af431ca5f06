from __future__ import annotations

import re

import pytest

from deeplimit.bench.cases import CASES, SERIES, TRAINING, Case, chosen, names, operations
from deeplimit.branches import Convolution, OneMatrix, Perceptron
from deeplimit.checks import InputError

BY_NAME = {case.name: case for case in CASES}


def test_names_are_unique_and_can_be_typed():
    assert len(set(names())) == len(CASES) + len(SERIES) + len(TRAINING)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names())


def test_a_case_is_what_its_name_says():
    for case in CASES:
        branch, numbers = case.branch, [int(part) for part in re.findall(r"\d+", case.name)]
        if case.name.removeprefix("cuda-").startswith("ensemble"):
            assert numbers == [case.members]
        elif isinstance(branch, Perceptron):
            assert numbers == [case.samples, branch.state, branch.width, case.depth]
        else:
            assert isinstance(branch, OneMatrix)
            assert numbers == [case.samples, branch.state, case.depth]
            assert branch.bias
            assert branch.delta == "fixed"
        assert case.title.endswith(f"L = {case.depth}, float32" + ", on cuda" * (case.device == "cuda"))
        assert case.name.startswith("cuda-") is (case.device == "cuda")


def test_operations_are_two_for_each_multiplication_of_three_products():
    assert operations(Perceptron(3, 5), 7) == 12 * 7 * 3 * 5
    assert operations(OneMatrix(3), 7) == 6 * 7 * 9
    assert Case("tiny", OneMatrix(3), 7, 2, members=4).operations == 4 * 6 * 7 * 9
    assert BY_NAME["ensemble-64"].operations == 64 * BY_NAME["perceptron-50-16-64-64"].operations
    with pytest.raises(InputError, match="found Convolution"):
        operations(Convolution(2, (5, 6)), 7)


def test_a_series_grows_along_its_number_and_keeps_the_rest():
    depth, ensemble, *threads = SERIES
    assert tuple(case.depth for case in depth.cases) == depth.along
    assert tuple(case.members for case in ensemble.cases) == ensemble.along
    assert len({case.at_depth(1) for case in depth.cases}) == 1
    assert all(row.along == tuple(sorted(row.along)) and len(row.along) == len(row.cases) for row in SERIES)
    assert not depth.threads
    assert all(row.threads and len(set(row.cases)) == 1 and row.along[0] == 1 for row in threads)


def test_training_is_of_the_small_network_at_three_depths_and_of_an_ensemble():
    (training,) = TRAINING
    sizes = [(case.depth, case.members, case.dtype) for case in training.cases]
    assert sizes == [(64, 1, "float32"), (1024, 1, "float32"), (16384, 1, "float32"), (64, 5, "float64")]
    assert {(case.branch, case.samples) for case in training.cases} == {(Perceptron(16, 32), 100)}
    assert len({case.name for case in training.cases}) == 4


def test_what_is_measured_is_chosen_by_name():
    assert chosen(()) == ([*CASES], [*SERIES], [*TRAINING])
    assert chosen(["depth", "ensemble-16"]) == ([BY_NAME["ensemble-16"]], [SERIES[0]], [])
    assert chosen(["training"]) == ([], [], [*TRAINING])
    with pytest.raises(InputError, match=r"only: expected one of .*ensemble-16"):
        chosen(["ensemble-15"])
