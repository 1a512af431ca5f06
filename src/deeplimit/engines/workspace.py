"""Buffers kept between calls: at large depth, fresh memory costs more than the arithmetic on it."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

Key = tuple[tuple[int, ...], torch.dtype, torch.device]


class Workspace:
    """A store of tensors that are not in use, by shape, precision and device."""

    def __init__(self) -> None:
        self._free: dict[Key, list[Tensor]] = {}
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor of `shape` with undefined content, in the precision and on the device of `like`."""
        with self._lock:
            free = self._free.get((shape, like.dtype, like.device))
            if free:
                return free.pop()
        return torch.empty(shape, dtype=like.dtype, device=like.device)

    def give(self, *tensors: Tensor) -> None:
        """Put tensors back; nobody may hold a view of them. Memory of a GPU goes to PyTorch's own store, which knows its streams."""
        with self._lock:
            for tensor in (t for t in tensors if t.device.type != "cuda"):
                self._free.setdefault((tuple(tensor.shape), tensor.dtype, tensor.device), []).append(tensor)

    def clear(self) -> None:
        """Free all memory."""
        with self._lock:
            self._free.clear()
