"""The state of an unfinished run, so that a killed one goes on from where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit.checks import InputError
from deeplimit.records.integrity import FORMAT, regular
from deeplimit.records.writing import discard, write_bytes

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

#: Seconds between checkpoints; a save costs well under one of them.
INTERVAL = 60.0
VARIABLE = "DEEPLIMIT_CHECKPOINT_SECONDS"
#: Name of the array that holds the facts: safetensors bounds its header, and facts may hold many rows.
FACTS = "__facts__"
#: Name of the array that holds the SHA-256 of all others.
CHECKSUM = "__sha256__"

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

    The file is replaced in one step, so that it is always a whole one; it goes once the run is complete. It says of which run it is, in
    which format, and the checksum of what it holds: one that was cut, altered or exchanged is passed over.

    Args:
        path: the file, named after its run.
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

        for name in arrays.keys() & {FACTS, CHECKSUM}:
            raise InputError(f"checkpoint: the name {name} is taken")
        about = {"format": FORMAT, "run": self.path.stem, "facts": dict(facts), "seconds": self.seconds}
        packed = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        packed[FACTS] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        packed[CHECKSUM] = np.frombuffer(_digest(packed), dtype=np.uint8)
        write_bytes(self.path, save(packed))
        self.last = time.monotonic()

    def load(self) -> State | None:
        """The last saved state, or None; a file that cannot be used is removed with a message, never an error."""
        if not os.path.lexists(self.path):
            return None
        try:
            arrays, about = _read(self.path)
        except (OSError, ValueError) as problem:
            log.warning("checkpoint %s cannot be used (%s): the run starts again", self.path, problem)
            discard(self.path)
            return None
        self.seconds_before = float(about["seconds"])
        return arrays, about["facts"]

    def remove(self) -> None:
        """Forget the state: the run is complete."""
        discard(self.path)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays of a checkpoint file, and what it says besides.

    Raises:
        ValueError: it is not a checkpoint of its run, as it was saved.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        # Copies, because what `load` gives lies in the file's bytes and cannot be written to.
        arrays = {name: array.copy() for name, array in load(regular(path).read_bytes()).items()}
    except (SafetensorError, KeyError, TypeError) as problem:
        raise ValueError(f"it is no safetensors file of NumPy arrays: {problem}") from problem
    if not {FACTS, CHECKSUM} <= arrays.keys():
        raise ValueError("it has no checksum, as those of older versions")
    if arrays.pop(CHECKSUM).tobytes() != _digest(arrays):
        raise ValueError("its content was altered")
    about: dict[str, Any] = json.loads(arrays.pop(FACTS).tobytes())
    if about["format"] != FORMAT:
        raise ValueError(f"it is of format {about['format']}, where this version has {FORMAT}")
    if about["run"] != path.stem:
        raise ValueError(f"it is of the run {about['run']}")
    return arrays, about


def _digest(arrays: Mapping[str, np.ndarray]) -> bytes:
    """SHA-256 over names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}\0{array.dtype.str}{array.shape}\0".encode())
        digest.update(array.reshape(-1).data)
    return digest.digest()
