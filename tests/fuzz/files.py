"""Hostile files of every kind that a command reads: each from a seed, with the command lines that read it.

`python -m tests.fuzz.files SEED` makes the file of a seed again and says what the commands say of it.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from tests.bench.test_report import REPORT
from tests.diagnosis.sources import hostile
from tests.fuzz.findings import Finding, judged, typed
from tests.fuzz.sandbox import Sandbox, remove
from tests.fuzz.server import Server
from tests.fuzz.studies import Constants, write_study

Lines = list[list[str]]
#: Values that stand where another was expected.
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, float("nan"), float("inf"), 2**70, "", "x", "\x1b[31mred", "../../x", "/etc/passwd", "a\nb", "é\u202e",
    [], {}, [[]], [1, 2], {"x": 1}, "9" * 400, "x" * 5000, "a\0b",
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------- targets


def target(place: Path, chance: random.Random) -> Lines:
    """A network of the corpus of the diagnosis."""
    found = str(hostile.made(chance.randrange(10**9), place))
    more = chance.choice(
        ([], [], ["--json"], ["--list"], ["--family"], ["--html", "new.html"], ["--fail-if", "findings.dead > 0"])
    )
    return [
        ["diagnose", found, *more],
        chance.choice((["diagnose", "net.safetensors", found], ["diagnose", str(place)])),
    ]


def config(place: Path, chance: random.Random) -> Lines:
    """A model folder with a strange configuration, and code beside it that would leave a mark."""
    shutil.copytree(place.parents[1] / "work" / "model", place / "model")
    file = place / "model" / "config.json"
    told = json.loads(file.read_text())
    told |= {
        "model_type": chance.choice(("bert", "gpt2", "llama", "odd", "custom_code")),
        "num_hidden_layers": chance.choice((2, 10**9, -1, "x")),
    }
    file.write_text(dumped(mutated(told, chance, chance.randrange(3))))
    folder = str(place / "model")
    return [["diagnose", f"transformers:{folder}"], ["diagnose", folder]]


# ---------------------------------------------------------------------------------------------------------------- batches


def npy(header: str, content: bytes) -> bytes:
    """A .npy file of a header as it stands."""
    text = header.encode("latin1", "replace") + b" " * 8 + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) & 0xFFFF) + text + content


def batch(place: Path, chance: random.Random) -> Lines:
    """Inputs of a network."""
    size = chance.choice((0, 3, 2**20, 2**34, 2**62, -4, 10**30))
    descr = chance.choice(
        (
            "'<f4'",
            "'|O'",
            "'<U9'",
            "'<c16'",
            "'|V8'",
            "[('a', '<f4')]",
            "'<M8[s]'",
            "'?'",
            "'<f2'",
            "'>f8'",
            "3",
            "__import__('os')",
        )
    )
    shape = chance.choice(
        (f"({size},)", f"({size}, 4)", "()", f"({size}, {size})", "(1.5,)", "'x'", "(" * 300 + ")" * 300)
    )
    made = npy(
        f"{{'descr': {descr}, 'fortran_order': {chance.choice(('False', 'True', '7'))}, 'shape': {shape}}}",
        chance.randbytes(chance.randrange(99)),
    )
    strange = np.array([np.nan, np.inf, 1e30] * 4).reshape(3, 4)
    stream = io.BytesIO()
    np.save(
        stream,
        chance.choice(
            (
                strange,
                strange.astype(np.complex64),
                np.zeros((0, 4)),
                np.ones((2, 3, 4, 5)),
                np.array("x"),
                np.ones((3, 4), int),
            )
        ),
    )
    kind = chance.randrange(5)
    if kind == 0:
        file = hostile.put(place / "batch.npy", made)
    elif kind == 1:
        file = hostile.put(place / "batch.npy", spoiled(stream.getvalue(), chance))
    elif kind == 2:
        entries = {
            f"{chance.choice(('x', '../x', '', 'x/y', 'é'))}.npy": chance.choice(
                (made, stream.getvalue(), bytes(2**24))
            )
        }
        file = hostile.put(place / "batch.npz", archive(entries, chance))
    elif kind == 3:
        file = chance.choice((hostile.bad_header, hostile.overlapping, hostile.strange_json, hostile.long_header))(
            place, chance
        )
    else:
        tensors = {
            chance.choice(("x", "input_ids", "\x1b[31m", "self")): torch.full(
                (3, 4), chance.choice((float("nan"), 1e38, 0.0))
            )
        }
        file = hostile.put(place / "batch.safetensors", save(tensors))
    return [["diagnose", "train:model", "--batch", str(file)], ["diagnose", "net.safetensors", "--batch", str(file)]]


def archive(entries: dict[str, bytes], chance: random.Random) -> bytes:
    """A zip file, now and then spoiled."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as zipped:
        for name, content in entries.items():
            zipped.writestr(name, content)
    return spoiled(stream.getvalue(), chance) if chance.random() < 0.3 else stream.getvalue()


