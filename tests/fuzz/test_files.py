"""Whatever is in a file: it is read or refused in a line, and no code of it is run."""

from __future__ import annotations

from tests.fuzz.files import tried

SIZE, SHARE = 15, 0.3


def test_hostile_files_are_read_or_refused(batch, sandbox, check):
    first, count = batch
    found = [finding for number in range(first, first + count) for finding in tried(number, sandbox)]
    check("files", count, found)
