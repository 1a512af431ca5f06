"""Runs command lines of deeplimit, each in a child of a warm process: what the child does to the world is seen from outside.

`python -m tests.fuzz.server` loads the libraries once, then reads requests from stdin, one JSON object a line, and answers
each on stdout. A child has a time limit, a memory limit, no network, no terminal, and a folder outside of which it can
change nothing.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from tests.fuzz.studies import Constants, write_study

ROOT = Path(__file__).parents[2]
#: Seconds that a command may take, and bytes that it may add to the memory of the warm process.
SECONDS, BYTES = 60.0, 4 << 30
#: Characters of an output that are kept.
KEPT = 200_000
#: Modules that are loaded before the first request. What is missing is left to the command.
WARM = ("transformers.models.auto", "torch._dynamo", "onnx", "matplotlib.pyplot", "jinja2", "polars", "scipy.stats")
WRITES = (
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
    "os.utime",
)
#: What takes seconds however small the numbers of a command line are.
SMALLER: tuple[tuple[str, str, Any], ...] = (
    ("deeplimit.bench.running", "MATRIX", 32),
    ("deeplimit.bench.timing", "TURN", 1e-4),
    ("deeplimit.bench.timing", "BUDGET", 0.05),
    ("deeplimit.demo", "NET_STEPS", 2),
    ("deeplimit.demo", "STEPS", 2),
    ("deeplimit.demo", "DEPTHS", (4, 8, 16)),
)
#: The one paper that is left, beside a small one.
PAPER = "marion2025"
#: What any program may open for writing.
COMMON = ("/dev/null", "/dev/shm", "/proc/self", "/dev/tty")


class Server:
    """The warm process, to be used in a `with`."""

    def __enter__(self) -> Self:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "MPLBACKEND": "Agg"}
        environment |= {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.fuzz.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            text=True,
        )
        return self

    def __exit__(self, *_: TracebackType | BaseException | type | None) -> None:
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()

    def ask(self, words: list[str], *, cwd: Path | str, root: Path | str, **more: Any) -> dict[str, Any]:
        """What became of a command line: status, stdout, stderr, seconds, bytes of growth, and what was noticed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"words": words, "cwd": str(cwd), "root": os.path.realpath(root), **more}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the warm process ended"
        found: dict[str, Any] = json.loads(answer)
        return found


# ------------------------------------------------------------------------------------------------------- the warm process


def serve() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        warm(folder)
        for line in sys.stdin:
            answers.write(json.dumps(answered(json.loads(line))) + "\n")
            answers.flush()


def warm(folder: str) -> None:
    """Load the libraries, and have the slow parts of the program made small."""
    sys.dont_write_bytecode = True
    import deeplimit

    for found in pkgutil.walk_packages(deeplimit.__path__, "deeplimit."):
        if not found.name.endswith(("triton_kernels", "__main__")):
            importlib.import_module(found.name)
    for name in WARM:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    os.fsync = lambda fd: None  # the disk is not what is tested
    for module, name, value in SMALLER:
        if module in sys.modules:
            setattr(sys.modules[module], name, value)
    running: Any = importlib.import_module("deeplimit.bench.running")
    running.race = shortened(running.race)
    papers = importlib.import_module("deeplimit.papers").PAPERS
    for name in [name for name in papers if name != PAPER]:
        del papers[name]  # each takes half a minute even to plan
    papers["sums"] = "a_small_paper"
    sys.modules["a_small_paper"] = SimpleNamespace(paper=small_paper(folder))  # type: ignore[assignment]
    with contextlib.redirect_stdout(io.StringIO()):
        run(["list", "sums", "--claims"])  # typer and rich load themselves then
    gc.collect()
    gc.freeze()  # else the first collection of every child copies all of it


def small_paper(folder: str) -> Any:
    """A paper that is reproduced in a second; its files lie in a folder."""
    from deeplimit.papers import Paper
    from deeplimit.study import load_file

    paths = list(sys.path)
    studies = load_file(write_study(Path(folder), Constants(), name="sums")).studies
    sys.path[:] = paths
    del sys.modules["helper"]  # every study of this kind has its own
    return Paper("sums", "Sums", "Somebody, 2024", studies)


