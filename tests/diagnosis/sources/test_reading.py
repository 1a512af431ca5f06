"""What readers of files share."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources.reading import LONGEST, bad, beside, computable, json_file, listed, parsed, short


def test_an_error_is_one_short_line_without_control_letters():
    said = str(bad("a", "b", "x\n\x1b[31my" + "z" * 1000))
    assert said.startswith("a: expected b, found x ?[31myzzz")
    assert len(said) < 350
    assert short("a" * 80) == "a" * 80
    assert short("a" * 81) == "a" * 79 + "…"
    assert listed("abc") == "a, b, c"


def test_json_is_an_object_of_different_names(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"a": {"b": 1}}')
    assert json_file(file) == {"a": {"b": 1}}
    with pytest.raises(InputError, match="found ValueError: a name twice: 'b'"):
        parsed(b'{"a": {"b": 1, "b": 2}}', "a.json")
    with file.open("wb") as stream:
        stream.truncate(LONGEST + 1)  # sparse
    with pytest.raises(InputError, match="expected at most 100000000 bytes of JSON"):
        json_file(file)


def test_a_file_beside_another_stays_in_its_folder(tmp_path):
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    for file in (home / "a", home / "sub" / "b", tmp_path / "c"):
        file.write_text("")
    (home / "out").symlink_to(tmp_path / "c")
    assert beside(home / "a", "sub/b") == home / "sub" / "b"
    for name in ("../c", str(tmp_path / "c"), "sub/../../c", "", "a\0", 3, None, "sub\\b", "out"):
        with pytest.raises(InputError, match="a: expected the name of a file in its folder"):
            beside(home / "a", name)
    for name in ("no", "sub", "x" * 300):
        with pytest.raises(InputError, match=r"beside it, found no such file"):
            beside(home / "a", name)


def test_links_of_a_cache_are_followed(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots").mkdir()
    for name in ("a", "b"):
        (tmp_path / "blobs" / name).write_text("")
        (tmp_path / "snapshots" / name).symlink_to(f"../blobs/{name}")
    assert beside(tmp_path / "snapshots" / "a", "b") == tmp_path / "snapshots" / "b"


def test_numbers_of_8_bits_alone_are_widened():
    assert computable(torch.ones(2).to(torch.float8_e5m2)).dtype == torch.float32
    assert computable(torch.ones(2).half()).dtype == torch.float16
