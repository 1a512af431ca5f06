from __future__ import annotations

import dataclasses
import functools
import gzip
import http.server
import tarfile
import threading
from pathlib import Path

import pytest

from deeplimit.checks import InputError
from deeplimit.data.fetching import fetch
from deeplimit.data.files import check, status
from deeplimit.data.sets import ImageSet
from tests.data.fakes import tiny_cifar, tiny_mnist


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, remembers what was asked for, and prints nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


class Home:
    """What the page of a data set is: a folder that is served, and what was asked of it."""

    def __init__(self, folder: Path, server: http.server.HTTPServer) -> None:
        self.folder, self.server = folder, server
        self.asked: list[str] = server.asked  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{server.server_port}/"

    def publish_mnist(self) -> ImageSet:
        known = tiny_mnist(self.folder)
        for file in known.files:
            content = (self.folder / "mnist" / file.name).read_bytes()
            (self.folder / f"{file.name}.gz").write_bytes(gzip.compress(content))
        return dataclasses.replace(known, home=self.url)

    def publish_cifar(self, leave_out: str = "") -> ImageSet:
        known = tiny_cifar(self.folder)
        (self.folder / known.folder / "readme.html").write_text("read me")
        with tarfile.open(self.folder / "cifar.tar.gz", "w:gz") as tar:
            for path in sorted((self.folder / known.folder).iterdir()):
                if path.name != leave_out:
                    tar.add(path, f"{known.folder}/{path.name}")
        return dataclasses.replace(known, home=f"{self.url}cifar.tar.gz")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A server on this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "home"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Home(folder, server)
    server.shutdown()
    server.server_close()
    thread.join()


def everything(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}


def test_files_are_downloaded_unpacked_and_right(home, tmp_path):
    known = home.publish_mnist()
    said: list[str] = []
    fetch(known, tmp_path / "data", say=said.append)
    assert {row.problem for row in check(known, tmp_path / "data")} == {""}
    assert everything(tmp_path / "data") == {file.name for file in known.files}
    assert said == [f"mnist: {home.url}{file.name}.gz" for file in known.files]


def test_only_what_is_missing_or_wrong_is_downloaded(home, tmp_path):
    known = home.publish_mnist()
    fetch(known, tmp_path, say=str)
    home.asked.clear()
    fetch(known, tmp_path, say=str)
    assert home.asked == []
    (tmp_path / "mnist" / known.files[1].name).unlink()
    (tmp_path / "mnist" / known.files[3].name).write_bytes(b"half")
    fetch(known, tmp_path, say=str)
    assert home.asked == [f"/{known.files[n].name}.gz" for n in (1, 3)]
    assert {row.problem for row in check(known, tmp_path)} == {""}


def test_an_archive_is_unpacked_without_what_is_not_asked_for(home, tmp_path):
    known = home.publish_cifar()
    fetch(known, tmp_path / "data", say=str)
    assert {row.problem for row in check(known, tmp_path / "data")} == {""}
    assert everything(tmp_path / "data") == {file.name for file in known.files}
    assert home.asked == ["/cifar.tar.gz"]


def test_what_comes_wrong_is_never_put_in_place(home, tmp_path):
    known = home.publish_mnist()
    first = home.folder / f"{known.files[0].name}.gz"
    content = gzip.decompress(first.read_bytes())
    for damaged, message in (
        (gzip.compress(content[:-1] + bytes([content[-1] ^ 1])), "expected SHA-256"),
        (gzip.compress(content[:-1]), f"expected {len(content)} bytes, found {len(content) - 1}"),
        (first.read_bytes()[:-20], "expected a whole gzip file"),
    ):
        first.write_bytes(damaged)
        with pytest.raises(InputError, match=f"{home.url}.*{known.files[0].name}.*{message}"):
            fetch(known, tmp_path / "data", say=str)
        assert everything(tmp_path / "data") == set()


def test_an_archive_that_is_cut_off_or_lacks_a_file_leaves_nothing(home, tmp_path):
    known = home.publish_cifar(leave_out="data_batch_5.bin")
    with pytest.raises(InputError, match=r"cifar.tar.gz: data_batch_5.bin: expected 6146 bytes, found 0"):
        fetch(known, tmp_path / "data", say=str)
    archive = home.folder / "cifar.tar.gz"
    for content in (archive.read_bytes()[:-2000], b"no archive"):
        archive.write_bytes(content)
        with pytest.raises(InputError, match=r"cifar.tar.gz: expected a whole archive, found"):
            fetch(known, tmp_path / "data", say=str)
    assert everything(tmp_path / "data") == set()


def test_an_address_that_does_not_answer_is_named(home, tmp_path):
    known = home.publish_mnist()
    (home.folder / f"{known.files[2].name}.gz").unlink()
    with pytest.raises(InputError, match=rf"{known.files[2].name}.gz: expected a download, found 404"):
        fetch(known, tmp_path / "data", say=str)
    assert status(known, tmp_path / "data").there == tuple(file.name for file in known.files[:2])
