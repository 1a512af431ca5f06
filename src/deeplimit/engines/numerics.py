"""What PyTorch is told about the numbers of a whole run: the same bits every time, or the fastest algorithms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: Without it cuBLAS may add in another order in each call; read when a process first uses it.
CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def numerics(device: str, *, deterministic: bool) -> Iterator[dict[str, bool]]:
    """Settings for a run, undone after it.

    Deterministic algorithms alone (an operation that has none ends with an error); or on CUDA the choice of cuDNN's convolutions by a
    race at the first call of each shape, which is worth it where shapes stay the same.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        deterministic: whether.

    Yields:
        Facts for the record: `deterministic`, and on CUDA whether convolutions and matrix products may round to TF32.
    """
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    if deterministic:
        os.environ.setdefault(*CUBLAS)
        torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = deterministic, device.startswith("cuda") and not deterministic
    facts = {"deterministic": deterministic}
    if device.startswith("cuda"):
        facts["tf32_convolutions"] = cudnn.allow_tf32
        facts["tf32_products"] = torch.backends.cuda.matmul.allow_tf32
    try:
        yield facts
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]
