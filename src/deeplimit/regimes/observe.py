"""What is seen of a network at one depth: everything that the two verdicts are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.networks.effective import effective

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import ResidualStack


@dataclass(frozen=True)
class Passage:
    """How n inputs, the same at every depth, pass through E runs.

    Args:
        outputs: F(x) `[E, n, …]`.
        displacement: root mean square over inputs of ‖h_L − h_0‖, `[E]`.
        variation: mean over inputs of Σ_k ‖h_{k+1} − h_k‖², `[E]`.
        nonlinearity: share of the layers' maps that σ′(0) does not give, `[E]`; None where σ is not known or has a kink at 0.
        finite: how many states from h_0 on are finite, with their squares, `[E]`: L + 1 where all are; None where that was not looked at.
    """

    outputs: Tensor
    displacement: Tensor
    variation: Tensor
    nonlinearity: Tensor | None = None
    finite: Tensor | None = None


@dataclass(frozen=True)
class Runs:
    """E runs of a network of one depth.

    Args:
        weights: role -> `[E, L, *shape]`.
        passage: how inputs pass through; None where only the weights are known.
        movement: relative movement ‖θ(T) − θ(0)‖ / ‖θ(0)‖ of all weights that did not start at 0, `[E]`; None without θ(0).
    """

    weights: Mapping[str, Tensor]
    passage: Passage | None = None
    movement: Tensor | None = None

    @property
    def count(self) -> int:
        """E."""
        return len(next(iter(self.weights.values())))


def observe(
    network: ResidualStack,
    params: Mapping[str, Tensor],
    *,
    x: Tensor | None = None,
    initial: Mapping[str, Tensor] | None = None,
    engine: str = "auto",
) -> Runs:
    """See E runs of a `ResidualStack`.

    Args:
        network: the specification.
        params: trained parameters `[E, …]`, or of one run.
        x: inputs `[n, …]`, the same at every depth; None for the weights alone.
        initial: the parameters before training.
        engine: for the states.

    Raises:
        InputError: parameters or inputs do not fit the network.
    """
    import torch

    single = params[network.layer_roles[0]].dim() == len(network.branch.shapes[network.layer_roles[0]]) + 1
    if single:
        params = {role: tensor[None] for role, tensor in params.items()}
        initial = None if initial is None else {role: tensor[None] for role, tensor in initial.items()}
    movement = None if initial is None else movement_of(params, {role: initial[role] for role in network.layer_roles})
    passage = None
    if x is not None:
        with torch.no_grad():
            states = network.states(params, x, engine=engine)
            outputs = states[-1] if network.readout is None else states[-1] @ params["readout"].mT
            passage = passage_of(states, outputs, nonlinearity=_nonlinearity(network, params, states))
    return Runs(effective(network, params), passage, movement)


def passage_of(states: Tensor, outputs: Tensor | None = None, *, nonlinearity: Tensor | None = None) -> Passage:
    """What hidden states h_0 … h_L `[L + 1, E, n, …]` show; the outputs are h_L unless given."""
    finite = _finite_states(states)
    if states.itemsize < 4 or not bool((finite == len(states)).all()):
        states = states.double()  # squares of float16 end at 65504
        finite = _finite_states(states)
    displacement = (states[-1] - states[0]).flatten(2).square().sum(2).mean(1).sqrt()
    variation = states.diff(dim=0).flatten(3).square().sum(3).sum(0).mean(1)
    return Passage(states[-1] if outputs is None else outputs, displacement, variation, nonlinearity, finite)


def _finite_states(states: Tensor) -> Tensor:
    """How many states from h_0 on are finite with their squares, `[E]`."""
    fine = states.flatten(2).square().sum(2).isfinite()
    count: Tensor = fine.long().cumprod(0).sum(0)
    return count


def movement_of(final: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> Tensor | None:
    """‖θ(T) − θ(0)‖ / ‖θ(0)‖ of E runs, `[E]`: the mean over the roles `[E, …]` that did not start at 0; None where none did not."""
    import torch

    norms = {role: start.flatten(1).norm(dim=1) for role, start in initial.items()}
    ratios = [
        (final[role] - initial[role]).flatten(1).norm(dim=1) / norm
        for role, norm in norms.items()
        if bool(norm.min() > 0)
    ]
    return torch.stack(ratios).mean(0) if ratios else None


def _nonlinearity(network: ResidualStack, params: Mapping[str, Tensor], states: Tensor) -> Tensor | None:
    """The root mean square over layers and inputs of σ(z) − σ(0) − σ′(0) z, beside that of σ(z) − σ(0).

    None for a branch without pre-activations A h + b or W h + b, and for an activation that has no derivative at 0.
    """
    branch = network.branch
    activation = getattr(branch, "activation", None)
    role = next((name for name in ("A", "W") if name in branch.shapes), None)
    if activation is None or role is None or math.isnan(activation.slope):
        return None
    matrices = params[role].transpose(0, 1)  # [L, E, m, d]
    z = states[:-1] @ matrices.mT * getattr(branch, "inner_factor", 1.0)
    if "b" in params:
        z = z + params["b"].transpose(0, 1).unsqueeze(2)
    zero = activation(z.new_zeros(()))
    whole = activation(z) - zero
    rest = whole - activation.slope * z
    axes = (0, 2, 3)
    share: Tensor = (rest.square().sum(axes) / whole.square().sum(axes)).sqrt()
    return share


def merged(parts: Sequence[Runs]) -> Runs:
    """Runs of one depth as one ensemble.

    Raises:
        InputError: the parts differ in roles or shapes, or something was seen of some of them only.
    """
    import torch

    def joined(tensors: Sequence[Tensor | None]) -> Tensor | None:
        there = [tensor for tensor in tensors if tensor is not None]
        if there and len(there) < len(parts):
            raise checks.InputError(
                f"runs: expected the same to be known of all, found it of {len(there)} of {len(parts)}"
            )
        return torch.cat(there) if there else None

    shapes = {tuple((role, tuple(w.shape[1:])) for role, w in sorted(part.weights.items())) for part in parts}
    if len(shapes) != 1:
        raise checks.InputError(f"runs: expected equal roles and shapes at one depth, found {sorted(shapes)}")
    weights = {role: torch.cat([part.weights[role] for part in parts]) for role in parts[0].weights}
    passages = [part.passage for part in parts]
    names = ("outputs", "displacement", "variation", "nonlinearity", "finite")
    columns = {name: joined([getattr(passage, name, None) for passage in passages]) for name in names}
    passage = None if columns["outputs"] is None else Passage(**columns)  # type: ignore[arg-type]
    return Runs(weights, passage, joined([part.movement for part in parts]))
