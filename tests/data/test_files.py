from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.data import files
from deeplimit.data.files import VARIABLE, FileStatus, check, data_directory, load, read, status, use_directory
from tests.data.fakes import digits, tiny_cifar, tiny_mnist


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """The data directory of the test."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def test_the_directory_is_the_given_one_else_that_of_the_environment_else_a_cache(tmp_path, monkeypatch):
    assert data_directory(Path("given")) == Path("given")
    assert data_directory() == tmp_path
    monkeypatch.delenv(VARIABLE)
    assert data_directory().parts[-1] == "deeplimit"
    assert data_directory().is_absolute()


def test_a_directory_that_is_used_is_that_of_the_environment(tmp_path, monkeypatch):
    use_directory(None)
    assert data_directory() == tmp_path
    monkeypatch.chdir(tmp_path)
    use_directory(Path("other"))
    assert os.environ[VARIABLE] == str(tmp_path / "other")


def test_a_part_is_loaded_in_the_order_of_its_files(directory):
    known = tiny_mnist(directory)
    for seed, (part, count) in enumerate(known.counts.items()):
        images, labels = load(known, part)
        expected = digits(count, seed)
        assert np.array_equal(images[:, 0], expected[0])
        assert np.array_equal(labels, expected[1])


def test_the_batches_of_cifar_follow_each_other(directory):
    known = tiny_cifar(directory, batch=2)
    images, _ = load(known, "train")
    last = np.frombuffer((directory / known.folder / "data_batch_5.bin").read_bytes(), np.uint8)
    assert images.shape == (10, 3, 32, 32)
    assert np.array_equal(images[9].flatten(), last[3074:])
    assert len(load(known, "test")[0]) == 2


def test_a_compressed_file_is_as_good(directory):
    known = tiny_mnist(directory)
    plain = load(known, "train")
    for file in known.train:
        path = directory / known.folder / file.name
        path.with_name(f"{file.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert all(np.array_equal(a, b) for a, b in zip(plain, load(known, "train"), strict=True))
    assert status(known, directory).missing == ()


def test_a_missing_file_is_named_with_the_directory_and_the_command(directory):
    known = tiny_mnist(directory)
    (directory / "mnist" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(
        InputError, match=r"expected train-labels-idx1-ubyte or .*gz in .*deeplimit data fetch mnist"
    ) as e:
        load(known, "train")
    assert str(directory / "mnist") in str(e.value)
    assert len(load(known, "test")[0]) == 3


def test_a_file_that_is_cut_off_or_changed_is_refused_with_what_was_expected(directory):
    known = tiny_mnist(directory)
    file, path = known.train[1], directory / "mnist" / known.train[1].name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=rf"{file.name}: expected {file.size} bytes, found {file.size - 1}"):
        read(known, file, directory=directory)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{file.name}: expected SHA-256 {file.sha256}, found (?!{file.sha256})"):
        read(known, file, directory=directory)
    path.write_bytes(content)
    assert read(known, file, directory=directory) == content


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: b"no gzip", lambda c: c[:12] + b"\xff\xff" + c[14:]])
def test_a_damaged_gzip_file_is_refused(directory, damage):
    known = tiny_mnist(directory)
    path = directory / "mnist" / known.train[1].name
    path.with_name(f"{path.name}.gz").write_bytes(damage(gzip.compress(path.read_bytes())))
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name}.gz: expected a whole gzip file, found"):
        load(known, "train")


def test_a_file_is_verified_once_and_again_when_it_changed(directory, monkeypatch):
    known = tiny_mnist(directory)
    verified = []
    monkeypatch.setattr(files, "verify", lambda content, file, where: verified.append(file.name))
    for _ in range(3):
        load(known, "test")
    assert verified == [file.name for file in known.test]
    os.utime(directory / "mnist" / known.test[0].name, ns=(1, 1))
    load(known, "test")
    assert verified[2:] == [known.test[0].name]


def test_the_status_tells_what_is_there(directory):
    known = tiny_mnist(directory)
    (directory / "mnist" / known.test[0].name).unlink()
    found = status(known, directory)
    assert found.missing == ("t10k-images-idx3-ubyte",)
    assert found.there == tuple(file.name for file in known.files if file is not known.test[0])
    assert found.folder == str(directory / "mnist")


def test_a_check_tells_what_is_wrong_with_each_file(directory):
    known = tiny_mnist(directory)
    assert {row.problem for row in check(known, directory)} == {""}
    (directory / "mnist" / known.test[0].name).unlink()
    (directory / "mnist" / known.test[1].name).write_bytes(b"")
    good, wrong = check(known, directory)[:2], check(known, directory)[2:]
    assert good == tuple(FileStatus("mnist", file.name, "") for file in known.train)
    assert wrong[0].problem == f"missing in {directory / 'mnist'}"
    assert wrong[1].problem.endswith("expected 11 bytes, found 0")