def shortened(race: Any) -> Any:
    """A race of a benchmark with few rounds, however many are asked for."""

    @functools.wraps(race)
    def short(calls: Any, *, rounds: int | None = None, **more: Any) -> Any:
        return race(calls, rounds=None if rounds is None else min(rounds, 3), **more)

    return short


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """Run a request in a child, wait for it, and say what became of it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as notes:
        ended, open_end = os.pipe()
        began, before = time.monotonic(), resident()
        pid = os.fork()
        if pid == 0:
            os.close(ended)
            child(request, out.fileno(), err.fileno(), notes.fileno())
        os.close(open_end)
        hung = not through(ended, pid, request.get("seconds", SECONDS))
        if hung:
            os.kill(pid, signal.SIGUSR1)  # says where it hangs
            ready(ended, 2.0)
            os.kill(pid, signal.SIGKILL)
        os.close(ended)
        _, code, usage = os.wait4(pid, 0)
        left = end_group(pid)
        return {
            "status": os.waitstatus_to_exitcode(code),
            "hung": hung,
            "out": kept(out),
            "err": kept(err),
            "seconds": time.monotonic() - began,
            "computed": usage.ru_utime + usage.ru_stime,
            "grown": max(0, usage.ru_maxrss * 1024 - before),
            "left": left,
            "notes": [json.loads(note) for note in kept(notes).splitlines()],
        }


def resident() -> int:
    """Bytes of this process in memory that a child has too: not those of files, which it maps itself."""
    _, total, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(total) - int(shared)) * resource.getpagesize()


def ready(handle: int, seconds: float) -> bool:
    """Whether the child ended within some seconds: its end of the pipe closes with it."""
    return bool(select.select([handle], [], [], seconds)[0])


def through(handle: int, pid: int, seconds: float) -> bool:
    """Whether the child ended before it computed for so many seconds, or for so many did nothing: a busy machine is no hang."""
    before = 0.0
    while not ready(handle, seconds):
        now = computed(pid)
        if now >= seconds or now - before < seconds / 100:
            return False
        before = now
    return True


def computed(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end_group(pid: int) -> bool:
    """End what a child left running; whether there was something."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kept(file: Any) -> str:
    """The start and the end of a file."""
    file.seek(0)
    content = file.read()
    if len(content) > 2 * KEPT:
        content = content[:KEPT] + b"\n[...]\n" + content[-KEPT:]
    text: str = content.decode(errors="backslashreplace")
    return text


# ------------------------------------------------------------------------------------------------------------- the child


def child(request: dict[str, Any], out: int, err: int, notes: int) -> None:
    """Be the command, and end as Python would."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    faulthandler.enable(2)
    faulthandler.register(signal.SIGUSR1, file=2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ |= request.get("environment", {})
    tempfile.tempdir = None
    os.chdir(request["cwd"])
    sys.addaudithook(Watch(request, notes))
    code = run(request["words"])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def run(words: list[str]) -> int:
    """Run a command line; its exit status."""
    from deeplimit.__main__ import main

    sys.argv = ["deeplimit", *words]

    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code & 255 if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 130
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1
    return 0


class Watch:
    """Hears what the interpreter does: keeps it inside its folder and off the network, and notes which code it runs.

    `kill` in a request ends the process before its so many-th change of a file.
    """

    def __init__(self, request: dict[str, Any], notes: int) -> None:
        self.root = request["root"]
        self.places = (self.root, *COMMON)
        self.kill, self.changes, self.notes, self.busy = request.get("kill"), 0, notes, False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """One event."""
        if self.busy:
            return
        self.busy = True
        try:
            self.hear(event, arguments)
        finally:
            self.busy = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse it, note it, or let it be."""
        if event == "open":
            if changes(arguments[1], arguments[2]):
                self.changed(arguments[:1])
        elif event in WRITES:
            self.changed(arguments[: 2 if event in ("os.rename", "os.link") else 1])
        elif event == "os.symlink":
            self.changed(arguments[1:2])
        elif event == "exec":
            self.ran(arguments[0])
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            raise OSError(errno.ENETUNREACH, "no network here")
        elif event == "socket.getaddrinfo":
            raise socket.gaierror(socket.EAI_AGAIN, "no network here")

    def changed(self, paths: tuple[Any, ...]) -> None:
        """Something is about to be written."""
        self.changes += 1
        if self.changes == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        for path in paths:
            if not isinstance(path, str | bytes | os.PathLike):
                continue
            where = os.path.realpath(os.fsdecode(path))
            if not any(where == place or where.startswith(place + "/") for place in self.places):
                self.note("outside", where)
                raise PermissionError(errno.EACCES, "outside of the sandbox", where)

    def ran(self, code: Any) -> None:
        """Code of a file is about to be run."""
        where = os.path.realpath(getattr(code, "co_filename", ""))
        if where.startswith(self.root + "/") and getattr(code, "co_name", "") == "<module>":
            self.note("ran", where)

    def note(self, kind: str, text: str) -> None:
        """Tell the warm process."""
        os.write(self.notes, (json.dumps([kind, text]) + "\n").encode())


def changes(mode: object, flags: object) -> bool:
    """Whether a file is opened for more than reading."""
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


if __name__ == "__main__":
    serve()
