"""What a fuzz run found, and how it is counted."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What must never happen, in the order in which it is told.
KINDS = ("traceback", "crash", "hang", "memory", "harmed", "code", "stale", "lost", "words")
#: What the command line promises, with the signals SIGINT and SIGPIPE.
STATUSES = (0, 1, 2, 130, 141)
LONGEST = 2500
#: Bytes that a command on small files may need.
MEMORY = 1_500_000_000
FRAME = re.compile(r'File "[^"]*?/(src/deeplimit/[^"]*|site-packages/[^"]*|tests/fuzz/[^"]*)", line (\d+)')
RAISED = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Warning|Interrupt|Exit|Pool|NotFound)\b.*)$", re.MULTILINE)
INTERNAL = re.compile(r"^deeplimit: internal error: (.*); traceback: (\S+)$", re.MULTILINE)
TRACEBACK = "Traceback (most recent call last)"
OWN = re.compile(r'File "[^"]*?/(src/deeplimit/[^"]*)", line (\d+)')


@dataclass(frozen=True)
class Finding:
    """Something that should not be.

    Args:
        kind: one of `KINDS`.
        what: in words; two findings of one kind, place and words are one.
        place: file and line at fault, where it is known.
        repeat: the command that shows it again.
    """

    kind: str
    what: str
    place: str
    repeat: str

    @property
    def signature(self) -> tuple[str, str, str]:
        """What makes it the same finding as another."""
        return self.kind, re.sub(r"[\d'\"].*", "", self.what)[:60], self.place

    def __str__(self) -> str:
        where = f" [{self.place}]" if self.place else ""
        return f"{self.kind}: {self.what}{where}\n    {self.repeat}"


def distinct(findings: Iterable[Finding]) -> list[tuple[Finding, int]]:
    """One finding of each signature, the one that is shortest to repeat, and how many there were."""
    found = sorted(findings, key=lambda finding: (KINDS.index(finding.kind), len(finding.repeat)))
    count = Counter(finding.signature for finding in found)
    first: dict[tuple[str, str, str], Finding] = {}
    for finding in found:
        first.setdefault(finding.signature, finding)
    return [(finding, count[signature]) for signature, finding in first.items()]


def tally(findings: Iterable[Finding]) -> str:
    """How many of each kind."""
    count = Counter(finding.kind for finding in findings)
    return ", ".join(f"{kind} {count[kind]}" for kind in KINDS)


def at_fault(text: str) -> str:
    """The last line of the program in a traceback or a dump of all threads."""
    dump = "most recent call first" in text
    found = OWN.findall(text) or FRAME.findall(text)
    if not found:
        return ""
    file, line = found[0] if dump else found[-1]
    return f"{file}:{line}"


def judged(answer: dict[str, Any], repeat: str) -> list[Finding]:
    """What is wrong with the end of any command, whatever it was."""
    text = answer["err"] + answer["out"]
    fault = INTERNAL.search(answer["err"])
    text += read(fault[2]) if fault else ""
    place = at_fault(text)
    found = []
    if answer["hung"]:
        found.append(Finding("hang", f"not through after {answer['seconds']:.0f} s", place, repeat))
    elif answer["status"] < 0:
        found.append(Finding("crash", f"signal {-answer['status']}", place, repeat))
    elif fault or TRACEBACK in text:
        raised = [fault[1]] if fault else RAISED.findall(text)
        found.append(Finding("traceback", (raised or ["?"])[-1][:200], place, repeat))
    else:
        found += worded(answer, repeat)
    if answer["grown"] > MEMORY:
        found.append(Finding("memory", f"{answer['grown'] / 1e9:.1f} GB", "", repeat))
    found += [
        Finding("harmed", f"would write outside: {path}", place, repeat)
        for kind, path in answer["notes"]
        if kind == "outside"
    ]
    return found


def worded(answer: dict[str, Any], repeat: str) -> list[Finding]:
    """Ends that no user understands: a status that says nothing, no word of why, too many, or letters that steer a terminal."""
    status, err = answer["status"], answer["err"]
    problems = []
    if status not in STATUSES:
        problems.append(f"status {status}")
    if status == 2 and not (err.strip() or answer["out"].strip()):
        problems.append("status 2 without a word")
    if status != 0 and "deeplimit: " in err:
        told, *more = err[err.rindex("deeplimit: ") :].rstrip().splitlines()
        if len(more) > 2 or any(not line.startswith("  ") for line in more):  # lines of the user's own code are set in
            problems.append(f"more than one line: {more[0]!r}")
        if len(told) > LONGEST:
            problems.append(f"a line of {len(told)} characters")
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x9b]", (err + answer["out"]).replace("\r", "")):
        problems.append("control characters in the output")
    return [Finding("words", problem, "", repeat) for problem in problems]


def read(file: str) -> str:
    """The file of a traceback."""
    try:
        return Path(file).read_text(errors="replace")
    except OSError:
        return ""


def typed(words: Iterable[str]) -> str:
    """Words as they are typed in a shell."""
    return shlex.join(words).encode(errors="backslashreplace").decode()
