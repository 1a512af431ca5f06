"""What this machine has for this process: processors and memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from deeplimit import checks

#: What Linux says of a process and of the groups that bound it.
PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def processors() -> int:
    """How many processors this process may use: those it is bound to, as far as the share of a container goes."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(bound, math.floor(min(_shares(), default=bound))))


def capped(name: str, asked: int, *, threads: int = 1) -> tuple[int, str]:
    """A number of processes or threads, no more than the processors can run at once, and a note where that is fewer than asked.

    Args:
        name: what is counted.
        asked: how many.
        threads: of each of them.

    >>> capped("workers", 1)
    (1, '')
    """
    here = processors()
    most = max(1, here // threads)
    if checks.positive_int(name, asked) <= most:
        return asked, ""
    of_each = f", {threads} threads of each" if threads > 1 else ""
    return most, f"{name} {asked}: {here} processor{'s' if here > 1 else ''} here{of_each}, so {most}"


def memory(device: str = "cpu") -> float:
    """Bytes that this process may still take, of the machine and of the container it runs in; infinite where nothing says.

    Args:
        device: `cpu`, or a GPU, whose own memory it then is.
    """
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.mem_get_info(torch.device(device))[0])
    return max(0.0, min(_free(), *_left(), math.inf))


def check_memory(name: str, needed: float, *, remedy: str = "") -> None:
    """Refuse what needs more memory than there is, before any of it is taken.

    Args:
        name: what needs it.
        needed: bytes.
        remedy: what would need less.

    Raises:
        InputError: it does not fit.
    """
    here = memory()
    if needed > here:
        raise checks.InputError(too_large(name, needed, here=here, remedy=remedy))


def too_large(name: str, needed: float, *, here: float, remedy: str = "") -> str:
    """Says that something does not fit.

    >>> too_large("batch", 3e12, here=8e9, remedy="fewer inputs")
    'batch: expected to fit into the 8.0 GB of memory that are free here, found 3000.0 GB; fewer inputs would need less'
    """
    advice = f"; {remedy} would need less" if remedy else ""
    return f"{name}: expected to fit into the {size(here)} of memory that are free here, found {size(needed)}{advice}"


def size(count: float) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _free() -> float:
    """What the system can give without swapping; a part of all there is where it does not say."""
    for line in _text(PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * int(line.split()[1])
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # another system
        return math.inf


def _left() -> Iterator[float]:
    """What each limit of a control group leaves, pages that it can drop taken as free."""
    for folder in _groups("memory"):
        limit, used = (
            _number(folder, "memory.max", "memory.limit_in_bytes"),
            _number(folder, "memory.current", "memory.usage_in_bytes"),
        )
        stat = dict(line.split(maxsplit=1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
        droppable = float(stat.get("inactive_file", 0)) + float(stat.get("active_file", 0))
        if math.isfinite(limit) and math.isfinite(used):
            yield limit - max(used - droppable, 0.0)


def _shares() -> Iterator[float]:
    """How many processors each limit of a control group comes to."""
    for folder in _groups("cpu"):
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
        quota, period = quota or _text(folder / "cpu.cfs_quota_us"), period or _text(folder / "cpu.cfs_period_us")
        if quota.strip().isdecimal() and period.strip().isdecimal() and int(period):
            yield int(quota) / int(period)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, and of those above, of both versions.

    Inside a container the path may be that of the host and lead nowhere; the limits then stand in the uppermost folder.
    """
    for line in _text(PROC / "self" / "cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        top = GROUPS / controller if names else GROUPS
        own = top / path.strip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top) and folder.is_dir())


def _number(folder: Path, *names: str) -> float:
    """The number in the first of some files that holds one; infinite where none does (`max`)."""
    texts = (_text(folder / name).strip() for name in names)
    return next((float(text) for text in texts if text.isdecimal()), math.inf)


def _text(file: Path) -> str:
    """What a file says; nothing where it cannot be read."""
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""
