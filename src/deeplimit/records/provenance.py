"""Where and with what a run was computed: versions, machine, commit. None of it is part of a run's id or rows."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from deeplimit import __version__

if TYPE_CHECKING:
    from deeplimit.records.tasks import Context

LIBRARIES = ("torch", "numpy", "scipy", "polars", "safetensors", "loky", "matplotlib")
#: Instruction sets on which the order of floating-point sums depends.
INSTRUCTION_SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512vl", "avx512_bf16", "amx_tile", "asimd", "sve")
#: The facts of `machine`, shared by the runs that one process computes.
MACHINE_FACTS = ("versions", "platform", "cpu", "gpu", "code")
HOME = Path(__file__).resolve().parent.parent


def provenance(context: Context) -> dict[str, Any]:
    """Everything known about how a run is computed.

    Args:
        context: engine, device, threads, and the facts that the task added.

    Returns:
        versions, machine, code, and the options of this run; the date is UTC.
    """
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    options = {"engine": context.engine, "device": context.device, "threads": context.threads}
    return {**machine(), "date": date, "argv": list(sys.argv), **options, **context.provenance}


@functools.cache
def machine() -> dict[str, Any]:
    """The facts that stay the same while this process lives."""
    versions = {"deeplimit": __version__, "python": platform.python_version(), **_versions()}
    code = {**_commit(), "sha256": source_checksum(HOME)}
    return dict(zip(MACHINE_FACTS, (versions, platform.platform(), _cpu(), _gpu(), code), strict=True))


def _versions() -> dict[str, str]:
    """Versions of the libraries that are installed, without importing one."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of installed packages by the names that are imported; those of Python itself are left out."""
    found = {}
    for name in names:
        for distribution in _distributions().get(name, ()):
            found[distribution] = importlib.metadata.version(distribution)
    return found


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """What is installed, by the names that are imported."""
    return importlib.metadata.packages_distributions()


def _cpu() -> dict[str, Any]:
    """Model, cores, instruction sets and memory."""
    facts = _cpuinfo()
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "memory_bytes": _memory_bytes(),
    }


def _cpuinfo() -> dict[str, str]:
    """What the kernel says of the first core; empty where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _memory_bytes() -> int | None:
    """Memory of the machine, where the system says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _gpu() -> list[dict[str, str]]:
    """Name, memory and driver of each NVIDIA GPU; empty without one."""
    names = ("name", "memory.total", "driver_version")
    text = _output("nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader")
    rows = [line.split(", ") for line in (text or "").splitlines()]
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def _output(program: str, *arguments: str) -> str | None:
    """What a program prints; None where it is not there or fails."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _commit() -> dict[str, Any]:
    """Commit of the code that runs and whether it was edited since; empty where the code lies in no checkout."""
    for home in (HOME, _installed_from()):
        if home is None or source_checksum(home) != source_checksum(HOME):
            continue
        if _output("git", "-C", str(home), "ls-files", "--error-unmatch", "__init__.py") is None:
            continue
        commit = _output("git", "-C", str(home), "rev-parse", "HEAD")
        edits = _output("git", "-C", str(home), "status", "--porcelain", "--", ".")
        if commit is not None and edits is not None:
            return {"commit": commit, "edited": bool(edits)}
    return {}


def _installed_from() -> Path | None:
    """The package in the local directory that pip installed it from, where that is still there (PEP 610)."""
    try:
        text = importlib.metadata.distribution("deeplimit").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    url = urlparse(json.loads(text)["url"] if text else "")
    home = Path(unquote(url.path)) / "src" / "deeplimit"
    return home if url.scheme == "file" and home.is_dir() else None


@functools.cache
def source_checksum(home: Path) -> str:
    """SHA-256 over the names and contents of a package's Python files, the same wherever it is installed."""
    digest = hashlib.sha256()
    for file in sorted(home.rglob("*.py")):
        digest.update(str(file.relative_to(home).as_posix()).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
