"""The C++ extension that native/ is built into: whether it is there, and the blocks of memory that it keeps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

REBUILD = "DEEPLIMIT_REQUIRE_NATIVE=1 pip install --no-deps ."
"""The command that builds the extension."""

try:
    import deeplimit.engines._native as _native
except ImportError as error:  # installed without a compiler: the other engines serve
    MISSING = f"the extension was not built ({error}); {REBUILD} builds it from a clone, or says why it cannot"
else:
    MISSING = ""

PRECISIONS = (torch.float32, torch.float64)
"""What the kernels compute in."""

# Below this size, PyTorch's own allocation costs less than a call of the extension.
_LARGE = 1 << 20


def kernel(name: str, like: Tensor) -> Any:
    """The function of the extension for the precision of a tensor: `forward`, `backward`, `empty` or `kept_size`."""
    return getattr(_native, name + ("32" if like.dtype == torch.float32 else "64"))


def fresh(like: Tensor) -> Tensor:
    """A tensor of the shape, precision and device of another, with undefined content.

    A large one is a block that an earlier tensor gave back. Fresh pages of the system cost more than the arithmetic on them: a training
    step that makes its new parameters this way is up to twice as fast.
    """
    return empty(like.shape, like)


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """`fresh`, of another shape."""
    size = like.element_size()
    for length in shape:
        size *= length
    if MISSING or size < _LARGE or like.device.type != "cpu" or like.dtype not in PRECISIONS:
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    block: Tensor = kernel("empty", like)(list(shape))
    return block


def blocks_in_use() -> tuple[int, int]:
    """Bytes of large tensors and working memory that the engine holds now, and the most since `reset_peak`."""
    return (0, 0) if MISSING else _native.memory()[:2]


def reset_peak() -> None:
    """Count the most bytes in use from here."""
    if not MISSING:
        _native.reset_peak()


def release_blocks() -> None:
    """Free the blocks that no tensor holds."""
    if not MISSING:
        _native.release()
