"""The tangent kernel of any network by automatic differentiation, and the exact equations of motion of homogeneous ones at finite width.

Θ(x, x′) = Σ_μ ∂_μ f(x) ∂_μ f(x′), μ over all parameters. Under the gradient flow of Σ ℓ(f(x)) + (λ/2) ‖θ‖², with l′ = ∂ℓ/∂f, a network
homogeneous of degree k obeys at any width, and at any θ where f is differentiable often enough,

df/dt = −Θ l′ − k λ f,    dΘ/dt = −2(k − 1) λ Θ + T + Tᵀ,
T(x, x′) = −Σ over training points x″ of (∂_μ ∂_ν f(x)) (∂_μ f(x′)) (∂_ν f(x″)) l′(x″),

because Euler's identity θ_μ ∂_μ ∂_ν₁ … ∂_ν_m f = (k − m) ∂_ν₁ … ∂_ν_m f takes care of the penalty. At initialisation T is of the
order 1/width, and without it the second equation is that of `HomogeneousFlow`. Where units have kinks, as ReLU has, T is that of the
smooth pieces: each time that a unit's input changes sign at a point, the kernel jumps besides.

Nothing here forms the Jacobian or a Hessian: columns are products of both with vectors, several at once, and cost memory like several
gradients. Outputs are counted as one axis, N = n·d′: entry (x, i) of `function(params, x)` of shape `[n, d′]` stands at x d′ + i.

Reference: Lewkowycz and Gur-Ari 2020 (arXiv 2006.08643), supplement; Dyer and Gur-Ari 2019 (arXiv 1909.11304) on the size of T.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import Parameters

    Function = Callable[[Parameters, Tensor], Tensor]


def tangent_kernel(
    function: Function, params: Parameters, *, x: Tensor, other: Tensor | None = None, chunk: int | None = None
) -> Tensor:
    """Θ(x, x′) between two sets of points, `[N, N′]`.

    Args:
        function: f(params, x) with one row of output per point: a `Network` without an ensemble axis, or any function.
        params: by role.
        x: points, `[n, …]`.
        other: the points x′; those of x unless given.
        chunk: columns computed at once; all of them unless given.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    >>> tangent_kernel(lambda p, x: x @ p["w"], {"w": torch.zeros(2)}, x=x).tolist()
    [[1.0, 2.0], [2.0, 5.0]]
    """
    f, pull = _at(function, x), _gradients(function, params, x=x if other is None else other)

    def column(e: Tensor) -> Tensor:
        return _derived(f, pull(e))(params)

    return _by_columns(column, _units(function, params, x=x if other is None else other), chunk=chunk)


def derivative(function: Function, params: Parameters, *, x: Tensor, along: Sequence[Parameters]) -> Tensor:
    """The m-th derivative of f in m directions of parameter space, ∂_ν₁ … ∂_ν_m f · u₁ … u_m, `[N]`.

    Args:
        function, params, x: as in `tangent_kernel`.
        along: u₁, …, u_m, each like `params`.
    """
    f = _at(function, x)
    for direction in along:
        f = _derived(f, direction)
    return f(params)


def euler_defect(
    function: Function, params: Parameters, *, x: Tensor, degree: float, along: Sequence[Parameters] = ()
) -> float:
    """How far f is from being homogeneous: the relative error of Euler's identity along m directions.

    max |θ_μ ∂_μ ∂_ν₁ … ∂_ν_m f u₁ … u_m − (k − m) ∂_ν₁ … ∂_ν_m f u₁ … u_m| / max |∂_ν₁ … ∂_ν_m f u₁ … u_m|

    Args:
        function, params, x: as in `tangent_kernel`.
        degree: k.
        along: the m directions; none for θ·∇f = k f itself.

    Raises:
        InputError: the derivative is 0 along these directions, so that there is nothing to compare with.

    >>> import torch
    >>> cube = lambda p, x: (x @ p["w"]) ** 3
    >>> euler_defect(cube, {"w": torch.ones(2).double()}, x=torch.eye(2).double(), degree=3)
    0.0
    """
    own = derivative(function, params, x=x, along=along)
    scale = own.abs().max().item()
    if scale == 0:
        raise checks.InputError(
            f"along: expected directions in which the derivative is not 0, found {len(along)} in which it is"
        )
    scaled = derivative(function, params, x=x, along=[*along, params])
    return (scaled - (degree - len(along)) * own).abs().max().item() / scale


def kernel_drift(
    function: Function, params: Parameters, *, x: Tensor, slope: Tensor, chunk: int | None = None
) -> Tensor:
    """T(x, x′), by which data alone move the kernel: dΘ/dt = T + Tᵀ where λ = 0, `[N, N]`.

    Args:
        function, params, chunk: as in `tangent_kernel`.
        x: all points `[n, …]`, whether trained on or not.
        slope: l′ at each output, `[N]` or the shape of the outputs: f − y for squares with ½, 0 at points that are not trained on.
    """
    f, pull = _at(function, x), _gradients(function, params, x=x)
    force = pull(slope.reshape(-1))

    def column(e: Tensor) -> Tensor:
        return -_derived(_derived(f, pull(e)), force)(params)

    return _by_columns(column, _units(function, params, x=x), chunk=chunk)


def motion(
    function: Function, params: Parameters, *, x: Tensor, slope: Tensor, degree: float, weight_decay: float
) -> tuple[Tensor, Tensor]:
    """df/dt `[N]` and dΘ/dt `[N, N]` under the gradient flow with L2, exact at any width.

    Args:
        function, params, x, slope: as in `kernel_drift`.
        degree: k.
        weight_decay: λ of (λ/2) ‖θ‖².
    """
    theta = tangent_kernel(function, params, x=x)
    drift = kernel_drift(function, params, x=x, slope=slope)
    values = function(params, x).reshape(-1)
    return (
        -theta @ slope.reshape(-1) - degree * weight_decay * values,
        -2 * (degree - 1) * weight_decay * theta + drift + drift.T,
    )


def _at(function: Function, x: Tensor) -> Callable[[Parameters], Tensor]:
    return lambda params: function(params, x).reshape(-1)


def _derived(f: Callable[[Parameters], Tensor], direction: Parameters) -> Callable[[Parameters], Tensor]:
    """The derivative of f in a direction, as a function of the parameters."""
    import torch

    def along(params: Parameters) -> Tensor:
        with warnings.catch_warnings():
            # Of PyTorch's own, at the first use of its forward mode.
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
            found: Tensor = torch.func.jvp(f, (params,), (direction,))[1]
        return found

    return along


def _gradients(function: Function, params: Parameters, *, x: Tensor) -> Callable[[Tensor], Parameters]:
    """Weights of the outputs -> the gradient of the weighted sum."""
    import torch

    pull = torch.func.vjp(_at(function, x), params)[1]
    return lambda e: pull(e)[0]


def _units(function: Function, params: Parameters, *, x: Tensor) -> Tensor:
    """One unit vector per output."""
    import torch

    values = function(params, x)
    return torch.eye(values.numel(), dtype=values.dtype, device=values.device)


def _by_columns(column: Callable[[Tensor], Tensor], units: Tensor, *, chunk: int | None) -> Tensor:
    import torch

    found: Tensor = torch.func.vmap(column, out_dims=1, chunk_size=chunk)(units)
    return found.detach()
