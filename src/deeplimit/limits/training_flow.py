"""The limiting training dynamics: gradient flow of A, Z(s) and B of a neural ODE, by continuous backpropagation.

    dA/dt = −(1/n) Σ_i P_i(0) x_iᵀ                    dB/dt = −(2/n) Σ_i (B H_i(1) − y_i) H_i(1)ᵀ
    dZ(s)/dt = −(1/n) Σ_i d₂f(H_i(s), Z(s))ᵀ P_i(s)
    H_i(0) = A x_i,  dH_i/ds = f(H_i, Z)              P_i(1) = 2 Bᵀ (B H_i(1) − y_i),  dP_i/ds = −d₁f(H_i, Z)ᵀ P_i

Reference: Marion et al. 2024, appendix A.5. The adjoint equation is printed there without the minus sign and the transpose; the limit
of the backpropagation of the network is the one above, and the printed one is kept as `adjoint="printed"` so that its error can be shown.

Training time: gradient descent of a network of depth L with learning rate η, whose layers take steps of η·L and whose other
parameters take steps of η, advances t by η in every iteration.

Discretisation: Z lives on the grid s = j/(2M), M intervals with their midpoints. The Runge–Kutta method takes one step per interval for
H and for P; at midpoints both are cubic Hermite interpolants of their values and slopes. Integrals over s are Simpson's. So every
number is accurate to O(M⁻⁴) for weights smooth in s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deeplimit import checks
from deeplimit.limits.ode import Field, Theta, require_ode, rk4_step, vector_field
from deeplimit.limits.weights import is_ensemble

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import Parameters, ResidualStack

State = Mapping[str, "Tensor"]
"""Parameters of the limit by role: layered ones on the grid `[2M + 1, …]` (`[E, 2M + 1, …]` in an ensemble), others as in a network."""

Batch = tuple["Tensor", "Tensor"]
"""Inputs x `[n, …]` and targets y `[n, …]`, each with or without a leading ensemble axis."""

Costate = Callable[["Tensor", "Tensor", Theta], "Tensor"]


@dataclass(frozen=True)
class Clip:
    """The operator π of the clipped flow: each entry is projected on [−bound, bound].

    Reference: Marion et al. 2024, equation (5). Applied to −∂ℓ/∂A, −∂ℓ/∂B and, after the multiplication by L, to −L ∂ℓ/∂Z_k.

    >>> import torch
    >>> Clip(1.0)(torch.tensor([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """

    bound: float

    def __post_init__(self) -> None:
        """Refuse a bound that is not positive."""
        checks.positive("bound", self.bound)

    def __call__(self, derivative: Tensor) -> Tensor:
        """π of the derivative of one role."""
        return derivative.clamp(-self.bound, self.bound)


@dataclass(frozen=True)
class TrainingFlow:
    """The vector field of the limiting training dynamics: `flow(state, batch)` is the time derivative of every trainable role.

    Args:
        network: the network whose limit is trained; its depth plays no part. Frozen ends stay as they are.
        adjoint: `corrected`, the limit of backpropagation, or `printed`, the equation as the paper prints it.
        clip: π, a function of the derivative of one role (`Clip`), or None. It makes Z less smooth in s, and the scheme of lower order.
        mean: the squared error is averaged over `samples` (and summed over the coordinates of one output, as in the paper) or over
            `entries` (as in its released code).

    Raises:
        InputError: the network has no neural ODE as its limit (β ≠ 1), or an option is unknown.

    >>> import torch
    >>> from deeplimit.branches import Perceptron
    >>> from deeplimit.limits import initial, on_grid
    >>> from deeplimit.networks import ResidualStack
    >>> network = ResidualStack(Perceptron(state=2, width=3), depth=8)
    >>> flow, batch = TrainingFlow(network), (torch.ones(1, 2), torch.zeros(1, 2))
    >>> state = on_grid(network, initial(network), intervals=4)
    >>> for t, state in integrate(flow, state, batch=batch, horizon=1.0, steps=2):
    ...     print(t, f"{flow.loss(state, batch).item():.3f}")
    0.0 2.000
    0.5 ...
    1.0 ...
    """

    network: ResidualStack
    adjoint: Literal["corrected", "printed"] = "corrected"
    clip: Callable[[Tensor], Tensor] | None = None
    mean: Literal["samples", "entries"] = "samples"

    def __post_init__(self) -> None:
        """Refuse unknown options and networks without this limit."""
        require_ode(self.network)
        checks.one_of("adjoint", self.adjoint, ("corrected", "printed"))
        checks.one_of("mean", self.mean, ("samples", "entries"))

    def __call__(self, state: State, batch: Batch) -> Parameters:
        """The time derivative of the trainable roles: minus the gradient, clipped where asked for."""
        derivative = {role: -gradient for role, gradient in self.gradient(state, batch).items()}
        return derivative if self.clip is None else {role: self.clip(value) for role, value in derivative.items()}

    def loss(self, state: State, batch: Batch) -> Tensor:
        """The loss ℓ, `()` or `[E]`."""
        import torch

        x, y = _like(state, batch)
        with torch.no_grad():
            residual = self._outputs(state, self.states(state, x)[-1]) - y
            return (self._weight(residual) * residual**2).sum(tuple(range(self._members(residual), residual.dim())))

    def states(self, state: State, x: Tensor) -> Tensor:
        """The states H on the grid, `[2M + 1, n, *state]` or `[2M + 1, E, n, *state]`."""
        import torch

        with torch.no_grad():
            h = _first_state(self.network, state, x=x)
            return _forward(vector_field(self.network, h=h), _nodes(self.network, state), h=h)

    def gradient(self, state: State, batch: Batch) -> Parameters:
        """The gradient of the loss at fixed parameters, for every trainable role.

        For a layered role it is the limit of L ∂ℓ/∂Z_k at s = k/L, on the grid of the state; for every other role that of ∂ℓ/∂θ.

        Reference: Marion et al. 2024, appendix A.5 (the right-hand sides with the opposite sign).

        Args:
            state: parameters of the limit.
            batch: inputs and targets.

        Returns:
            A tensor of the shape of the state for every role in `network.trainable`.
        """
        import torch

        x, y = _like(state, batch)
        H, nodes = self.states(state, x), _nodes(self.network, state)
        with torch.no_grad():
            residual = self._outputs(state, H[-1]) - y
            pull = 2 * self._weight(residual) * residual
            p = pull if self.network.readout is None else pull @ state["readout"]
            P = _backward(self._costate(H[0]), nodes, H=H, p=p)
            gradient = _parameter_gradient(self.network, nodes, H=H, P=P)
            if "embedding" in state:
                gradient["embedding"] = P[0].mT @ x
            if "readout" in state:
                gradient["readout"] = pull.mT @ H[-1]
        return {role: gradient[role] for role in self.network.trainable}

    def _outputs(self, state: State, last: Tensor) -> Tensor:
        return last if self.network.readout is None else last @ state["readout"].mT

    def _members(self, outputs: Tensor) -> int:
        """The number of ensemble axes, 0 or 1, of outputs `[n, …]` or `[E, n, …]`."""
        output_axes = 1 if self.network.readout is not None else len(self.network.branch.state_shape)
        return outputs.dim() - output_axes - 1

    def _weight(self, residual: Tensor) -> float:
        """The weight of one squared error in the loss."""
        each = residual.shape[self._members(residual) :]
        return 1 / (each[0] if self.mean == "samples" else each.numel())

    def _costate(self, h: Tensor) -> Costate:
        """dP/ds as a function of P, H and the parameters."""
        field = vector_field(self.network, h=h)
        return _corrected(field) if self.adjoint == "corrected" else _printed(field)


def integrate(
    flow: Callable[[State, Batch], Parameters], state: State, *, batch: Batch, horizon: float, steps: int
) -> Iterator[tuple[float, Parameters]]:
    """Integrate a training flow from t = 0 to t = T with the classical Runge–Kutta method.

    Args:
        flow: the derivative as a function of state and batch; roles that it does not give stay as they are.
        state: the state at t = 0.
        batch: inputs and targets.
        horizon: T.
        steps: number of steps; the error is O(steps⁻⁴).

    Yields:
        t and the state at t, from t = 0 on, `steps + 1` pairs.
    """
    step = checks.positive("horizon", horizon) / checks.positive_int("steps", steps)
    current = dict(state)
    yield 0.0, current
    for i in range(1, steps + 1):
        current = _training_step(lambda s: flow(s, batch), current, step=step)
        yield i * step, current


def squared_norm(network: ResidualStack, gradient: State) -> Tensor:
    """‖∂ℓ/∂A‖² + ∫ ‖∂ℓ/∂Z(s)‖² ds + ‖∂ℓ/∂B‖², `()` or `[E]`: what −dℓ/dt is along the flow without clipping.

    Reference: Marion et al. 2024, definition 1, whose left-hand side ‖∂ℓ/∂A‖² + L Σ_k ‖∂ℓ/∂Z_k‖² + ‖∂ℓ/∂B‖² tends to it.

    Args:
        network: the network.
        gradient: gradients by role, layered ones on the grid.
    """
    import torch

    members = int(is_ensemble(network, gradient))
    parts = []
    for role, tensor in gradient.items():
        on_grid = role in network.layer_roles
        squares = (tensor.movedim(members, 0) if on_grid else tensor.unsqueeze(0)) ** 2
        per_node = squares.reshape(*squares.shape[: 1 + members], -1).sum(-1)
        parts.append(_simpson(per_node) if on_grid else per_node[0])
    return torch.stack(parts).sum(0)


def _training_step(derivative: Callable[[State], Parameters], state: Parameters, *, step: float) -> Parameters:
    a = derivative(state)
    b = derivative(_moved(state, a, step=step / 2))
    c = derivative(_moved(state, b, step=step / 2))
    d = derivative(_moved(state, c, step=step))
    return _moved(state, {role: a[role] + 2 * b[role] + 2 * c[role] + d[role] for role in a}, step=step / 6)


def _moved(state: Parameters, derivative: State, *, step: float) -> Parameters:
    return state | {role: state[role] + step * value for role, value in derivative.items()}


def _forward(field: Field, nodes: Theta, *, h: Tensor) -> Tensor:
    """H on the whole grid."""
    import torch

    intervals = _intervals(nodes)
    full = [h]
    for i in range(intervals):
        triple = (_at(nodes, 2 * i), _at(nodes, 2 * i + 1), _at(nodes, 2 * i + 2))
        full.append(rk4_step(field, full[-1], nodes=triple, step=1 / intervals))
    H = torch.stack(full)
    return _with_midpoints(H, torch.vmap(field)(H, _every_second(nodes)))


def _backward(costate: Costate, nodes: Theta, *, H: Tensor, p: Tensor) -> Tensor:
    """P on the whole grid, from P(1) = p."""
    import torch

    intervals = _intervals(nodes)
    full = [p]
    for i in reversed(range(intervals)):
        end, middle, start = ((H[j], _at(nodes, j)) for j in (2 * i + 2, 2 * i + 1, 2 * i))
        full.append(rk4_step(lambda p, at: costate(p, *at), full[-1], nodes=(end, middle, start), step=-1 / intervals))
    P = torch.stack(full[::-1])
    return _with_midpoints(P, torch.vmap(costate)(P, H[::2], _every_second(nodes)))


def _corrected(field: Field) -> Costate:
    """dP/ds = −d₁f(H, Z)ᵀ P."""
    import torch

    def costate(p: Tensor, h: Tensor, theta: Theta) -> Tensor:
        pull = torch.func.vjp(lambda state: field(state, theta), h)[1]
        transposed: Tensor = pull(p)[0]
        return -transposed

    return costate


def _printed(field: Field) -> Costate:
    """dP/ds = d₁f(H, Z) P, as printed."""
    import torch

    def costate(p: Tensor, h: Tensor, theta: Theta) -> Tensor:
        # By reverse mode twice: PyTorch's forward mode warns of its own use of TorchScript.
        pull = torch.func.vjp(lambda state: field(state, theta), h)[1]
        pushed: Tensor = torch.func.vjp(lambda v: pull(v)[0], p)[1](p)[0]
        return pushed

    return costate


def _parameter_gradient(network: ResidualStack, nodes: Theta, *, H: Tensor, P: Tensor) -> Parameters:
    """Σ_i d₂f(H_i(s), Z(s))ᵀ P_i(s) on the grid; integrated over s for parameters that all layers share."""
    import torch

    field = torch.vmap(vector_field(network, h=H[0]))
    pull = torch.func.vjp(lambda theta: field(H, theta), dict(nodes))[1]
    gradient: dict[str, Tensor] = pull(P)[0]
    ensemble = is_ensemble(network, nodes)
    return {
        role: _simpson(g) if role in network.branch.shared_shapes else g.transpose(0, 1) if ensemble else g
        for role, g in gradient.items()
    }


def _nodes(network: ResidualStack, state: State) -> dict[str, Tensor]:
    """What the branch needs at each node, depth first; shared roles are repeated."""
    from deeplimit.engines.engine import layered

    role = network.layer_roles[0]
    nodes = layered(network.branch, state, ensemble=is_ensemble(network, state))
    points = len(nodes[role])
    if points < 3 or points % 2 == 0:
        raise checks.InputError(
            f"state {role}: expected an odd number of nodes of at least 3 (`on_grid`), found {points}"
        )
    return nodes | {role: state[role].expand(points, *state[role].shape) for role in network.branch.shared_shapes}


def _first_state(network: ResidualStack, state: State, *, x: Tensor) -> Tensor:
    """H(0) = A x."""
    role = network.layer_roles[0]
    axis = 1 if is_ensemble(network, state) else 0
    return network.at_depth(state[role].shape[axis]).embed(state, x.to(state[role]))


def _like(state: State, batch: Batch) -> Batch:
    x, y = batch
    weights = next(iter(state.values()))
    return x.to(weights), y.to(weights)


def _intervals(nodes: Theta) -> int:
    return (len(next(iter(nodes.values()))) - 1) // 2


def _at(nodes: Theta, j: int) -> dict[str, Tensor]:
    return {role: tensor[j] for role, tensor in nodes.items()}


def _every_second(nodes: Theta) -> dict[str, Tensor]:
    return {role: tensor[::2] for role, tensor in nodes.items()}


def _with_midpoints(values: Tensor, slopes: Tensor) -> Tensor:
    """Values on the full grid `[M + 1, …]` and between them the cubic Hermite interpolant's, `[2M + 1, …]`."""
    step = 1 / (len(values) - 1)
    out = values.new_empty(2 * len(values) - 1, *values.shape[1:])
    out[::2] = values
    out[1::2] = (values[:-1] + values[1:]) / 2 + step / 8 * (slopes[:-1] - slopes[1:])
    return out


def _simpson(values: Tensor) -> Tensor:
    """The integral over s of values on the grid `[2M + 1, …]`, exact for cubics."""
    import torch

    weights = values.new_full((len(values),), 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    integral: Tensor = torch.tensordot(weights, values, dims=1) / (3 * (len(values) - 1))
    return integral
