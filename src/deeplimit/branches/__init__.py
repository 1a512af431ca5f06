"""Residual branches f(h, θ): what one layer adds to the state. One file a branch; the interface is in `branch`."""

from __future__ import annotations

from deeplimit.branches.activations import (
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    ShiftedSoftplus,
    SiLU,
    Tanh,
)
from deeplimit.branches.branch import Branch
from deeplimit.branches.convolution import Convolution
from deeplimit.branches.custom import FunctionBranch, ModuleBranch
from deeplimit.branches.one_matrix import OneMatrix
from deeplimit.branches.outer import OuterMatrix
from deeplimit.branches.perceptron import Perceptron

__all__ = [
    "GELU",
    "Activation",
    "Branch",
    "Convolution",
    "FunctionBranch",
    "Identity",
    "LeakyReLU",
    "ModuleBranch",
    "OneMatrix",
    "OuterMatrix",
    "Perceptron",
    "ReLU",
    "ShiftedSoftplus",
    "SiLU",
    "Tanh",
]
