"""`deeplimit` and `python -m deeplimit`."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from contextlib import suppress

STOPPED = 128 + 2
PIPE_CLOSED = 128 + 13
"""Statuses of who is ended by the signals SIGINT and SIGPIPE."""


def main() -> None:
    """Run the command line.

    A failure is one line on stderr. The statuses: what the command says; 2 for what cannot be used, 1 for what the system refuses, 70 for a
    fault of this program, 130 after Ctrl-C, 141 where nobody reads the output any more.
    """
    stop = _Stop()
    try:
        status = _run()
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - nothing may end in a traceback
        status = STOPPED if stop.asked else _ended(error)
    if status == STOPPED:
        _say(_how_to_go_on(), alone=True)
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # impatience while Python puts its things away
    sys.exit(status)


def _run() -> int:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    from deeplimit.cli import app

    status = app(prog_name="deeplimit", standalone_mode=False)
    return status if isinstance(status, int) else 0


class _Stop:
    """Whether Ctrl-C was pressed. Some libraries make another error of it, or lose it in a destructor."""

    def __init__(self) -> None:
        self.asked = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            with suppress(ValueError):  # not in the main thread
                signal.signal(signal.SIGINT, self)
                sys.unraisablehook = self._lost

    def __call__(self, *_: object) -> None:
        self.asked = True
        raise KeyboardInterrupt

    @staticmethod
    def _lost(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            sys.__unraisablehook__(lost)


def _how_to_go_on() -> str:
    words = sys.argv[1:]
    if words[:1] not in (["study"], ["reproduce"]) or "--dry-run" in words:
        return "stopped"
    return f"stopped; what is complete is kept. To go on from here: {shlex.join(['deeplimit', *words])}"


def _ended(error: BaseException) -> int:
    """Say what an error means; returns the status."""
    from deeplimit.failures import told

    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what Python still has to write there
        return PIPE_CLOSED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return STOPPED
    if hasattr(error, "format_message"):  # of typer, whose errors have no public class
        return _misused(error)
    text, status = told(error)
    _say(f"deeplimit: {text}")
    return status


def _misused(error: BaseException) -> int:
    """Say what is wrong with a command line."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return 2
    command = context.command_path if context else "deeplimit"
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    _say(f"{command}: {message} ({command} --help says more)")
    return 2


def _say(text: str, *, alone: bool = False) -> None:
    """Print it on stderr; `alone` below the ^C that a terminal shows."""
    with suppress(OSError, AttributeError):
        print(f"\n{text}" if alone and sys.stderr.isatty() else text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
