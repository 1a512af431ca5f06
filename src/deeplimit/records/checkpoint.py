"""The state of an unfinished run, so that a killed one goes on from where it was."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit.checks import InputError
from deeplimit.records.writing import write_bytes

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

#: Seconds between checkpoints; a save costs well under one of them.
INTERVAL = 60.0
VARIABLE = "DEEPLIMIT_CHECKPOINT_SECONDS"
#: Name of the array that holds the facts: safetensors bounds its header, and facts may hold many rows.
FACTS = "__facts__"

State = tuple[dict[str, "np.ndarray"], dict[str, Any]]


def interval() -> float:
    """Seconds between checkpoints: 60, or what the environment variable DEEPLIMIT_CHECKPOINT_SECONDS says."""
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else INTERVAL
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"{VARIABLE}: expected a finite number of seconds of at least 0, found {text!r}")
    return seconds


class Checkpoint:
    """One file that holds the last saved state of one run.

    The file is replaced in one step, so that it is always a whole one; it goes once the run is complete.

    Args:
        path: the file.
        every: seconds between the moments when `due` says yes.

    >>> import numpy as np, tempfile
    >>> checkpoint = Checkpoint(Path(tempfile.mkdtemp()) / "run.safetensors")
    >>> checkpoint.load() is None
    True
    >>> checkpoint.save({"V": np.zeros(3)}, {"iteration": 7})
    >>> arrays, facts = checkpoint.load()
    >>> facts["iteration"], arrays["V"].shape
    (7, (3,))
    """

    def __init__(self, path: Path, every: float | None = None) -> None:
        """Start counting seconds; nothing is read or written yet."""
        self.path = path
        self.every = interval() if every is None else every
        self.began = self.last = time.monotonic()
        self.seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Seconds spent on the run so far, earlier processes that were killed included up to their last save."""
        return self.seconds_before + time.monotonic() - self.began

    def due(self) -> bool:
        """Whether the time to save has come."""
        return time.monotonic() - self.last >= self.every

    def save(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Keep this state in place of the last one.

        Args:
            arrays: numbers, by name; any shape.
            facts: anything that JSON holds; numbers come back bit for bit.
        """
        import numpy as np
        from safetensors.numpy import save

        if FACTS in arrays:
            raise InputError(f"checkpoint: the name {FACTS} is taken")
        text = json.dumps({"facts": dict(facts), "seconds": self.seconds})
        packed = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        packed[FACTS] = np.frombuffer(text.encode(), dtype=np.uint8)
        write_bytes(self.path, save(packed))
        self.last = time.monotonic()

    def load(self) -> State | None:
        """The last saved state, or None; a file that cannot be read is passed over with a message, never an error."""
        if not self.path.exists():
            return None
        try:
            arrays, kept = _read(self.path)
            facts, self.seconds_before = dict(kept["facts"]), float(kept["seconds"])
        except (OSError, ValueError, KeyError, TypeError) as problem:
            log.warning("checkpoint %s cannot be read (%s): the run starts again", self.path, problem)
            return None
        return arrays, facts

    def remove(self) -> None:
        """Forget the state: the run is complete."""
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and facts of a checkpoint file.

    Raises:
        ValueError, KeyError: it is not a checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        # Copies, because what `load` gives lies in the file's bytes and cannot be written to.
        arrays = {name: array.copy() for name, array in load(path.read_bytes()).items()}
    except SafetensorError as problem:
        raise ValueError(problem) from problem
    kept: dict[str, Any] = json.loads(arrays.pop(FACTS).tobytes())
    return arrays, kept
