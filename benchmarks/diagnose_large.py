"""`deeplimit diagnose` on a file of 2 GB: memory above the interpreter, seconds, and WeightWatcher on the same tensors.

    python benchmarks/diagnose_large.py [--width 1280] [--blocks 24] [--threads 1 2] [--weightwatcher PYTHON]

Writes a transformer in float32 with the names of GPT-2, block by block, into a temporary folder: noise that is drawn anew in every block,
and a part of low rank with a decaying spectrum that moves slowly with depth. Every contestant reads it in a fresh process. Memory is
sampled: `private` is what the process holds itself, `mapped` what the system keeps of the file for it and takes back when it is
needed; both less what they were once everything was imported, in units of the weights of one block. WeightWatcher cannot read
safetensors, so that it is given a module with the same tensors; PYTHON is the interpreter of an environment that has it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

RANK, VOCABULARY, INTERVAL = 32, 20_000, 0.02

DIAGNOSE = """
import sys
import torch
from torch import nn
from deeplimit.__main__ import main
from deeplimit.diagnosis.diagnose import diagnose
torch.set_num_threads(int(sys.argv[2]))
# What is imported when it is first needed belongs to the interpreter too.
diagnose(nn.Sequential(*(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8)) for _ in range(8))))
print("ready", flush=True)
sys.stdin.readline()
sys.argv = ["deeplimit", "diagnose", sys.argv[1], "--json"]
main()
"""

WATCH = """
import sys
import torch
import weightwatcher
from safetensors import safe_open
torch.set_num_threads(int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
layers = {}
with safe_open(sys.argv[1], "pt") as file:
    for name in file.keys():
        tensor = file.get_tensor(name)
        if tensor.ndim == 2:
            layer = torch.nn.Linear(*reversed(tensor.shape), bias=False, device="meta")
            layer.weight = torch.nn.Parameter(tensor)
            layers[name.replace(".", "_")] = layer
found = weightwatcher.WeightWatcher(model=torch.nn.ModuleDict(layers)).analyze()
print(len(found), "matrices", found["alpha"].mean())
"""


@dataclass(frozen=True)
class Model:
    """Sizes of the transformer."""

    width: int
    blocks: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors of a block, stored [in, out] as GPT-2 does."""
        d = self.width
        matrices = {
            "attn.c_attn": (d, 3 * d),
            "attn.c_proj": (d, d),
            "mlp.c_fc": (d, 4 * d),
            "mlp.c_proj": (4 * d, d),
        }
        weights: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in matrices.items()}
        weights |= {f"{name}.bias": shape[1:] for name, shape in matrices.items()}
        return weights | {f"{norm}.{kind}": (d,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")}

    @property
    def layer(self) -> int:
        """Bytes of a block."""
        return 4 * sum(math.prod(shape) for shape in self.shapes.values())

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """All names and shapes in the order of the file."""
        yield "wte.weight", (VOCABULARY, self.width)
        for k in range(self.blocks):
            yield from ((f"h.{k}.{name}", shape) for name, shape in self.shapes.items())

    def value(self, name: str, shape: tuple[int, ...], *, generator: torch.Generator) -> Tensor:
        """One tensor."""
        if len(shape) == 1:
            return torch.full(shape, float("ln" in name and "weight" in name))
        noise = 0.02 * torch.randn(shape, generator=generator)
        if not name.startswith("h."):
            return noise
        _, block, role = name.split(".", 2)
        return noise + self.smooth(int(block) / self.blocks, role, shape=shape)

    def smooth(self, s: float, role: str, *, shape: tuple[int, ...]) -> Tensor:
        """A part of rank 32 at depth s, its j-th singular value about 1/j of the first: it turns between two ends."""
        ends = torch.Generator().manual_seed(sum(role.encode()))
        first, second = (torch.randn(2, size, RANK, generator=ends) for size in shape)
        size = 2 * 0.02 / torch.arange(1, RANK + 1)
        left, right = ((1 - s) * end[0] + s * end[1] for end in (first, second))
        return left * size @ right.T / math.sqrt(RANK)


def write(model: Model, path: Path) -> None:
    """Stream a safetensors file: 8 bytes with the length of the header, the header, and the tensors one after the other."""
    header, end = {}, 0
    for name, shape in model.tensors():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in model.tensors():
            file.write(model.value(name, shape, generator=generator).numpy().tobytes())


@dataclass(frozen=True)
class Spent:
    """Seconds of a process, its largest memory in bytes beyond that at its start, and its last line."""

    seconds: float
    processor: float
    private: float
    mapped: float
    total: float
    said: str


def memory(process: int) -> dict[str, int]:
    """Bytes now: RssAnon, RssFile, VmRSS."""
    try:
        rows = [line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines()]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {row[0][:-1]: 1024 * int(row[1]) for row in rows if row[0] in ("RssAnon:", "RssFile:", "VmRSS:")}


def measured(interpreter: str, code: str, *, path: Path, threads: int) -> Spent:
    """Run the code on the file, and look at its memory 50 times a second."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [interpreter, "-c", code, str(path), str(threads)]
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, env=environment) as child,
    ):
        while child.poll() is None and "ready\n" not in output_of(output):
            time.sleep(INTERVAL)
        base, largest, start = memory(child.pid), dict[str, int](), time.perf_counter()
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            for key, value in memory(child.pid).items():
                largest[key] = max(largest.get(key, 0), value - base[key])
            time.sleep(INTERVAL)
        seconds, (_, status, usage) = time.perf_counter() - start, ended
        child.returncode = os.waitstatus_to_exitcode(status)
        said = output_of(output).strip().splitlines()[-1]
    if child.returncode:
        raise SystemExit(f"exit status {child.returncode}: {said}")
    processor = usage.ru_utime + usage.ru_stime
    return Spent(seconds, processor, largest["RssAnon"], largest["RssFile"], largest["VmRSS"], said)


def output_of(file) -> str:
    """All that has been written so far."""
    return os.pread(file.fileno(), 2**26, 0).decode()


def row(title: str, spent: Spent, *, layer: int) -> str:
    """One line of the table."""
    sizes = " | ".join(f"{size / layer:.2f}" for size in (spent.private, spent.mapped, spent.total))
    return f"| {title} | {spent.seconds:.0f} | {spent.processor:.0f} | {sizes} |"


def main() -> None:
    """Write, measure, print."""
    options = argparse.ArgumentParser()
    options.add_argument("--width", type=int, default=1280)
    options.add_argument("--blocks", type=int, default=24)
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options.add_argument("--weightwatcher", metavar="PYTHON", help="interpreter that has weightwatcher")
    options.add_argument("--folder", type=Path, help="where the temporary folder is made")
    chosen = options.parse_args()
    model = Model(chosen.width, chosen.blocks)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "model.safetensors"
        write(model, path)
        size = path.stat().st_size
        print(f"{size / 1e9:.2f} GB, {model.blocks} blocks of {model.layer / 1e6:.1f} MB\n")
        print("| | seconds | of processor | private, blocks | mapped, blocks | together at once |")
        print("| --- | --- | --- | --- | --- | --- |")
        for threads in chosen.threads:
            contestants = [("deeplimit diagnose", sys.executable, DIAGNOSE)]
            contestants += [("WeightWatcher", chosen.weightwatcher, WATCH)] if chosen.weightwatcher else []
            for title, interpreter, code in contestants:
                spent = measured(interpreter, code, path=path, threads=threads)
                print(row(f"{title}, {threads} threads", spent, layer=model.layer), flush=True)


if __name__ == "__main__":
    main()
