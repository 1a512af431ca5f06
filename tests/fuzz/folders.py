"""Histories of an output folder: it is made, damaged, killed, its study edited, its options changed, gone on with, reported.

A history is a list of steps. What its rows must be is computed here, from the constants of the study as they are now.
`python -m tests.fuzz.folders '[["run"], ["damage", 3, "cut"], ["run"]]'` repeats one and says what every command printed.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tests.fuzz.drawing import distinct_of
from tests.fuzz.findings import Finding, judged, typed
from tests.fuzz.lines import commands
from tests.fuzz.sandbox import remove
from tests.fuzz.server import Server
from tests.fuzz.studies import DEPTHS, STEPS, Constants, write_study

Step = list[Any]
PLACES = [field.name for field in dataclasses.fields(Constants)]
#: What is done to a file. The program need not go on from the last four; it must do no harm and use nothing wrong.
GENTLE = ("empty", "cut", "flip", "delete", "list", "object", "swap", "alter", "alter", "swap", "other")
ROUGH = ("future", "folder", "link", "drop")
#: Files without which a folder is nobody's, or somebody else's.
VITAL = ("deeplimit.json", ".deeplimit.lock")

# ------------------------------------------------------------------------------------------------------------- damage


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else b"x"


def alter(content: bytes) -> bytes:
    """A file of the same format that says something else."""
    if content[:4] == b"PAR1":
        rows = pl.read_parquet(io.BytesIO(content))
        name = "value" if "value" in rows.columns else rows.columns[0]
        if rows.schema[name].is_numeric():
            rows = rows.with_columns(pl.col(name) + 1)
        stream = io.BytesIO()
        rows.write_parquet(stream)
        return stream.getvalue()
    if content[:1] in (b"{", b"["):
        return altered_json(content)
    try:
        numbers = {
            name: array + 1 if array.dtype.kind == "f" else array.copy() for name, array in load(content).items()
        }
        return save(numbers)
    except (SafetensorError, ValueError):
        return content + b" "


def altered_json(content: bytes) -> bytes:
    """JSON without one of its entries."""
    try:
        found = json.loads(content)
    except ValueError:
        return content + b" "
    if found and isinstance(found, dict):
        found.pop(sorted(found)[len(content) % len(found)])
    return json.dumps(found, indent=1).encode()


def future(content: bytes) -> bytes:
    """A file of a later version of the program."""
    try:
        found = json.loads(content)
    except ValueError:
        return b"later" + content
    return json.dumps({**found, "format": 99, "version": "99.0"} if isinstance(found, dict) else [99]).encode()


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": cut,
    "flip": flip,
    "list": lambda content: b"[]",
    "object": lambda content: b"{}",
    "alter": alter,
    "future": future,
    "other": lambda content: b"\x80\x04K\x01." + content,
}

# ------------------------------------------------------------------------------------------------------------- history


class History:
    """An output folder through its steps."""

    def __init__(self, root: Path, server: Server, steps: list[Step], *, say: bool = False) -> None:
        self.root, self.server, self.steps, self.say = Path(os.path.realpath(root)), server, steps, say
        shutil.rmtree(self.root, ignore_errors=True)
        self.work = self.root / "work"
        self.out = self.work / "out"
        for name in ("work", "tmp", "home"):
            (self.root / name).mkdir(parents=True)
        self.constants, self.name, self.comments = Constants(), "mine", 0
        self.known_as = self.name  # by the folder
        self.options: dict[str, Any] = {"tier": "quick", "replicates": 0}
        #: Of the last run that was begun, and of the last that ended well.
        self.begun: tuple[Any, ...] | None = None
        self.ended: tuple[Any, ...] | None = None
        self.complete: set[tuple[Any, ...]] = set()
        self.damaged: list[str] = []
        self.rough = False
        self.findings: list[Finding] = []
        self.write()
        (self.root / "secret").write_text("secret\n")
        self.kept: dict[Path, bytes] = {self.root / "secret": b"secret\n"}

    @property
    def asked(self) -> tuple[Any, ...]:
        """What the rows depend on."""
        return self.constants, self.options["tier"], self.options["replicates"]

    def write(self) -> None:
        """Write the study as it is now."""
        for old in self.work.glob("*.py"):
            old.unlink()
        write_study(self.work, self.constants, name=self.name, comment="\n    # a remark" * self.comments)

    def play(self) -> list[Finding]:
        """Take every step until something is wrong; what is."""
        for step in self.steps:
            getattr(self, step[0])(*step[1:])
            if self.findings:
                break
        return self.findings

    def wrong(self, kind: str, what: str) -> None:
        """Note a finding."""
        repeat = "python -m tests.fuzz.folders " + typed([json.dumps(self.steps)])
        self.findings.append(Finding(kind, what, "", repeat))

    # ------------------------------------------------------------------------------------------------------------ steps

    def run(self, kill: int | None = None) -> None:
        """Run the study, to the end or to the change of a file at which it is killed."""
        words = ["study", f"{self.name}.py", "--out", "out", "--workers", "1", "--json"]
        words += ["--tier", self.options["tier"], "--seeds", str(self.options["replicates"])]
        begun, self.begun = self.begun, self.asked
        answer = self.command(words, kill=kill)
        if kill is not None and answer["status"] == -9:
            # What it named before it was killed, it may have replaced.
            if "note: run" in answer["err"]:
                self.damaged = [place for place in self.damaged if not place.startswith("runs/")]
            return
        if answer["status"] == 0:
            self.whole(answer)
        elif self.name != self.known_as and self.asked not in self.complete and "use another --out" in answer["err"]:
            # Renamed and edited, it is another study.
            self.begun, self.name = begun, self.known_as
            self.write()
        elif not self.rough:
            self.wrong("lost", f"status {answer['status']} after {self.damage_told()}: {last_line(answer['err'])}")

    def kill(self, moment: int) -> None:
        """Kill a run before its change number `moment` of a file."""
        self.run(moment)

    def report(self) -> None:
        """Draw the report again."""
        named = ["--study", f"{self.name}.py"] if takes_a_study() else []
        answer = self.command(["report", "out", *named, "--json"])
        if answer["status"] == 0:
            self.part()
        elif self.ended and not self.rough and not self.damaged and self.begun == self.ended == self.asked:
            self.wrong("lost", f"status {answer['status']}: {last_line(answer['err'])}")

    def damage(self, number: int, way: str) -> None:
        """Do something to one of the files."""
        files = sorted(
            path for path in self.out.rglob("*") if path.is_file() and not path.is_symlink() and path not in self.kept
        )
        if not files:
            return
        file = files[number % len(files)]
        if way != "link":  # behind which the same bytes lie
            self.damaged.append(str(file.relative_to(self.out)))
        self.rough |= way in ROUGH or file.name in VITAL
        if way == "delete":
            file.unlink()
        elif way == "drop":
            own = [
                path
                for path in (file.parent, file)
                if path != self.out and not any(k.is_relative_to(path) for k in self.kept)
            ]
            remove(own[0])
        elif way == "folder":
            file.unlink()
            file.mkdir()
        elif way == "link":
            outside = self.root / f"outside-{len(self.kept)}"
            shutil.copy(file, outside)
            self.kept[outside] = outside.read_bytes()
            file.unlink()
            file.symlink_to(outside)
        elif way == "swap":
            others = [path for path in files if path.name == file.name and path != file] or files
            file.write_bytes(others[number % len(others)].read_bytes())
        else:
            file.write_bytes(CHANGES[way](file.read_bytes()))

    def edit(self, place: int) -> None:
        """Change a constant."""
        name = PLACES[place % len(PLACES)]
        step = 10**place if name != "helper" else 1  # no two edits come to the same
        self.constants = dataclasses.replace(self.constants, **{name: getattr(self.constants, name) + step})
        self.write()

    def back(self) -> None:
        """Have the constants of the beginning."""
        self.constants = Constants()
        self.write()

    def comment(self) -> None:
        """Add a comment, which changes nothing."""
        self.comments += 1
        self.write()

    def rename(self) -> None:
        """Give the study file another name, which changes nothing."""
        self.name = "yours" if self.name == "mine" else "mine"
        self.write()

    def option(self, tier: str, replicates: int) -> None:
        """Ask for something else."""
        self.options = {"tier": tier, "replicates": replicates}

    def stray(self, place: str) -> None:
        """Put a file of the user's own into the folder, which must stay."""
        path = self.out / place
        if self.out.is_dir() and not path.exists() and not path.is_symlink():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("mine\n")
            self.kept[path] = b"mine\n"

    def foreign(self) -> None:
        """Run another study into the same folder, which is not its own."""
        if self.ended is None or self.rough or self.damaged:
            return
        text = (self.work / f"{self.name}.py").read_text()
        (self.work / "strange.py").write_text(text.replace('"lines"', '"strange"').replace('"lines.1"', '"strange.1"'))
        before = frozen(self.out)
        answer = self.command(["study", "strange.py", "--out", "out", "--workers", "1"])
        if answer["status"] == 0 or frozen(self.out) != before:
            self.wrong("harmed", "another study took the folder over")
        (self.work / "strange.py").unlink()

    # ----------------------------------------------------------------------------------------------------------- judging

    def command(self, words: list[str], kill: int | None = None) -> dict[str, Any]:
        """Run a command line, and see that it ends well and harms nothing."""
        environment = {
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "DEEPLIMIT_CHECKPOINT_SECONDS": "0",
        }
        sources = {path: path.read_bytes() for path in self.work.glob("*.py")}
        answer = self.server.ask(words, cwd=self.work, root=self.root, environment=environment, kill=kill)
        if self.say:
            print("$ deeplimit", typed(words), f"-> {answer['status']}\n", answer["out"], answer["err"])
        repeat = "python -m tests.fuzz.folders " + typed([json.dumps(self.steps)])
        if kill is None or answer["status"] != -9:
            self.findings += judged(answer, repeat)
        for path, content in {**self.kept, **sources}.items():
            there = path.read_bytes() if path.is_file() else b""
            if there != content:
                self.wrong("harmed", f"changed {path.relative_to(self.root)}")
        for note, path in answer["notes"]:
            if note == "ran" and os.path.dirname(path) != str(self.work):
                self.wrong("code", f"{words[0]} ran {os.path.relpath(path, self.root)}")
        if words[0] == "report" and "--study" not in words and any(note == "ran" for note, _ in answer["notes"]):
            self.wrong("code", "report ran a study file that nobody named")
        return answer

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows in the folder."""
        found = pl.read_parquet(self.out / "rows.parquet")
        return sorted(found.select("depth", "seed", "iteration", "value").rows()) if found.height else []

    def whole(self, answer: dict[str, Any]) -> None:
        """A run ended well: all rows are those of the study as it is now."""
        expected = sorted(self.constants.rows(self.options["tier"], self.options["replicates"]))
        found = self.rows()
        if anonymous(found) != anonymous(expected):
            self.wrong("stale", f"rows are not those of the study after {self.damage_told()}")
        value = json.loads(answer["out"])[0]["measured"]
        largest = next(v for d, _, k, v in expected if d == max(DEPTHS[self.options["tier"]]) and k == STEPS - 1)
        if value != largest:
            self.wrong("stale", f"a verdict of {value}, expected {largest}, after {self.damage_told()}")
        self.named(answer)
        self.spared(answer)
        self.ended, self.damaged, self.known_as = self.asked, [], self.name
        self.complete.add(self.asked)

    def named(self, answer: dict[str, Any]) -> None:
        """What was damaged of the runs that are used now was told of."""
        used = {run["id"]: run["name"] for run in json.loads((self.out / "record.json").read_text())["runs"]}
        told = answer["out"] + answer["err"]
        for place in self.damaged:
            kind, _, rest = place.partition("/")
            run = rest.partition("/")[0]
            if kind == "runs" and run in used and "/" in rest and run not in told and used[run] not in told:
                self.wrong("words", "a damaged run is not named")

    def spared(self, answer: dict[str, Any]) -> None:
        """Nothing is computed again that was there and whole."""
        if self.asked in self.complete and not self.damaged and not self.rough:
            line = next((line for line in answer["err"].splitlines() if line.startswith("runs: ")), "")
            if "runs: 0 " not in line:
                self.wrong("lost", f"computed again for nothing: {line}")

    def part(self) -> None:
        """A report was drawn: its rows are those of one study as it was, or a part of them."""
        found = set(anonymous(self.rows()))
        possible = [asked for asked in (self.begun, self.ended) if asked]
        sets = [set(anonymous(constants.rows(tier, replicates))) for constants, tier, replicates in possible]
        if not any(found <= one for one in sets):
            self.wrong("stale", f"a report of rows that no run left, after {self.damage_told()}")
        if self.ended and self.ended == self.begun and not self.damaged and not self.rough and found != sets[-1]:
            self.wrong("lost", "a report without all rows of a complete run")

    def damage_told(self) -> str:
        """What was done to the folder."""
        kinds = sorted({place.partition("/")[0] + "/…/" + Path(place).name for place in self.damaged})
        return ", ".join(kinds) or "no damage"


@cache
def takes_a_study() -> bool:
    """Whether `report` runs the code of a study file only where its option --study names one."""
    report = next(command for command in commands() if command.path == ("report",))
    return any("--study" in parameter.options for parameter in report.parameters)


def anonymous(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows with the seeds counted from 0."""
    seeds = {number: index for index, number in enumerate(sorted({row[1] for row in rows}))}
    return sorted((depth, seeds[number], step, value) for depth, number, step, value in rows)


