"""Command lines: every command, argument and option of the program, with values that fit, that nearly fit, and hostile ones.

`python -m tests.fuzz.lines WORD…` runs one command line as the fuzz does, and says what is wrong with it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import typer
from hypothesis import strategies as st

from deeplimit.cli import app
from tests.fuzz.drawing import distinct_of
from tests.fuzz.findings import Finding, judged, typed
from tests.fuzz.sandbox import Sandbox
from tests.fuzz.server import PAPER, Server

NUMBERS = (
    "nan", "inf", "-inf", "-1", "0", "-0", "1e308", "1e-320", "1e400", "99999999999999999999", "1000000", "100000", "2147483648",
    "1_000", "٣", "", " ", "0x10", "1,5", "½", "NaN", "1e3", "+1", "True", "--", "-", "9" * 5000,
)  # fmt: skip
TEXTS = (
    "", " ", "-", "--", "---", "-x", "--no-such", "\x1b[31mred\x1b[0m", "a\nb", "\r", "\t", "\x07", "\udcff\udcfe", "é", "\u202e", "𝒳",
    "a" * 300, "a" * 5000, "../..", "/", ".", "..", "~", "*", "[", "ex[1]", "?", "{0}", "{}", "%s", "%n", "$(touch x)", "`touch x`",
    "; touch x", "| cat", "&", "'", '"', "\\", "\\x00", "null", "None", "[bold]", "[/]", "[link=x]", "<script>", "a,b", ",", ":", "::",
    "a:b", "os:getcwd", "os:_exit", "nan", "0",
)  # fmt: skip
PATHS = (
    "net.safetensors", "other.safetensors", "-dash.safetensors", "./-dash.safetensors", "ünï [x].safetensors", "nan.safetensors",
    "zeros.safetensors", "empty.safetensors", "run8.safetensors", "run16.safetensors", "run32.safetensors",
    "net.pt", "old.pth", "evil.pt",
    "net.onnx", "model", "model/config.json", "steps", "batch.npy", "batch.npz", "object.npy", "batch.safetensors", "saved.json",
    "list.json", "mine.py", "another.py", "bad.py", "raising.py", "none.py", "null.py", "latin.py", "train.py", "json.py", "text.txt",
    "page.html", "ours.html", "full", "full/mine.txt", "ex[1]", "ex[1]/new", "with space", "link",
    "link.html", "loop", "dangling", "zero",
    "null", "fifo", "o1", "o2", "o3", "o4", "out", "out/", "sent", "out/runs", "out/deeplimit.json",
    "out/study/mine.py", "sent/study/mine.py",
    "new", "new/deep/er", "new.html", "no/such/page.html", "/dev/null", "/dev/zero", "/dev/stdin", "/dev/full", "/proc/self/mem",
    "/proc/self/environ", "/no/such", "../work/net.safetensors", "../work", "net.safetensors/", "net.safetensors/x", ".", "..", "", "-",
)  # fmt: skip
#: What fits, by the name of a parameter; of any command.
FITTING: dict[str, tuple[str, ...]] = {
    "paper": (*["sums"] * 9, PAPER, "all"),
    "tier": ("quick", "paper", "full"),
    "engine": ("auto", "reference", "autograd", "fused", "native", "triton", "compile"),
    "device": ("cpu", "cuda", "cuda:1", "mps"),
    "dtype": ("float32", "float64"),
    "threads": ("1", "2"),
    "workers": ("1", "1", "1", "2"),
    "seeds": ("0", "1", "2"),
    "file": ("mine.py", "mine.py", "another.py", "bad.py", "raising.py", "none.py", "null.py", "latin.py"),
    "files": ("run8.safetensors", "run16.safetensors", "run32.safetensors", "net.safetensors"),
    "targets": (
        "net.safetensors", "other.safetensors", "steps", "model", "transformers:./model", "transformers:model", "timm:resnet18",
        "transformers:gpt2", "train:model", "train.py:model", "net.pt", "net.onnx", "evil.pt", "nan.safetensors", "zeros.safetensors",
        "train:number", "train:raising", "train:leaving", "raising:x", "json:x", "transformers:", "timm:",
    ),
    "function": ("train:train", "train.py:train", "train:raising", "train:wrong", "train:empty",
        "train:leaving", "train:number", "no:no"),
    "html": ("new.html", "ours.html", "page.html", "net.safetensors"),
    "out": ("new", "out", "results/mine-quick", "ex[1]/o"),
    "directory": ("out", "sent", "o1", "o2", "new"),
    "batch": ("batch.npy", "batch.npz", "batch.safetensors", "object.npy"),
    "saved": ("saved.json", "list.json"),
    "names": ("mnist", "cifar10", "fashion-mnist", "all"),
    "group": ("encoder.layer", "h"),
    "role": ("mlp.up.weight", "attention.weight"),
    "fail_if": ("weights == rough", "findings.dead > 0", "max(update_ratio) > 0.5 and not weights == smooth",
        "x" * 500, "(" * 500, "a ==", "1/0"),
    "convention": ("house", "torch-sgd", "torch-adamw", "lewkowycz2020"),
    "source": ("house", "torch-sgd", "torch-adamw", "lewkowycz2020"),
    "target": ("house", "torch-sgd", "torch-adamw", "lewkowycz2020"),
    "budget": ("10000", "400"),
    "steps": ("100", "10"),
    "learning_rate": ("0.1", "1e-3"),
    "target_learning_rate": ("0.1",),
    "weight_decay": ("0.1", "1e-4"),
    "momentum": ("0.9", "0"),
    "batch_size": ("128",),
    "classes": ("10",),
    "train_samples": ("50000",),
    "tokens_per_parameter": ("20",),
    "chance": ("0.1",),
    "samples": ("1000",),
    "within": ("0.01",),
    "rounds": ("1",),
    "contestants": ("reference", "native", "plain", "native,reference"),
    "only": ("lines", "lines.1", "perceptron-100-16-32-64"),
    "more": ("lines", "perceptron-100-16-32-64"),
}  # fmt: skip
#: Words added to what would take long however small its numbers are: by a word of a command line, unless another is there.
TAMED = (
    (PAPER, "--dry-run", ("--dry-run",)),
    ("all", "--dry-run", ("--dry-run",)),
    ("study", "--workers", ("--workers", "1")),
    ("reproduce", "--workers", ("--workers", "1")),
    ("bench", "--saved", ("--only", "perceptron-100-16-32-64", "--contestants", "native,reference")),
)
#: Options after which nothing else happens.
RARE = ("help", "version", "install_completion", "show_completion")


@dataclass(frozen=True)
class Parameter:
    """An argument or an option of a command."""

    name: str
    options: tuple[str, ...]
    kind: str
    required: bool
    several: bool

    @property
    def is_option(self) -> bool:
        """Whether it has dashes."""
        return self.options[0].startswith("-")


@dataclass(frozen=True)
class Command:
    """A command with its parameters."""

    path: tuple[str, ...]
    parameters: tuple[Parameter, ...] = field(repr=False)


@cache
def commands() -> tuple[Command, ...]:
    """All commands of the program, whatever they are."""
    return tuple(_walk(typer.main.get_command(app), ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[Command]:
    parameters = tuple(_parameter(found) for found in command.params)
    files = [one for one in parameters if one.kind == "path" or one.name in ("targets", "function", "paper")]
    yield from [Command(path, parameters)] * (1 + 2 * len(files))  # what reads and writes, more often
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _walk(inner, (*path, name))


def _parameter(found: Any) -> Parameter:
    descriptor = getattr(found, "type_descriptor", None)  # of typer from 0.29 on; click has `type`
    told = repr(descriptor.annotation if descriptor else found.type).lower()
    kind = next((kind for kind in ("path", "float", "int", "bool", "str") if kind in told), "str")
    if getattr(found, "is_flag", False):
        kind = "bool"
    several = found.nargs == -1 or bool(getattr(found, "multiple", False))
    options = tuple(found.opts) + tuple(found.secondary_opts)
    return Parameter(found.name, options, kind, bool(found.required), several)


# ------------------------------------------------------------------------------------------------------------ strategies

HOSTILE_NUMBERS = st.one_of(
    st.sampled_from(NUMBERS), st.integers(-(10**6), 10**6).map(str), st.floats(allow_nan=False).map(repr)
)
LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
HOSTILE_TEXTS = st.one_of(st.sampled_from(TEXTS), st.text(LETTERS, max_size=12))
ANY_PATHS = st.sampled_from(PATHS)
HOSTILE = {
    "path": st.one_of(ANY_PATHS, ANY_PATHS, ANY_PATHS, HOSTILE_TEXTS),
    "int": HOSTILE_NUMBERS,
    "float": HOSTILE_NUMBERS,
    "str": st.one_of(HOSTILE_TEXTS, ANY_PATHS, HOSTILE_NUMBERS),
}


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command line: what is required, most often; what is not, now and then; in rare cases spoiled as a whole.

    Hypothesis chooses the hostile values; the rest is chosen by a generator of its, as its own choices repeat themselves.
    """
    chance = draw(st.randoms(use_true_random=True))
    command = chance.choice(commands())
    hostile = chance.choice((0.5, 0.3, 0.15, 0.05))
    parts = []
    for parameter in command.parameters:
        usual = 0.97 if parameter.required else 0.02 if parameter.name in RARE else 0.2
        if chance.random() < usual:
            parts.append(_part(draw, chance, parameter, hostile))
    if chance.random() < 0.5:
        chance.shuffle(parts)
    words = [word for one in parts for word in one]
    if chance.random() < 0.05:
        words = _spoiled(words, draw(HOSTILE_TEXTS), chance)
    return tame([*command.path, *words])


