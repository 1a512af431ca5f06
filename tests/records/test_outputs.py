"""A page that the user wants somewhere touches nothing of his."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deeplimit.checks import InputError
from deeplimit.records.outputs import Page, mark

MAKER = "deeplimit test"
OWN = f"<!DOCTYPE html>\n<head>{mark(MAKER)}</head>"


def page(path: object, *inputs: Path, force: bool = False) -> Page:
    return Page("--html", str(path), MAKER, inputs, force)


def test_a_page_is_written_and_written_again(tmp_path):
    for text in (OWN, OWN + "again"):
        page(tmp_path / "page").write(text)
        assert (tmp_path / "page").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


@pytest.mark.parametrize("text", ["", " ", "-"])
def test_no_name_is_refused(text):
    with pytest.raises(InputError, match="--html: expected the name of a file, found '"):
        page(text)


def test_what_is_no_place_for_a_file_is_refused(tmp_path):
    for path, message in [
        (tmp_path, "expected a file, found the folder"),
        (f"{tmp_path}/new/", "expected a file, found the folder"),
        (tmp_path / "new" / "page", r"expected a folder that is there \(none is made\), found no .*new$"),
        (tmp_path / ("x" * 300), "expected a file that can be written, found .*name too long"),
        (f"{tmp_path}/a\0b", "expected a file that can be written, found .*null"),
        (os.devnull, "expected a plain file that can be written"),
    ]:
        with pytest.raises(InputError, match=message):
            page(path, force=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    ["mine", "", f"{mark(MAKER)}", f"<!DOCTYPE html>{mark('deeplimit other')}", "<!DOCTYPE html>" + " " * 5000 + OWN],
)
def test_what_another_program_wrote_stays_unless_forced(tmp_path, content):
    path = tmp_path / "page"
    path.write_text(content)
    (tmp_path / "link").symlink_to(path)
    for other in (path, tmp_path / "link"):
        with pytest.raises(
            InputError,
            match=r"expected a new file or a page of deeplimit test, found .* \(the word after --html is the file",
        ):
            page(other)
    assert path.read_text() == content
    page(path, force=True).write(OWN)
    assert path.read_text() == OWN


def test_what_came_there_during_the_work_stays(tmp_path):
    wanted = page(tmp_path / "page")
    (tmp_path / "page").write_text("mine")
    with pytest.raises(InputError, match="which is neither"):
        wanted.write(OWN)
    assert (tmp_path / "page").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_input_is_never_overwritten_under_whatever_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    for file in (folder / "weights", tmp_path / "net"):
        file.write_text(OWN)
    (tmp_path / "soft").symlink_to(tmp_path / "net")
    (tmp_path / "hard").hardlink_to(tmp_path / "net")
    (tmp_path / "other").hardlink_to(folder / "weights")
    (tmp_path / "way").symlink_to(folder)
    (tmp_path / "cache").write_text(OWN)
    (folder / "linked").symlink_to(tmp_path / "cache")
    for name in (
        "net",
        "./net",
        "soft",
        "hard",
        "other",
        "cache",
        "model/weights",
        "model/new",
        "way/new",
        "way/../net",
    ):
        with pytest.raises(
            InputError, match=rf"expected a file that this command does not read, found {name}, which is one or"
        ):
            page(name, tmp_path / "net", folder, force=True)
    assert page("new", tmp_path / "net", folder, tmp_path / "absent").path == tmp_path / "new"


def test_a_link_is_followed_to_a_page(tmp_path):
    (tmp_path / "page").write_text(OWN)
    (tmp_path / "link").symlink_to(tmp_path / "page")
    page(tmp_path / "link").write(OWN + "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "page").read_text() == OWN + "new"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_or_file_that_is_read_only_is_refused(tmp_path):
    (tmp_path / "page").write_text(OWN)
    (tmp_path / "page").chmod(0o400)
    with pytest.raises(InputError, match="expected a plain file that can be written"):
        page(tmp_path / "page")
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="expected a folder that can be written"):
        page(tmp_path / "new")


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    wanted = page(tmp_path / "page")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"expected a file that can be written, found .*No space left"):
        wanted.write(OWN)
    assert list(tmp_path.iterdir()) == []
