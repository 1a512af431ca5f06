"""An output directory: complete runs, checkpoints of unfinished ones, and one writer at a time.

OUT/deeplimit.json            marks the directory, remembers what was asked for and of which studies
OUT/runs/<id>/                run.json, rows.parquet, weights.safetensors where the task keeps them, and checksums.json of these
OUT/checkpoints/<id>.safetensors
OUT/failures/<id>.json        specification and error of a run that failed
OUT/.deeplimit.lock           who writes; the lock itself is the kernel's and ends with its process
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import platform
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from deeplimit import __version__
from deeplimit.checks import InputError
from deeplimit.records.checkpoint import Checkpoint
from deeplimit.records.integrity import (
    CHECKSUMS,
    FORMAT,
    RECORD,
    ROWS,
    WEIGHTS,
    Layout,
    Record,
    checksums,
    flaw,
    parsed,
    read,
    text,
)
from deeplimit.records.writing import aside, discard, settle, sweep_leftovers, write_bytes, write_json, write_through

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

MARKER = "deeplimit.json"
LOCK = ".deeplimit.lock"
#: Entries that a writer killed in its first moments may leave in a directory that is not yet marked.
HARMLESS = ".deeplimit"
#: What an output directory holds beside the marker: these directories, and these files.
FOLDERS = ("runs", "checkpoints", "failures", "figures", "study")
FILES = ("rows.parquet", "record.json", "verdicts.json", "report.html")
#: Length of the longest name that is expected in it, in bytes.
LONGEST = 100
#: The folder of output directories that were not named; made where it is missing.
HOME = Path("results")


@dataclass(frozen=True)
class Marker:
    """What marks an output directory.

    Args:
        format: of the directory.
        version: of deeplimit, which wrote last.
        request: what was asked for last; None where nothing was.
        studies: names of the studies that the directory belongs to; older versions did not say.
    """

    format: int
    version: str
    request: dict[str, Any] | None
    studies: tuple[str, ...] = ()


def output_folder(name: str) -> Path:
    """The output directory that a command line names; the name is text, never a pattern.

    Raises:
        InputError: the name is empty or `-`, or the folder that would hold the directory does not exist.

    >>> output_folder("results/mine")
    PosixPath('results/mine')
    """
    if name in ("", "-"):
        raise InputError(f"output: expected the path of a directory, found {name!r}")
    out = Path(name)
    with _said_plainly(out):
        if out.exists() and not out.is_dir():
            raise InputError(f"output {out}: expected a directory, found a file")
        if not (out.exists() or out.parent == HOME or out.absolute().parent.is_dir()):
            raise InputError(f"output {out}: expected a folder to make it in, found none at {out.parent}")
    return out


class Store:
    """An output directory, opened for reading at once and for writing inside `with`.

    A run counts as complete if it is as it was written: each is compared with its checksums once, when it is first asked for.

    Args:
        out: the directory; it need not exist yet.

    Raises:
        InputError: it is something else than a directory, holds files of something else, or is of a newer version.

    >>> import tempfile
    >>> with Store(Path(tempfile.mkdtemp()) / "out") as store:
    ...     store.is_complete("0123456789abcdef")
    False
    """

    def __init__(self, out: str | Path) -> None:
        """Look at the directory; nothing is written."""
        self.out = Path(out)
        self._lock: IO[str] | None = None
        self._flaws: dict[str, str] = {}
        self.marker = _marker(self.out) if _is_ours(self.out) else None

    # Writing ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Store:
        """Become the one writer: create and mark the directory, and remove what a killed writer left behind.

        Raises:
            InputError: the directory cannot be written, or another process writes it.
        """
        with _said_plainly(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.out)
            if not (self.out / MARKER).exists():
                write_json(self.out / MARKER, {"format": FORMAT, "version": __version__, "request": None})
            for name in ("runs", "checkpoints"):
                (self.out / name).mkdir(exist_ok=True)
            self.marker = _marker(self.out)
            sweep_leftovers(self.out)
            for checkpoint in (self.out / "checkpoints").glob("*.safetensors"):
                if self.is_complete(checkpoint.stem):
                    discard(checkpoint)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others write."""
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def remember(self, request: Mapping[str, Any], studies: Sequence[str] = ()) -> None:
        """Keep in the marker what was asked for, so that the report can be drawn again, and the studies that it is all about."""
        marker = {"format": FORMAT, "version": __version__, "request": dict(request), "studies": list(studies)}
        write_json(self.out / MARKER, marker)
        self.marker = _marker(self.out)

    def write_run(
        self,
        run: str,
        rows: pl.DataFrame,
        *,
        record: Mapping[str, Any],
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Put a complete run in place in one step; its checkpoint and earlier failure go.

        A damaged run of that name leaves its place now that the new one is whole; a sound one stays.

        Raises:
            InputError: the record lacks what every record says.
        """
        if not self.is_complete(run):
            self._replace(run, _files(run, rows, record, weights=weights or {}))
        self.checkpoint(run).remove()
        discard(self.out / "failures" / f"{run}.json")

    def _replace(self, run: str, files: Mapping[str, bytes]) -> None:
        """Put the directory of a run in place of what lies there."""
        final = self.run_dir(run)
        part, damaged = aside(final), aside(final.with_name(f"{run}.damaged"))
        discard(part)
        part.mkdir(parents=True)
        for name, content in files.items():
            write_through(part / name, content)
        settle(part)
        if os.path.lexists(final):
            final.rename(damaged)
        part.rename(final)
        settle(final.parent)
        discard(damaged)
        self._flaws[run] = ""

    def write_failure(self, run: str, record: Mapping[str, Any]) -> Path:
        """Keep the specification and the error of a run that failed; returns the file."""
        path = self.out / "failures" / f"{run}.json"
        write_json(path, record)
        return path

    def write_frame(self, name: str, rows: pl.DataFrame) -> None:
        """Put a table of rows in place as Parquet."""
        write_bytes(self.out / name, _parquet(rows))

    # Reading ---------------------------------------------------------------------------------------------------

    def run_dir(self, run: str) -> Path:
        """The directory of a run, which exists once the run is complete."""
        return self.out / "runs" / run

    def is_complete(self, run: str) -> bool:
        """Whether the run is there, as it was written."""
        return os.path.lexists(self.run_dir(run)) and not self.flaw(run)

    def flaw(self, run: str) -> str:
        """Why a run that is there cannot be used, in words; empty where it is sound or absent."""
        if run not in self._flaws and os.path.lexists(self.run_dir(run)):
            self._flaws[run] = flaw(self.run_dir(run))
        return self._flaws.get(run, "")

    def checkpoint(self, run: str, every: float | None = None) -> Checkpoint:
        """The checkpoint of a run."""
        return Checkpoint(self.out / "checkpoints" / f"{run}.safetensors", every)

    def load_rows(self, run: str) -> pl.DataFrame:
        """The rows of a complete run, as its task left them.

        Raises:
            InputError: it is not complete, or was altered since that was found.
        """
        import polars as pl

        path = self._sound(run) / ROWS
        try:
            # From bytes: polars reads a path as a pattern.
            return pl.read_parquet(io.BytesIO(path.read_bytes()))
        except (OSError, pl.exceptions.PolarsError) as problem:
            raise _altered(path) from problem

    def load_record(self, run: str) -> dict[str, Any]:
        """The record of a complete run.

        Raises:
            InputError: it is not complete, or was altered since that was found.
        """
        path = self._sound(run) / RECORD
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError) as problem:
            raise _altered(path) from problem
        return record

    def _sound(self, run: str) -> Path:
        """The directory of a complete run.

        Raises:
            InputError: it is not complete.
        """
        if not self.is_complete(run):
            raise InputError(
                f"{self.run_dir(run)}: expected a complete run, found that {self.flaw(run) or 'it is absent'}"
            )
        return self.run_dir(run)

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The records of complete runs, by id; damaged ones are left out."""
        for place in sorted((self.out / "runs").glob("[!.]*/run.json")):
            try:
                record = self.load_record(place.parent.name)
            except InputError:
                continue
            yield place.parent.name, record

    def request(self) -> dict[str, Any] | None:
        """What was asked for last in this directory; None where nothing was.

        Raises:
            InputError: the directory is not an output of this program.
        """
        if self.marker is None:
            raise InputError(f"{self.out}: expected an output directory of deeplimit (one with {MARKER}), found none")
        return self.marker.request


def _altered(path: Path) -> InputError:
    """What is said of a file that was found sound and cannot be read now."""
    return InputError(
        f"{path}: expected a file that stays as it is, found that it was altered meanwhile; run the same again"
    )


def _is_ours(out: Path) -> bool:
    """Whether a path is an output directory that is marked; False where it is new or empty.

    Raises:
        InputError: it is no directory, cannot be one, or holds files of something else.
    """
    with _said_plainly(out):
        _mode(out / ("x" * LONGEST))  # refused here where the paths in it would be too long
        if not os.path.lexists(out):
            return False
        if not out.is_dir():
            raise InputError(f"output {out}: expected a directory, found a file")
        others = sorted(entry.name for entry in out.iterdir() if not entry.name.startswith(HARMLESS))
        if others and MARKER not in others:
            shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            raise InputError(
                f"output {out}: expected a new, empty or deeplimit directory, found files of something else ({shown})"
            )
        _refuse_mixed_up(out)
    return bool(others)


def _refuse_mixed_up(out: Path) -> None:
    """Refuse an output directory in which something else has one of our names, before work and not after.

    A link to a folder elsewhere counts: what is written into it would replace files that are not ours.

    Raises:
        InputError: a folder is expected where none is, or a file where a folder is.
    """
    for name in FOLDERS:
        if _mode(out / name) not in (0, stat.S_IFDIR):
            raise InputError(f"output {out}: expected a folder {name} in it, found a file or a link")
    for name in FILES:
        if _mode(out / name) == stat.S_IFDIR:
            raise InputError(f"output {out}: expected a file {name} in it, found a folder")


def _mode(path: Path) -> int:
    """What is at a path, as in `stat`, a link being a link; 0 where nothing is."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _marker(out: Path) -> Marker:
    """The marker of an output directory.

    Raises:
        InputError: it is of a newer version, or not as this program writes it.
    """
    try:
        number = read(Layout, out / MARKER).format
        if not 1 <= number <= FORMAT:
            raise InputError(f"{MARKER} is of format {number}, of another version of deeplimit")
        return read(Marker, out / MARKER)
    except InputError as problem:
        raise InputError(
            f"output {out}: expected a directory of deeplimit of format 1 to {FORMAT}, found that {problem}; use another --out"
        ) from problem
    except OSError as problem:
        raise InputError(f"output {out}: expected to read {MARKER}, found: {problem.strerror}") from problem


class _said_plainly(contextlib.AbstractContextManager[None]):  # noqa: N801
    """Turns errors of the file system under an output directory into one plain sentence."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise InputError(
                f"output {self.out}: expected a directory that can be written, found: {error.strerror or error} ({error.filename})"
            ) from error


