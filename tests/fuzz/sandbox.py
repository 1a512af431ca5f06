"""A folder full of what a user has, and of what somebody may have sent; and what a command did to it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.bench.test_report import REPORT
from tests.diagnosis.networks import save_network
from tests.diagnosis.sources.hostile import Call, graph
from tests.fuzz.findings import Finding
from tests.fuzz.server import Server
from tests.fuzz.studies import Constants, write_study

#: What leaves a mark where it is run, as a file of Python.
CANARY = "import pathlib\npathlib.Path({mark!r}).touch()\n"
TRAIN = '''"""Trainings for `l2 predict`, and modules for `diagnose`."""
import math
import torch


def train(weight_decay, learning_rate, steps, seed):
    for k in range(1, 41):
        yield max(1, steps * k // 40), 0.9 * (1 - math.exp(-k / 5)) - 0.3 * (1 - math.exp(-k * k / 400))


def raising(**options):
    yield 1, 0.1
    raise RuntimeError("my own mistake")


def wrong(**options):
    return [("a", None), (float("nan"), 7), (-1,)]


def empty(**options):
    return []


def leaving(**options):
    raise SystemExit(7)


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(4)))


number = 3
'''
#: Names of the standard library and of packages, that lie in the folder of a command.
SHADOWS = ("json", "torch", "numpy", "safetensors", "colorsys", "sitecustomize")


class Sandbox:
    """The folder `work`, in which commands run, and others beside it.

    Args:
        root: a new folder.
        server: runs the study that left an output folder.
    """

    def __init__(self, root: Path, server: Server) -> None:
        self.root = Path(os.path.realpath(root))
        self.work, self.marks = self.root / "work", self.root / "marks"
        self.server = server
        self.environment = {
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "XDG_CACHE_HOME": str(self.root / "home" / "cache"),
            "HF_HOME": str(self.root / "home" / "hf"),
            "DEEPLIMIT_DATA": str(self.root / "data"),
            "DEEPLIMIT_CHECKPOINT_SECONDS": "0",
        }
        self.fill()

    def fill(self) -> None:
        """Make everything anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("work", "marks", "home", "tmp", "data"):
            (self.root / name).mkdir(parents=True)
        self.networks()
        self.batches()
        self.code()
        self.odd()
        self.output()
        shutil.copytree(self.work, self.root / "whole", symlinks=True, ignore=shutil.ignore_patterns("fifo"))
        self.before = self.snapshot()

    def run(self, words: list[str], **more: Any) -> dict[str, Any]:
        """Run a command line in `work`."""
        return self.server.ask(words, cwd=self.work, root=self.root, environment=self.environment, **more)

    def mark(self, name: str) -> str:
        """Code that leaves a mark of this name."""
        return CANARY.format(mark=str(self.marks / name))

    # ------------------------------------------------------------------------------------------------------ its files

    def networks(self) -> None:
        work = self.work
        for seed, name in enumerate(("net", "other", "-dash", "ünï [x]")):
            save_network(work / f"{name}.safetensors", seed=seed)
        for k in range(3):
            save_network(work / "steps" / f"step-{k}.safetensors", seed=k, factor=1 + k)
            depth = 8 * 2**k
            line = torch.linspace(0, 1, depth)[:, None, None].expand(depth, 3, 3).contiguous()
            save_file({"V": line, "states": torch.zeros(depth + 1, 2, 3)}, work / f"run{depth}.safetensors")
        shapes = {f"h.{k}.w": torch.ones(4, 4) for k in range(4)}
        save_file({name: tensor * float("nan") for name, tensor in shapes.items()}, work / "nan.safetensors")
        save_file({name: tensor * 0 for name, tensor in shapes.items()}, work / "zeros.safetensors")
        torch.save(shapes, work / "net.pt")
        torch.save(shapes, work / "old.pth", _use_new_zipfile_serialization=False)
        evil = Call(Path.touch, Path(str(self.marks / "pickle")))
        torch.save({"state_dict": shapes, "x": evil}, work / "evil.pt")
        (work / "net.onnx").write_bytes(graph(0))
        folder = work / "model"
        folder.mkdir()
        save_network(folder / "model.safetensors")
        told = {"model_type": "odd", "auto_map": {"AutoModel": "modeling.Odd", "AutoConfig": "modeling.OddConfig"}}
        (folder / "config.json").write_text(json.dumps(told))
        (folder / "modeling.py").write_text(self.mark("auto_map") + "class Odd: ...\nclass OddConfig: ...\n")

    def batches(self) -> None:
        work, numbers = self.work, np.ones((3, 4), dtype=np.float32)
        np.save(work / "batch.npy", numbers)
        np.savez(work / "batch.npz", x=numbers)
        np.save(
            work / "object.npy",
            np.array([Call(Path.touch, Path(str(self.marks / "npy")))], dtype=object),
            allow_pickle=True,
        )
        save_file({"x": torch.ones(3, 4)}, work / "batch.safetensors")
        (work / "saved.json").write_text(REPORT.json())
        (work / "list.json").write_text("[]")

    def code(self) -> None:
        work = self.work
        (work / "train.py").write_text(TRAIN)
        write_study(work, Constants())
        (work / "another.py").write_text((work / "mine.py").read_text().replace('"lines"', '"others"'))
        (work / "bad.py").write_text("def f(:\n")
        (work / "raising.py").write_text("raise KeyError('mine')\n")
        (work / "none.py").write_text("study = 3\n")
        (work / "null.py").write_bytes(b"x = 1\0\n")
        (work / "latin.py").write_bytes(b"x = '\xe9'\n")
        for name in SHADOWS:
            (work / f"{name}.py").write_text(self.mark(f"shadow-{name}"))

    def odd(self) -> None:
        work = self.work
        (work / "empty.safetensors").touch()
        (work / "text.txt").write_text("a text of mine\n")
        (work / "page.html").write_text("<html>a page of mine</html>\n")
        (work / "full").mkdir()
        (work / "full" / "mine.txt").write_text("mine\n")
        (work / "ex[1]").mkdir()
        (work / "with space").mkdir()
        (work / "link").symlink_to("net.safetensors")
        (work / "link.html").symlink_to("text.txt")
        (work / "loop").symlink_to("loop")
        (work / "dangling").symlink_to("nowhere")
        (work / "zero").symlink_to("/dev/zero")
        (work / "null").symlink_to("/dev/null")
        os.mkfifo(work / "fifo")
        for name, content in (
            ("o1", "[]"),
            ("o2", '{"format": 99}'),
            ("o3", '{"request": {"kind": "file"}}'),
            ("o4", ""),
        ):
            (work / name).mkdir()
            (work / name / "deeplimit.json").write_text(content)

    def output(self) -> None:
        """An output folder that somebody sends: whole, but for the code in it; and one of nobody's but ours."""
        for name in ("out", "sent"):
            answer = self.run(["study", "mine.py", "--out", name, "--workers", "1"])
            assert answer["status"] == 0, answer["err"]
            (self.work / name / "notes.txt").write_text("what I think of it\n")
        for file in (self.work / "sent").rglob("*.py"):
            file.write_text(self.mark("report"))
        (self.work / "sent" / "helper.py").write_text(self.mark("report"))
        self.run(["diagnose", "net.safetensors", "--html", "ours.html"])

    # ---------------------------------------------------------------------------------------------------- what was done

    def snapshot(self) -> dict[str, tuple[Any, ...]]:
        """Every path with what tells a change of it."""
        found: dict[str, tuple[Any, ...]] = {}
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if name != "given"]  # hostile files, one after the other
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                about = os.lstat(path)
                kind = stat.S_IFMT(about.st_mode)
                times = () if stat.S_ISDIR(about.st_mode) else (about.st_size, about.st_mtime_ns, about.st_ino)
                found[os.path.relpath(path, self.root)] = (kind, *times)
        return found

    def judge(self, words: list[str], answer: dict[str, Any], repeat: str) -> list[Finding]:
        """What a command line did that it should not have done; the sandbox is whole again after it."""
        after = self.snapshot()
        touched = [name for name in self.before if after.get(name) != self.before[name]]
        new = [name for name in after if name not in self.before and not name.startswith("marks")]
        found = [
            Finding("harmed", f"{'changed' if name in after else 'removed'}: {name}", "", repeat)
            for name in touched
            if not self.may_change(name, words, answer)
        ]
        told = answer["out"] + answer["err"]
        found += [
            Finding("harmed", f"left behind: {name}", "", repeat)
            for name in new
            if answer["status"] >= 0 and not self.may_appear(name, words, told)
        ]
        found += self.code_run(words, answer, repeat)
        if touched or new or any(self.marks.iterdir()):
            self.mend(touched, new)
        return found

    def mend(self, touched: list[str], new: list[str]) -> None:
        """Have the sandbox as it was: remove what is new, and put back what was changed."""
        for name in sorted(new, key=len):
            remove(self.root / name)
        for mark in self.marks.iterdir():
            mark.unlink()
        for name in sorted(touched, key=len):
            whole = self.root / "whole" / name.partition("/")[2]
            if not whole.is_file() or whole.is_symlink() or not name.startswith("work/"):
                self.fill()
                return
            remove(self.root / name)
            shutil.copy2(whole, self.root / name)
        after = self.snapshot()
        if after.keys() != self.before.keys():
            self.fill()
        else:
            self.before = after

    def may_change(self, name: str, words: list[str], answer: dict[str, Any]) -> bool:
        """Whether a command may change this file: those of an output folder that it names and that is of the same study."""
        inner = name.partition("/")[2]
        folder = inner.partition("/")[0]
        if inner == "ours.html":
            return self.named(words[1:], inner, after=("--html",))
        if folder not in ("out", "sent") or name.endswith("notes.txt"):
            return False
        if words[:1] == ["report"]:
            return self.named(words[1:], folder)
        mine = words[:1] == ["study"] and self.named(words[1:], "mine.py")
        return mine and self.named(words[1:], folder, after=("--out",))

    def named(self, words: Iterable[str], name: str, after: tuple[str, ...] = ()) -> bool:
        """Whether a word is a path to a file or folder of `work`, as the value of one of some options if they are given."""
        listed = list(words)
        values = [word.partition("=")[2] for word in listed if word.startswith("--") and "=" in word]
        values += [word for before, word in zip(["", *listed], listed, strict=False) if not after or before in after]
        return any(self.resolved(value) == str(self.work / name) for value in values)

    def resolved(self, word: str) -> str:
        """The path of a word."""
        try:
            return os.path.realpath(os.path.join(self.work, word))
        except (ValueError, OSError):
            return ""

    def may_appear(self, name: str, words: list[str], told: str) -> bool:
        """Whether a new path belongs to an output that is named, to the usual one, or is told of."""
        path = str(self.root / name)
        inner = name.partition("/")[2]
        if os.path.basename(name) in ("-", "") or name.startswith("tmp/"):
            return path in told
        if inner.split("/")[0] == "results" or name.startswith(("home/", "data/")) or path in told or inner in told:
            return True
        values = [w.partition("=")[2] if w.startswith("--") and "=" in w else w for w in words]
        html = [b for a, b in itertools.pairwise(words) if a == "--html"]
        html += [w.partition("=")[2] for w in words if w.startswith("--html=")]
        folders = {self.resolved(value) for value in values if value and value not in html}
        above = any((folder and path.startswith(folder + "/")) or path == folder for folder in folders)
        # A folder above an output that is named; and the page itself.
        below = any(folder.startswith(path + "/") for folder in folders)
        return above or below or any(path == self.resolved(value) for value in html)

    def code_run(self, words: list[str], answer: dict[str, Any], repeat: str) -> list[Finding]:
        """Code that ran although no word of the command line names its file."""
        named = {self.resolved(word) for word in words} | {self.resolved(word.rpartition(":")[0]) for word in words}
        named |= {self.resolved(word.split(":")[0].split(".")[0] + ".py") for word in words if ":" in word}
        beside = {
            os.path.dirname(path) for path in named if path.endswith(".py") and words[:1] in (["study"], ["report"])
        }
        canaries = {str(self.work / f"{name}.py") for name in SHADOWS}
        strange = [
            path
            for kind, path in answer["notes"]
            if kind == "ran"
            and path not in named
            and (path in canaries or os.path.dirname(path) not in {str(self.work), *beside})
        ]
        marks = [
            mark.name for mark in self.marks.iterdir() if not mark.name.startswith(("shadow", "report", "auto_map"))
        ]
        return [
            Finding("code", f"ran {os.path.relpath(path, self.root)}", "", repeat) for path in dict.fromkeys(strange)
        ] + [Finding("code", f"mark of {name}", "", repeat) for name in marks]


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
