"""The continuous objects that deep networks tend to, with reference solutions.

The neural ODE (`solve`) and its training dynamics; the alternative, linear ODE; the SDE; the mean ODE; and the limits of backpropagation.
Of wide homogeneous networks with L2: the flow at infinite width (`HomogeneousFlow`), the tangent kernel and the exact equations.
"""

from __future__ import annotations

from deeplimit.limits.homogeneous import HomogeneousFlow, InfiniteWidthFlow, layer_rates
from deeplimit.limits.jacobians import gradient_factors, jacobians, layer_maps, ode_maps
from deeplimit.limits.kernel import derivative, euler_defect, kernel_drift, motion, tangent_kernel
from deeplimit.limits.linear import linearised, solve_linear, trends
from deeplimit.limits.mean import MeanSolution, solve_mean
from deeplimit.limits.ode import Solution, solve, solve_within
from deeplimit.limits.sde import quadratic_variation, sde_maps, solve_sde, trajectory
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
    "HomogeneousFlow",
    "InfiniteWidthFlow",
    "MeanSolution",
    "PiecewiseLinear",
    "Solution",
    "Spline",
    "TrainingFlow",
    "Weights",
    "derivative",
    "euler_defect",
    "gradient_factors",
    "initial",
    "integrate",
    "jacobians",
    "kernel_drift",
    "layer_maps",
    "layer_rates",
    "linearised",
    "motion",
    "ode_maps",
    "on_grid",
    "quadratic_variation",
    "sde_maps",
    "solve",
    "solve_linear",
    "solve_mean",
    "solve_sde",
    "solve_within",
    "splined",
    "squared_norm",
    "stack",
    "tangent_kernel",
    "together",
    "trained",
    "trajectory",
    "trends",
]