def _locked(out: Path) -> IO[str]:
    """Take the lock of a directory and write our name into it.

    The lock ends with its process however that ends, so that one of a dead process on this host is simply taken over. Where the file
    system is shared, the name of another host in the file says that its writer did not finish, and only a person can know whether it lives.

    Raises:
        InputError: another process writes here.
    """
    # Not through a link, behind which a file that is not ours would be emptied.
    handle = os.open(out / LOCK, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    lock = os.fdopen(handle, "a+", errors="replace")
    lock.seek(0)
    pid, _, host = lock.read().strip().partition(" ")
    held = _is_held(lock, pid if host == platform.node() else "")
    if held or host not in ("", platform.node()):
        lock.close()
        advice = "wait for it" if held else f"remove {out / LOCK} if that process is dead"
        raise InputError(
            f"output {out}: expected no other writer, found process {pid or 'unknown'} on {host or 'this host'}; {advice}"
        )
    lock.truncate(0)
    lock.write(f"{os.getpid()} {platform.node()}\n")
    lock.flush()
    return lock


def _is_held(lock: IO[str], pid: str) -> bool:
    """Whether another process has the lock; takes it where none has.

    A file system that knows no locks leaves the process that the file names, if it is one of this host.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return pid.isdecimal() and int(pid) != os.getpid() and _is_alive(int(pid))
    return False


def _is_alive(pid: int) -> bool:
    """Whether a process of this host exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but there
        return True
    except OverflowError:  # no process has such a number
        return False
    return True


def _files(
    run: str, rows: pl.DataFrame, record: Mapping[str, Any], *, weights: Mapping[str, np.ndarray]
) -> dict[str, bytes]:
    """The files of a run directory, by name.

    Raises:
        InputError: the record lacks what every record says.
    """
    import numpy as np
    from safetensors.numpy import save

    files = {ROWS: _parquet(rows), RECORD: text(dict(record)).encode(errors="replace")}
    parsed(Record, files[RECORD], name=f"the record of run {run}")
    if weights:
        files[WEIGHTS] = save({name: np.asarray(array, order="C") for name, array in weights.items()})
    return {**files, CHECKSUMS: checksums(run, files)}


def _parquet(rows: pl.DataFrame) -> bytes:
    """A table as Parquet; equal tables give equal bytes."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, statistics=False)
    return buffer.getvalue()
