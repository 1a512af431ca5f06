"""Whose code draws the report of an output directory again: that of a file which the user names, never the directory's own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from deeplimit import checks
from deeplimit.records import Store
from deeplimit.study.outcome import copy_of_file
from deeplimit.study.plan import plan
from deeplimit.study.subject import Request, Subject, load_file


def subject_of_file(out: Path, request: Request, *, file: Path | None) -> Subject:
    """The subject of a user's file, for the report of a directory that was made by it.

    Args:
        out: the output directory.
        request: what was asked for in it.
        file: the file that the user names.

    Raises:
        InputError: no file is named, or another study's; the message says which one is meant.
    """
    if file is None:
        raise checks.InputError(
            f"{out}: expected --study FILE, whose code judges and draws (no code of the directory is run), "
            f"found none; {_hint(out, request)}"
        )
    subject, store = load_file(file), Store(out)
    planned = plan(subject.select(request.only).studies, request)
    runs = [path.parent.name for path in (out / "runs").glob("[!.]*/run.json")]
    if runs and not any(store.is_complete(job.id) for job in planned.jobs):
        raise checks.InputError(
            f"{file}: expected the study that {out} was made by, found one of whose {len(planned.jobs)} runs none is there"
        )
    return subject


def _hint(out: Path, request: Request) -> str:
    """Which file was meant: the one that the directory was made by, unless that lies in the directory itself."""
    original = Path(request.folder, Path(request.name).name)
    if not os.path.isfile(original) or Path(os.path.realpath(original)).is_relative_to(os.path.realpath(out)):
        return f"{original} is not there any more, {copy_of_file(out, request)} is a copy of it: read it, then name it"
    shown = original.relative_to(Path.cwd()) if original.is_relative_to(Path.cwd()) else original
    return f"it was made by: {shlex.join(['deeplimit', 'report', str(out), '--study', str(shown)])}"