def _part(draw: st.DrawFn, chance: Random, parameter: Parameter, hostile: float) -> list[str]:
    """The words of a parameter."""
    count = chance.choice((1, 1, 1, 2, 3)) if parameter.several else 1
    option = chance.choice(parameter.options)
    if parameter.kind == "bool":
        return [option]
    words: list[str] = []
    for _ in range(count):
        fitting = FITTING.get(parameter.name)
        fits = fitting and chance.random() >= hostile
        value = chance.choice(fitting) if fitting and fits else draw(HOSTILE.get(parameter.kind, HOSTILE["str"]))
        joined = [f"{option}={value}"] if chance.random() < 0.25 else [option, value]
        words += joined if parameter.is_option else [value]
    return words


def _spoiled(words: list[str], strange: str, chance: Random) -> list[str]:
    """Words with one that is missing, doubled, or strange."""
    place = chance.randint(0, len(words))
    new = chance.choice(([], words[:1], words[place:] * 2))
    return [*words[:place], *new, *([strange] if chance.random() < 0.5 else []), *words[place + 1 :]]


def tame(words: list[str]) -> list[str]:
    """Words of a command that would take minutes, with those that make it short."""
    for word, other, added in TAMED:
        if word in words and not any(one.partition("=")[0] == other for one in words):
            words = [words[0], *added, *words[1:]]
    return words


# --------------------------------------------------------------------------------------------------------------- running


def drawn(number: int, count: int) -> list[list[str]]:
    """The command lines of a seed, all different."""
    return distinct_of(lines(), number, count)


def tried(words: list[str], sandbox: Sandbox) -> list[Finding]:
    """What is wrong with what a command line does."""
    repeat = "python -m tests.fuzz.lines " + typed(words)
    answer = sandbox.run(words)
    return judged(answer, repeat) + sandbox.judge(words, answer, repeat)


def main(words: list[str]) -> None:
    """Run one command line, and print what it printed and what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        sandbox = Sandbox(Path(folder) / "root", server)
        answer = sandbox.run(words)
        print(f"status {answer['status']}, {answer['seconds']:.1f} s, {answer['grown'] / 1e6:.0f} MB")
        print(answer["out"] + answer["err"])
        for finding in judged(answer, "") + sandbox.judge(words, answer, ""):
            print(finding)


if __name__ == "__main__":
    main(sys.argv[1:])