# ----------------------------------------------------------------------------------------------------------------- regime


def runs(place: Path, chance: random.Random) -> Lines:
    """Files of stacked weights, one of them strange."""
    files = []
    strange = chance.randrange(4)
    for k in range(4):
        depth = 4 * 2**k
        weights = torch.linspace(0, 1, depth)[:, None, None] * torch.ones(3, 3) + 0.1 * torch.randn(depth, 3, 3)
        tensors = {"V": weights, "states": torch.randn(depth + 1, 2, 3)}
        if k == strange:
            tensors |= chance.choice(
                (
                    {"V": weights * float("nan")},
                    {"V": weights * float("inf")},
                    {"V": weights * 0},
                    {"V": (weights * 9).int()},
                    {"V": weights.to(torch.complex64)},
                    {"V": weights.to(torch.bfloat16)},
                    {"V": weights > 0},
                    {"V": torch.tensor(3.0)},
                    {"V": torch.zeros(0, 3, 3)},
                    {"V": torch.zeros(depth, 0)},
                    {"V": weights[:1]},
                    {"V": weights * 1e300},
                    {"W": weights[:-1]},
                    {"states": torch.full((depth + 1, 2, 3), float("nan"))},
                    {"states": torch.zeros(depth + 1, 0, 3)},
                    {"states": torch.tensor(1.0)},
                    {"initial.V": weights * float("nan")},
                    {"initial.W": weights.clone()},
                    {"outputs": torch.tensor(float("nan"))},
                    {"\x1b[31mred\n": weights},
                )
            )
        file = hostile.put(place / f"run{k}.safetensors", save(tensors))
        if k == strange and chance.random() < 0.3:
            hostile.put(file, spoiled(file.read_bytes(), chance))
        files.append(str(file))
    return [["regime", *files, *chance.choice(([], ["--json"]))], ["regime", *files[: chance.randrange(1, 4)]]]


# ------------------------------------------------------------------------------------------------------------------- JSON


def mutated(content: Any, chance: random.Random, times: int = 1) -> Any:
    """JSON in which something is something else, missing or doubled."""
    for _ in range(times):
        content = _mutated(content, chance)
    return content


def _mutated(content: Any, chance: random.Random) -> Any:
    if isinstance(content, dict) and content and chance.random() < 0.85:
        name = chance.choice(sorted(content))
        if chance.random() < 0.15:
            return {key: value for key, value in content.items() if key != name}
        return {**content, name: _mutated(content[name], chance)}
    if isinstance(content, list) and content and chance.random() < 0.85:
        place = chance.randrange(len(content))
        return [*content[:place], _mutated(content[place], chance), *content[place + chance.choice((0, 1, 1, 1)) :]]
    return chance.choice(STRANGE)


