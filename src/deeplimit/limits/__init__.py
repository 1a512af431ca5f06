"""The continuous objects that deep networks tend to, with reference solutions: the neural ODE and its training dynamics."""

from __future__ import annotations

from deeplimit.limits.ode import Solution, solve, solve_within
from deeplimit.limits.training_flow import Clip, TrainingFlow, integrate, squared_norm
from deeplimit.limits.weights import (
    PiecewiseLinear,
    Spline,
    Weights,
    initial,
    on_grid,
    splined,
    stack,
    together,
    trained,
)

__all__ = [
    "Clip",
    "PiecewiseLinear",
    "Solution",
    "Spline",
    "TrainingFlow",
    "Weights",
    "initial",
    "integrate",
    "on_grid",
    "solve",
    "solve_within",
    "splined",
    "squared_norm",
    "stack",
    "together",
    "trained",
]
