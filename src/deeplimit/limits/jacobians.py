"""The limits of backpropagation: derivatives of states with respect to the first one, of networks and of their limits.

J(s) = ∂H(s)/∂H(0)

    neural ODE       dJ = diag(σ′(Ā H + b̄)) Ā J ds
    alternative ODE  dJ = σ′(0) Ā J ds
    SDE              dJ = σ′(0) (dW^A + Ā ds) J + ½ σ″(0) ∂Q(H) J ds

They are integrated together with H by differentiating each step of its scheme: J is then the exact derivative of the discrete
solution. The gradient of a loss with respect to h_k is (J(1) J(k/L)⁻¹)ᵀ applied to the gradient with respect to the last state.

Reference: derived from the limits of Cohen et al. 2021; the subject of Cont, Rossier and Xu, "Asymptotic analysis of deep residual
networks" (arXiv 2212.08199).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.limits.ode import first_state, require_ode, rk4_step, vector_field
from deeplimit.limits.sde import Map
from deeplimit.limits.weights import Weights, constants, read

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import ResidualStack


def jacobians(maps: Iterable[Map], h: Tensor, *, keep: int = 1) -> tuple[Tensor, Tensor]:
    """States and their derivatives with respect to the first one, under one map after the other.

    Args:
        maps: `layer_maps`, `ode_maps` or `sde_maps`.
        h: the first state `[…, n, d]`.
        keep: every `keep`-th is kept.

    Returns:
        The states `[K + 1, …, n, d]`, and J `[K + 1, …, n, d, d]` with entry (i, j) = ∂h_i/∂(h_0)_j.

    >>> import torch
    >>> states, J = jacobians([lambda h: 2 * h, lambda h: h**2], torch.ones(1, 1))
    >>> J.flatten().tolist()
    [1.0, 2.0, 8.0]
    """
    import torch

    J = torch.eye(h.shape[-1], dtype=h.dtype, device=h.device).expand(*h.shape, h.shape[-1])
    states, derivatives = [h], [J]
    for k, step in enumerate(maps, start=1):
        h, D = _differentiated(step, h)
        J = D @ J
        if k % keep == 0:
            states.append(h)
            derivatives.append(J)
    return torch.stack(states), torch.stack(derivatives)


def _differentiated(step: Map, h: Tensor) -> tuple[Tensor, Tensor]:
    """The image of h, and the derivative of the step there, `[…, n, d, d]`: samples do not see each other."""
    import torch

    image, pull = torch.func.vjp(step, h)  # type: ignore[misc] # three results with has_aux alone
    unit = torch.eye(h.shape[-1], dtype=h.dtype, device=h.device)
    rows = unit.reshape(len(unit), *(1,) * (h.dim() - 1), len(unit)).expand(len(unit), *h.shape)
    (derivative,) = torch.vmap(pull)(rows)
    return image, derivative.movedim(0, -2)


def gradient_factors(jacobians: Tensor) -> Tensor:
    """∂h_L/∂h_k = J_L J_k⁻¹ for all k, of the same shape as J: its transpose takes the gradient from the last state to state k.

    Args:
        jacobians: J `[K + 1, …, d, d]`, invertible.
    """
    import torch

    solved: Tensor = torch.linalg.solve(jacobians, jacobians[-1].expand_as(jacobians), left=False)
    return solved


def layer_maps(network: ResidualStack, params: Mapping[str, Tensor]) -> Iterator[Map]:
    """The layers of a network, h ↦ h + L^(−β) f(h, θ_k).

    Args:
        network: the network.
        params: its parameters by role, layered ones `[L, …]` or `[E, L, …]`.
    """
    import torch

    from deeplimit.engines.engine import layered

    branch, role = network.branch, network.layer_roles[0]
    ensemble = params[role].dim() > len(branch.shapes[role]) + 1
    layers = layered(branch, params, ensemble=ensemble)
    shared = {name: params[name] for name in branch.shared_shapes}
    field = torch.vmap(branch.__call__) if ensemble else branch.__call__
    scale = network.scaling(network.depth)
    for k in range(network.depth):
        theta = {name: stack[k] for name, stack in layers.items()} | shared
        yield lambda h, theta=theta: h + scale * field(h, theta)  # type: ignore[misc]


def ode_maps(network: ResidualStack, weights: Weights, *, x: Tensor, steps: int) -> tuple[Iterator[Map], Tensor]:
    """The steps of the Runge–Kutta solution of a neural ODE, and its first state.

    The alternative ODE is that of `linearised(network)`.

    Args:
        network: the network; its depth plays no part.
        weights: paths and tensors by role.
        x: inputs `[n, d]`, or `[E, n, d]`.
        steps: number of steps.

    Raises:
        InputError: the network has no neural ODE as its limit, or a role lacks its weights.
    """
    import torch

    require_ode(network)
    checks.positive_int("steps", steps)
    h = first_state(network, weights, x=x)
    s = torch.arange(2 * steps + 1, dtype=torch.float64) / (2 * steps)
    layers, field = read(network, weights, s=s), vector_field(network, h=h)
    shared = {role: t for role, t in constants(network, weights).items() if role in network.branch.shared_shapes}
    nodes = [{role: values[j] for role, values in layers.items()} | shared for j in range(len(s))]

    def maps() -> Iterator[Map]:
        for j in range(0, 2 * steps, 2):
            start, middle, end = nodes[j : j + 3]
            yield lambda h, nodes=(start, middle, end): rk4_step(field, h, nodes=nodes, step=1 / steps)  # type: ignore[misc]

    return maps(), h