def dumped(content: Any) -> str:
    """JSON as Python writes it."""
    return json.dumps(content, indent=1)


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """Bytes that are cut, flipped, doubled, or something else."""
    some = bytearray(content or b"x")
    way = chance.randrange(5)
    if way == 0:
        return bytes(some[: chance.randrange(len(some))])
    if way == 1:
        for _ in range(chance.choice((1, 3, 30))):
            some[chance.randrange(len(some))] = chance.randrange(256)
        return bytes(some)
    if way == 2:
        return bytes(some) * 2
    deep = chance.randrange(1000, 100_000)
    return chance.choice(
        (
            b"",
            b"[]",
            b"{}",
            b"null",
            b"[" * deep,
            b'{"a":' * deep,
            chance.randbytes(99),
            b"\xff\xfe",
            b"\0" * 99,
            b"9" * deep,
        )
    )


def saved(place: Path, chance: random.Random) -> Lines:
    """What `bench --json` printed, or nearly."""
    text = dumped(mutated(json.loads(REPORT.json()), chance, chance.choice((1, 1, 3)))).encode()
    file = hostile.put(place / "saved.json", spoiled(text, chance) if chance.random() < 0.3 else text)
    return [["bench", "--saved", str(file), *chance.choice(([], ["--json"], ["--markdown"]))]]


# -------------------------------------------------------------------------------------------------------- output folders


def output(place: Path, chance: random.Random) -> Lines:
    """An output folder, some of whose files say something else."""
    shutil.copytree(place.parents[1] / "work" / "out", place / "out")
    files = sorted(path for path in (place / "out").rglob("*") if path.is_file() and path.name != "notes.txt")
    files += [path for path in files if path.name in ("deeplimit.json", "run.json", "rows.parquet")] * 3
    for _ in range(chance.choice((1, 1, 2, 4))):
        file = chance.choice(files)
        content = file.read_bytes()
        if file.suffix == ".json" and chance.random() < 0.7:
            try:
                hostile.put(file, dumped(mutated(json.loads(content), chance)).encode())
                continue
            except ValueError:
                pass
        hostile.put(file, spoiled(content, chance))
    folder = str(place / "out")
    lines = [["report", folder], ["study", "mine.py", "--workers", "1", "--out", folder], ["report", folder, "--json"]]
    return lines if chance.random() < 0.5 else lines[1:]


# ------------------------------------------------------------------------------------------------------- code of the user

#: Lines that stand at the end of a study file that is right, or in place of all of it.
ENDINGS = (
    "def f(:", "raise KeyError('mine')", "raise SystemExit(3)", "import sys; sys.exit('mine')",
        "raise RecursionError", "raise MemoryError",
    "study = 3", "studies = ()", "studies = (study, study)", "studies = [study, None]", "study = None",
    "del study", "1/0", "import no_such_module",
    "from . import x", "study = Study", "def g(): return g()\ng()", "print('\\x1b[31mred')", "raise Exception('\\x1b[31mred\\nblue')",
    "raise ValueError('x' * 100000)", "raise BaseException('mine')", "class E(Exception):\n    def __str__(self): raise E\nraise E",
    "import dataclasses; study = dataclasses.replace(study, name='../../x')",
    "import dataclasses; study = dataclasses.replace(study, name='\\x1b[31mred')",
    "import dataclasses; study = dataclasses.replace(study, name='')",
    "import dataclasses; study = dataclasses.replace(study, tasks=lambda settings: None)",
    "import dataclasses; study = dataclasses.replace(study, tasks=lambda settings: [1, 2])",
    "import dataclasses; study = dataclasses.replace(study, tasks=lambda settings: [])",
    "import dataclasses; study = dataclasses.replace(study, tasks=lambda settings: 1/0)",
    "import dataclasses; study = dataclasses.replace(study, tasks=lambda settings: [Sum(4)] * 3)",
    "import dataclasses; study = dataclasses.replace(study, tasks=lambda settings: [Sum(float('nan'))])",
    "import dataclasses; study = dataclasses.replace(study, replicates=-1)",
    "import dataclasses; study = dataclasses.replace(study, seeds=3)",
    "import dataclasses; study = dataclasses.replace(study, claims=3)",
    "import dataclasses; study = dataclasses.replace(study, title=None, text='<script>alert(1)</script>')",
    "Sum.run = lambda self, context: 1/0", "Sum.run = lambda self, context: None", "Sum.run = lambda self, context: iter([1, 2])",
    "Sum.run = lambda self, context: iter([{}])", "Sum.run = lambda self, context: iter([{'depth': 1, 'value': 'x'}])",
    "Sum.run = lambda self, context: iter([{'depth': 1, 'seed': 0, 'iteration': 0, 'quantity': 'sum', 'value': float('nan')}])",
    "Sum.run = lambda self, context: (_ for _ in ()).throw(SystemExit(3))",
    "Sum.run = lambda self, context: (_ for _ in ()).throw(RecursionError('mine'))",
    "Sum.run = lambda self, context: (_ for _ in ()).throw(BaseException('mine'))",
    "Sum.run = lambda self, context: context.weights.update(x=object()) or iter(())",
    "Sum.cost = lambda self: None", "Sum.cost = lambda self: 1/0", "Sum.cost = lambda self: Cost(float('nan'), -1, 1e300)",
    "Sum.revision = 'x'", "del Sum.run", "Sum.__doc__ = None", "last.__code__ = (lambda rows: 1/0).__code__",
    "last.__code__ = (lambda rows: None).__code__", "last.__code__ = (lambda rows: Measured(float('nan'), 1.0, 0.0)).__code__",
    "last.__code__ = (lambda rows: exit(3)).__code__", "x = 1\0", "x = '\udcff'", "\t x", "'''", "\ufeffx = 1", "async def f(): yield",
)  # fmt: skip


