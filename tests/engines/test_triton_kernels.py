"""The kernels as a compiler sees them: for a GPU that need not be there. Their numbers are in test_triton.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SHARED = 99 << 10
"""Bytes of shared memory that a program may have on every NVIDIA GPU from compute capability 8.0 on."""

# In a process of its own, where nobody has asked for the interpreter.
COMPILE = """
import json
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from deeplimit.engines import triton_kernels

def compiled(kernel, kind, q, m, products, branch):
    function = getattr(triton_kernels, kernel)
    fixed = dict(q=q, m=m, Q=max(q, 16), M=max(m, 16), ROWS=16, PRECISION=products)
    fixed |= dict(SIGMA="gelu", LEAK=0.0) if kernel == "forward" else {}
    absent = dict(gain=None) if branch == "perceptron" else dict(V=None, c=None)
    fixed |= {name: None for name in absent if name in function.arg_names}
    kinds = dict(depth="i32", samples="i32")
    signature = {name: "constexpr" if name in fixed else kinds.get(name, "*" + kind) for name in function.arg_names}
    found = compile(ASTSource(function, signature, fixed), target=GPUTarget("cuda", 80, 32))
    return dict(shared=found.metadata.shared, fma="fma.rn" in found.asm["ptx"], tf32=".tf32" in found.asm["ptx"])

print(json.dumps([compiled(*row) for row in json.loads(input())]))
"""

ROWS = [
    ("forward", "fp32", 16, 32, "ieee", "perceptron"),
    ("forward", "fp64", 10, 10, "ieee", "one matrix"),
    ("backward", "fp32", 10, 10, "ieee", "one matrix"),
    ("backward", "fp32", 64, 64, "ieee", "perceptron"),
    ("backward", "fp32", 32, 128, "ieee", "perceptron"),
    ("backward", "fp64", 32, 64, "ieee", "perceptron"),
    ("backward", "fp32", 32, 128, "tf32", "perceptron"),
]


def test_the_kernels_compile_for_a_gpu_and_the_largest_tiles_fit_its_shared_memory(tmp_path):
    pytest.importorskip("triton", reason="Triton is published for Linux alone")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        input=json.dumps(ROWS),
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(ROWS)
    for row, compiled in zip(ROWS, found, strict=True):
        assert 0 < compiled["shared"] <= SHARED, row
        assert compiled["tf32"] is ("tf32" in row), row
    assert found[0]["fma"]  # float32 is multiplied in float32
