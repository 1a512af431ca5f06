"""Downloading the original files: aside, unpacked, verified, and only then put in place."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from deeplimit.checks import InputError
from deeplimit.data.files import problem, unzipped, verify
from deeplimit.data.sets import File, ImageSet
from deeplimit.records import writing


def fetch(known: ImageSet, directory: Path, *, say: Callable[[str], object]) -> None:
    """Download what is missing or wrong of a set; a file appears whole, with the right checksum, or not at all.

    Checksums of the archives are not known, those of the files in them are.

    Args:
        known: the set.
        directory: the data directory.
        say: is told of every download.

    Raises:
        InputError: the download failed, or what came is not the original.
    """
    folder = directory / known.folder
    for url, files in known.archives().items():
        needed = [file for file in files if problem(known, file, directory=directory)]
        if not needed:
            continue
        say(f"{known.name}: {url}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as aside:
            contents = _unpacked(_download(url, Path(aside)), needed, url)
        for file, content in zip(needed, contents, strict=True):
            verify(content, file, where=f"{url}: {file.name}")
        for file, content in zip(needed, contents, strict=True):
            writing.write_bytes(folder / file.name, content)


def _download(url: str, aside: Path) -> Path:
    """The archive, in a folder that is thrown away."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # else it advises to write down the checksum of the archive
    try:
        return Path(pooch.retrieve(url, known_hash=None, fname=PurePosixPath(url).name, path=aside))
    except OSError as error:  # every error of requests is one
        raise InputError(
            f"{url}: expected a download, found {error}; the file can be put into the data directory by hand"
        ) from error


def _unpacked(archive: Path, files: Sequence[File], where: str) -> list[bytes]:
    """The contents of the files, from an archive that holds them or from the one file, compressed; nothing for what is not in it."""
    if not archive.name.endswith(".tar.gz"):
        return [unzipped(archive.read_bytes(), where)]
    try:
        with tarfile.open(archive) as tar:
            found = dict(_regular_files(tar, {file.name for file in files}))
    except (EOFError, zlib.error, tarfile.TarError, gzip.BadGzipFile) as error:
        raise InputError(f"{where}: expected a whole archive, found {error}") from error
    return [found.get(file.name, b"") for file in files]


def _regular_files(tar: tarfile.TarFile, names: set[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the members of these names, in their own order: going back in a compressed archive starts anew."""
    for member in tar:
        name = PurePosixPath(member.name).name
        reader = tar.extractfile(member) if member.isfile() and name in names else None
        if reader is not None:
            yield name, reader.read()