def study(place: Path, chance: random.Random) -> Lines:
    """A study file that is wrong somewhere."""
    file = write_study(place, Constants(), name="theirs")
    text = file.read_text()
    if chance.random() < 0.8:
        text = chance.choice((text, text, "")) + "\n" + chance.choice(ENDINGS) + "\n"
        file.write_bytes(text.encode(chance.choice(("utf-8", "utf-8", "utf-16")), "surrogatepass"))
    else:
        hostile.put(file, spoiled(text.encode(), chance))
    more = chance.choice(([], ["--dry-run"], ["--json"], ["--strict"]))
    words = ["study", str(file), "--workers", "1", "--out", str(place / "new"), *more]
    return [words, words]


#: What a function of the user returns, or does.
RESULTS = (
    "return None", "return 3", "raise KeyError('mine')", "raise SystemExit(3)", "raise MemoryError",
    "raise RecursionError", "return function()",
    "return function", "return []", "return [(1,)]", "return [(1, 2, 3, 4)]", "return [(k, float('nan')) for k in range(1, 9)]",
    "return [(-k, 0.5) for k in range(9)]", "return [(k, 7.0) for k in range(1, 9)]", "return [(1, 0.5)] * 9", "return [('a', 'b')]",
    "return [(k, 0.1 * (k % 3)) for k in range(1, 40)]", "return [(k, True) for k in range(1, 9)]",
    "return [(2**70, 0.5)]", "yield 1, None",
    "yield from ()", "raise Exception('\\x1b[31mred\\nblue')", "raise BaseException('mine')", "return torch.nn.Identity()",
    "return torch.nn.Module", "return torch.nn.Sequential()", "return torch.nn.Sequential(*[torch.nn.Linear(4, 4)] * 4)",
    "return torch.nn.Sequential(*(torch.nn.LazyLinear(4) for _ in range(4)))",
    "return torch.nn.Sequential(*(torch.nn.Linear(4, 4, device='meta') for _ in range(4)))",
    "m = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(4))); m.forward = lambda x: 1/0; return m",
    "m = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(4))); m.state_dict = lambda **k: 1/0; return m",
    "m = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(4))); [p.data.fill_(float('nan')) for p in m.parameters()]; return m",
    "return torch.nn.Sequential(*(torch.nn.Linear(4, 4).to(torch.complex64) for _ in range(4)))",
    "return torch.nn.Sequential(*(torch.nn.Linear(4, 4).half() for _ in range(4)))",
    "return torch.nn.Sequential(*(torch.nn.Linear(0, 0) for _ in range(4)))",
    "return torch.jit.trace(torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(4))), torch.ones(1, 4))",
)  # fmt: skip


