"""Calls in other processes: fresh interpreters that are sent one call after the other, and that end with the process that started them.

Each is in a process group of its own, so that the Ctrl-C of a terminal reaches the process that started it and nobody else.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

#: Seconds that a worker with nothing left to do has to end by itself.
PATIENCE = 5.0
_BEGIN = "import sys; sys.path[:] = {path!r}; from deeplimit.workers import serve; serve({handle}, {parent})"


def answers(calls: Sequence[bytes], count: int, *, environment: Mapping[str, str]) -> Generator[Any, None, None]:
    """What calls return, as they come to an end.

    Args:
        calls: pickled functions of no argument; they begin in this order.
        count: processes at most.
        environment: variables that the processes have besides those of this one.

    Raises:
        ChildProcessError: a process was killed.
        BaseException: what a call raised.
    """
    waiting = iter(calls)
    with _started(min(count, len(calls)), environment) as workers:
        for worker in workers:
            _send(worker, next(waiting))
        for _ in calls:
            worker = wait(workers)[0]  # type: ignore[assignment]
            answer = _received(worker)
            following = next(waiting, None)
            if following is None:
                workers.remove(worker)
                worker.close()
            else:
                _send(worker, following)
            yield answer


def _send(worker: Connection, call: bytes) -> None:
    """Hand over a call; that a worker was killed in between is noticed when its answer is read."""
    with suppress(OSError):
        worker.send_bytes(call)


def _received(worker: Connection) -> Any:
    try:
        returned, answer = worker.recv()
    except (EOFError, OSError) as gone:
        raise ChildProcessError("a process was killed") from gone
    if returned:
        return answer
    raise answer


@contextmanager
def _started(count: int, environment: Mapping[str, str]) -> Iterator[list[Connection]]:
    """Connections to so many processes. They end by themselves when all is done, and are killed when something is raised before."""
    processes: list[subprocess.Popen[bytes]] = []
    connections: list[Connection] = []
    try:
        for _ in range(count):
            ours, theirs = Pipe()
            with theirs:
                begin = _BEGIN.format(path=sys.path, handle=theirs.fileno(), parent=os.getpid())
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", begin],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env={**os.environ, **environment},
                    process_group=0,
                )
            processes.append(process)
            connections.append(ours)
        yield connections
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        _end(processes)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for processes to end, and kill those that do not."""
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()


def serve(handle: int, parent: int) -> None:
    """Answer calls until the connection is closed.

    Args:
        handle: file descriptor of the connection.
        parent: id of the process at its other end.
    """
    attend(parent)
    with Connection(handle) as connection, suppress(EOFError, OSError):
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))


def _answer(call: bytes) -> bytes:
    """Whether a call returned, and what it returned or raised, as bytes."""
    try:
        return pickle.dumps((True, pickle.loads(call)()))
    except BaseException as error:  # noqa: BLE001 - it is raised again, in the other process
        try:
            return pickle.dumps((False, error))
        except Exception:  # noqa: BLE001 - an exception may hold anything
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def attend(parent: int) -> None:
    """Begin the life of a worker, which leaves Ctrl-C to its parent and ends within a second of it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        while os.getppid() == parent:
            never.wait(1.0)
        os._exit(1)

    never = threading.Event()
    threading.Thread(target=end_with_parent, daemon=True).start()
