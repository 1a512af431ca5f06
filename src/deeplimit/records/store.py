"""An output directory: complete runs, checkpoints of unfinished ones, and one writer at a time.

OUT/deeplimit.json            marks the directory and remembers what was asked for
OUT/runs/<id>/                run.json, rows.parquet and, where the task keeps them, weights.safetensors
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
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from deeplimit import __version__
from deeplimit.checks import InputError
from deeplimit.records.checkpoint import Checkpoint
from deeplimit.records.writing import aside, settle, sweep_leftovers, write_bytes, write_json, write_through

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

MARKER = "deeplimit.json"
LOCK = ".deeplimit.lock"
#: Entries that a writer killed in its first moments may leave in a directory that is not yet marked.
HARMLESS = ".deeplimit"
FORMAT = 1


class Store:
    """An output directory, opened for reading at once and for writing inside `with`.

    Args:
        out: the directory; it need not exist yet.

    Raises:
        InputError: it is something else than a directory, or holds files of something else.

    >>> import tempfile
    >>> with Store(Path(tempfile.mkdtemp()) / "out") as store:
    ...     store.is_complete("0123456789abcdef")
    False
    """

    def __init__(self, out: str | Path) -> None:
        """Look at the directory; nothing is written."""
        self.out = Path(out)
        self._lock: IO[str] | None = None
        _refuse_foreign(self.out)

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
            sweep_leftovers(self.out)
        for checkpoint in (self.out / "checkpoints").glob("*.safetensors"):
            if self.is_complete(checkpoint.stem):
                checkpoint.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others write."""
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def remember(self, request: Mapping[str, Any]) -> None:
        """Keep in the marker what was asked for, so that the report can be drawn again."""
        write_json(self.out / MARKER, {"format": FORMAT, "version": __version__, "request": dict(request)})

    def write_run(
        self,
        run: str,
        rows: pl.DataFrame,
        *,
        record: Mapping[str, Any],
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Put a complete run in place in one step; its checkpoint and earlier failure go."""
        final = self.run_dir(run)
        part = aside(final)
        part.mkdir(parents=True)
        for name, content in _files(rows, record, weights=weights or {}).items():
            write_through(part / name, content)
        settle(part)
        if final.exists():
            shutil.rmtree(part)
        else:
            part.rename(final)
        settle(final.parent)
        self.checkpoint(run).remove()
        (self.out / "failures" / f"{run}.json").unlink(missing_ok=True)

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
        """Whether the run is there."""
        return self.run_dir(run).is_dir()

    def checkpoint(self, run: str, every: float | None = None) -> Checkpoint:
        """The checkpoint of a run."""
        return Checkpoint(self.out / "checkpoints" / f"{run}.safetensors", every)

    def load_rows(self, run: str) -> pl.DataFrame:
        """The rows of a complete run, as its task left them.

        Raises:
            InputError: the file cannot be read.
        """
        import polars as pl

        path = self.run_dir(run) / "rows.parquet"
        try:
            return pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as problem:
            raise InputError(
                f"{path}: expected the rows of a complete run, found {problem}; remove its directory to compute it anew"
            ) from problem

    def load_record(self, run: str) -> dict[str, Any]:
        """The record of a complete run."""
        return _json(self.run_dir(run) / "run.json")

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The records of complete runs, by id; what cannot be read is left out."""
        for place in sorted((self.out / "runs").glob("[!.]*/run.json")):
            try:
                record = self.load_record(place.parent.name)
            except InputError:
                continue
            if isinstance(record, dict):
                yield place.parent.name, record

    def request(self) -> dict[str, Any] | None:
        """What was asked for last in this directory; None where nothing was.

        Raises:
            InputError: the directory is not an output of this program.
        """
        if not (self.out / MARKER).is_file():
            raise InputError(f"{self.out}: expected an output directory of deeplimit (one with {MARKER}), found none")
        request: dict[str, Any] | None = _json(self.out / MARKER).get("request")
        return request


def _refuse_foreign(out: Path) -> None:
    """Refuse a path whose files are not ours.

    Raises:
        InputError: it is no directory, or a directory with other files and without our marker.
    """
    with _said_plainly(out):
        if not out.exists():
            return
        if not out.is_dir():
            raise InputError(f"output {out}: expected a directory, found a file")
        others = sorted(entry.name for entry in out.iterdir() if not entry.name.startswith(HARMLESS))
    if others and MARKER not in others:
        shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise InputError(
            f"output {out}: expected a new, empty or deeplimit directory, found files of something else ({shown})"
        )


class _said_plainly(contextlib.AbstractContextManager[None]):  # noqa: N801
    """Turns errors of the file system under an output directory into one plain sentence."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise InputError(
                f"output {self.out}: expected a directory that can be written, found: {error.strerror}"
            ) from error


def _locked(out: Path) -> IO[str]:
    """Take the lock of a directory and write our name into it.

    The lock ends with its process however that ends, so that one of a dead process on this host is simply taken over. Where the file
    system is shared, the name of another host in the file says that its writer did not finish, and only a person can know whether it lives.

    Raises:
        InputError: another process writes here.
    """
    lock = (out / LOCK).open("a+")
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
        return pid.isdigit() and int(pid) != os.getpid() and _is_alive(int(pid))
    return False


def _is_alive(pid: int) -> bool:
    """Whether a process of this host exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but there
        return True
    return True


def _files(rows: pl.DataFrame, record: Mapping[str, Any], *, weights: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """The files of a run directory, by name."""
    import numpy as np
    from safetensors.numpy import save

    text = json.dumps(dict(record), indent=1, ensure_ascii=False) + "\n"
    files = {"rows.parquet": _parquet(rows), "run.json": text.encode()}
    if weights:
        files["weights.safetensors"] = save({name: np.asarray(array, order="C") for name, array in weights.items()})
    return files


def _parquet(rows: pl.DataFrame) -> bytes:
    """A table as Parquet; equal tables give equal bytes."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, statistics=False)
    return buffer.getvalue()


def _json(path: Path) -> dict[str, Any]:
    """A JSON file that this program wrote.

    Raises:
        InputError: it cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: expected a file written by deeplimit, found {problem}") from problem
    return content