def function(place: Path, chance: random.Random) -> Lines:
    """A module of the user's own whose function is wrong."""
    body = chance.choice(RESULTS)
    top = chance.choice(("", "", "", "raise KeyError('mine')", "def f(:", "raise SystemExit(3)", "import no_such"))
    text = f"import torch\n{top}\n\n\ndef function(**options):\n    {body}\n"
    file = hostile.put(place / "theirs.py", text.encode())
    predict = [
        "--budget",
        "10000",
        "--learning-rate",
        "0.1",
        "--weight-decay",
        "0.1",
        *chance.choice(([], ["--json"], ["--steps", "20"])),
    ]
    return [
        ["l2", "predict", f"{file}:function", *predict],
        ["diagnose", f"{file}:function", *chance.choice(([], ["--batch", "batch.npy"]))],
    ]


# ------------------------------------------------------------------------------------------------------------------- data


def data(place: Path, chance: random.Random) -> Lines:
    """A data directory with files that are wrong."""
    from deeplimit.data.sets import SETS

    for known in SETS.values():
        (place / known.folder).mkdir(exist_ok=True)
        for file in known.files:
            path = place / known.folder / file.name
            way = chance.randrange(7)
            if way == 0:
                path.symlink_to(chance.choice(("/dev/zero", "/dev/null", "nowhere", path.name)))
            elif way == 1:
                path.mkdir()
            elif way == 2:
                hostile.put(path, chance.randbytes(chance.randrange(99)))
            elif way == 3:
                with path.open("wb") as stream:
                    stream.truncate(file.size)  # of the right size, and all zeros
            elif way == 4:
                hostile.put(
                    path.with_name(path.name + ".gz"), chance.choice((b"\x1f\x8b" + chance.randbytes(50), b"", b"x"))
                )
            elif way == 5:
                os.mkfifo(path)
    return [
        ["data", "check", "--data-dir", str(place)],
        ["data", "list", "--data-dir", str(place), "--json"],
        ["data", "check", "mnist", "--data-dir", str(place), "--json"],
    ]


# ------------------------------------------------------------------------------------------------------------- the corpus

KINDS: tuple[Callable[[Path, random.Random], Lines], ...] = (
    target, output, batch, runs, study, function, target, saved, output, config, study, batch, output, data,
)  # fmt: skip
#: Commands that may write where they are told, by the option or argument that says where.
WRITERS = ("study", "report")


def made(number: int, place: Path) -> Lines:
    """The command lines of a seed; its files lie in `place`, a new folder."""
    remove(place)
    place.mkdir(parents=True)
    chance = random.Random(number)
    torch.manual_seed(number)
    return KINDS[number % len(KINDS)](place, chance)


def tried(number: int, sandbox: Sandbox, *, say: bool = False) -> list[Finding]:
    """What is wrong with what the commands do with the file of a seed."""
    repeat = f"python -m tests.fuzz.files {number}"
    place = sandbox.root / "given" / "inner"
    found = []
    for words in made(number, place):
        before = held(place)
        answer = sandbox.run(words)
        if say:
            print(f"$ deeplimit {typed(words)} -> {answer['status']}\n{answer['out']}{answer['err']}")
        shown = f"{repeat}  # {typed(words).replace(str(sandbox.root), '')}"
        found += judged(answer, shown)
        found += sandbox.judge(words, answer, shown)
        if words[0] not in WRITERS and held(place) != before:
            found.append(Finding("harmed", f"a file given to {words[0]} was changed", "", shown))
        if (place / hostile.MARKER).exists():
            found.append(Finding("code", "code of a file was run", "", shown))
    remove(place.parent)
    return found


def held(place: Path) -> dict[str, Any]:
    """What a folder holds."""
    found: dict[str, Any] = {}
    for path in place.rglob("*"):
        about = path.lstat()
        found[str(path)] = (about.st_mode, about.st_size, about.st_mtime_ns) if not path.is_dir() else None
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Server() as warm:
        for number in map(int, sys.argv[1:]):
            for finding in tried(number, Sandbox(Path(folder) / "root", warm), say=True):
                print(finding)