def frozen(folder: Path) -> dict[str, bytes]:
    """All files of a folder but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".deeplimit")
    }


def last_line(text: str) -> str:
    """The last line that says something."""
    return (text.strip().splitlines() or [""])[-1][:300]


# ------------------------------------------------------------------------------------------------------------ strategies

NUMBERS = st.integers(0, 40)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """A beginning, some steps, and a run at the end."""
    chance = draw(st.randoms(use_true_random=True))
    first = chance.choice((["run"], ["run"], ["run"], ["kill", 20], ["kill", 9], ["stray", "mine.txt"]))
    return [first, *(_step(draw, chance) for _ in range(chance.randint(1, 6))), ["run"]]


def _step(draw: st.DrawFn, chance: Random) -> Step:
    """One step."""
    kind = chance.choice(
        ("run", "run", "kill", "damage", "damage", "damage", "edit", "option", "stray", "other", "other")
    )
    steps: dict[str, Callable[[], Step]] = {
        "run": lambda: ["run"],
        "kill": lambda: ["kill", draw(NUMBERS)],
        "damage": lambda: ["damage", draw(NUMBERS), chance.choice(GENTLE if chance.random() < 0.8 else ROUGH)],
        "edit": lambda: ["edit", chance.randrange(len(PLACES))],
        "option": lambda: ["option", chance.choice(sorted(DEPTHS)), chance.randrange(3)],
        "stray": lambda: ["stray", chance.choice(("mine.txt", "runs/mine.txt", "study/mine.txt", "figures/mine.svg"))],
        "other": lambda: [chance.choice(("comment", "rename", "back", "foreign", "report", "report"))],
    }
    return steps[kind]()


def drawn(number: int, count: int) -> list[list[Step]]:
    """The histories of a seed, all different."""
    return distinct_of(histories(), number, count)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Server() as warm:
        for finding in History(Path(folder) / "root", warm, json.loads(sys.argv[1]), say=True).play():
            print(finding)
