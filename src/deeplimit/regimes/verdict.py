"""The two verdicts on a regime of depth, never one: what the weights become, and what the function becomes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from deeplimit import checks
from deeplimit.claims import Measured
from deeplimit.regimes.function import FunctionVerdict, judge_function
from deeplimit.regimes.observe import Runs, merged, observe
from deeplimit.regimes.precheck import State, Unit, precheck
from deeplimit.regimes.weights import WHITE, WeightVerdict, judge_weights
from deeplimit.statistics.rounding import doubles

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks.module import StackModule

    Known = Runs | StackModule | Mapping[str, Tensor] | Tensor

ALONE, FEWEST = 0.01, 6
"""p-value below which the order of the layers of one network matters; layers below which nothing is said of it."""


Order = Literal["smooth", "rough", "no order", "tied", "undecided"]


@dataclass(frozen=True)
class Smoothness:
    """What one network alone shows: whether neighbouring layers are closer than layers in a random order.

    Args:
        label: `smooth`: the order of the layers matters, and the weights are smooth at the scale of a layer; `rough`: it matters, and they
            are rough; `no order`: not to be told from layers in a random order; `tied`: the layers are equal; `undecided`.
        ratio: Σ‖A_k − A_{k−1}‖² / Σ‖A_k − mean‖², near 2 for a random order; None where it is of nothing, or of rounding.
        p_value: share of random orders with a ratio as small; None where there is no ratio.
        roughness: Hurst index pooled over entries; None where there are too few entries or layers, or second differences are rounding.
        reason: what was found before any statistic, in words; empty where all of them were taken.
        state: the same in a word (`regimes.precheck`).
    """

    label: Order
    ratio: float | None
    p_value: float | None
    roughness: Measured | None
    reason: str = ""
    state: State = "measurable"

    def __str__(self) -> str:
        """The label with what it stands on."""
        numbers = "" if self.ratio is None else f" (ratio {self.ratio:.3g}, p = {self.p_value:.2g})"
        return f"{self.label}{numbers}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True)
class Regime:
    """Both verdicts, and what the deepest network shows alone.

    Args:
        weights: role -> verdict.
        function: verdict on outputs and states.
        alone: role -> smoothness of the deepest network.
    """

    weights: Mapping[str, WeightVerdict]
    function: FunctionVerdict
    alone: Mapping[str, Smoothness]

    def as_json(self) -> dict[str, Any]:
        """Everything as plain dicts, lists, numbers and text; numbers that JSON cannot hold as None."""
        return plain(dataclasses.asdict(self))  # type: ignore[no-any-return]

    def __str__(self) -> str:
        """Both verdicts with their reasons."""
        lines = [f"weights {role}: {v.label}: {v.reason}" for role, v in self.weights.items()]
        lines.append(f"function: {self.function.label}: {self.function.reason}")
        if self.function.label not in ("undecided", "none", "identity"):
            lines.append(f"limit: {self.function.draw}")
        lines.append(f"learning: {self.function.learning}: {self.function.learning_reason}")
        for role, one in self.alone.items():
            lines.append(f"deepest network alone, {role}: {one}")
        return "\n".join(lines)


def regime(networks: Mapping[int, Known | Sequence[Known]], *, x: Tensor | None = None) -> Regime:
    """Say what a family of networks of growing depth becomes.

    Args:
        networks: depth -> one run or a sequence of runs at that depth. A run is its weights, a tensor `[L, *shape]` or role -> such tensors
            (or `[E, L, *shape]` for E runs at once); a module made by `ResidualStack.module`; or `Runs`, which hold states as well.
        x: inputs on which modules are evaluated, the same at every depth; without them there is a verdict on weights alone.

    Returns:
        Both verdicts; each abstains, and says what is missing, where the data cannot tell.

    Raises:
        InputError: no networks, a tensor whose depth is not the one it stands under, or runs that do not fit together.

    >>> import torch
    >>> def weights(L):
    ...     s = torch.arange(1, L + 1)[:, None] / L
    ...     return torch.sin(2 * s + torch.arange(10))
    >>> found = regime({L: weights(L) for L in (8, 16, 32)})
    >>> found.weights["weights"].label, found.function.label
    ('hypothesis 1', 'undecided')
    """
    if not networks:
        raise checks.InputError("networks: expected at least one depth, found none")
    runs = {checks.positive_int("depth", depth): _runs(known, depth, x) for depth, known in networks.items()}
    roles = list(next(iter(runs.values())).weights)
    for depth, seen in runs.items():
        if sorted(seen.weights) != sorted(roles):
            raise checks.InputError(
                f"roles at depth {depth}: expected {', '.join(roles)}, found {', '.join(seen.weights)}"
            )
    weights = {role: judge_weights({d: seen.weights[role] for d, seen in runs.items()}, role) for role in roles}
    deepest = max(runs)
    alone = {role: smoothness(w) for role, w in runs[deepest].weights.items() if deepest >= 3}
    return Regime(weights, judge_function(runs, weights), alone)


def smoothness(weights: Tensor, *, unit: Unit | None = None) -> Smoothness:
    """What the first of some runs `[E, L, *shape]`, L ≥ 3, shows by itself.

    Args:
        weights: of any type.
        unit: of rounding in them; read off the numbers unless given.

    >>> import torch
    >>> print(smoothness(torch.zeros(1, 12, 4)))
    undecided: every weight is 0
    """
    from deeplimit.statistics import variation_ratio

    one, found = weights[0], precheck(weights[:1], unit=unit)
    if found.state == "tied":
        return Smoothness("tied", None, None, None, found.reason, found.state)
    if found.state not in ("measurable", "straight"):
        return Smoothness("undecided", None, None, None, found.reason, found.state)
    ratio, p_value = variation_ratio(one)
    if found.state == "straight":
        label: Order = "smooth" if p_value <= ALONE else "undecided"
        return Smoothness(label, ratio, p_value, None, found.reason, found.state)
    roughness = _roughness(one)
    if not p_value <= ALONE:
        return Smoothness("no order" if len(one) >= FEWEST else "undecided", ratio, p_value, roughness)
    if roughness is None or roughness.low < 1 - WHITE < roughness.high:
        return Smoothness("undecided", ratio, p_value, roughness)
    return Smoothness("smooth" if roughness.low > 1 - WHITE else "rough", ratio, p_value, roughness)


def _roughness(weights: Tensor) -> Measured | None:
    """The Hurst index of weights `[L, *shape]`; None where there are too few entries or layers, or every second layer is the same."""
    from deeplimit.statistics import hurst

    paths = doubles(weights).reshape(len(weights), -1).T
    if len(paths) < 5 or len(weights) < FEWEST:
        return None
    found = hurst(paths, (1, 2), order=2)
    return found if math.isfinite(found.low + found.high) else None


def _runs(known: Known | Sequence[Known], depth: int, x: Tensor | None) -> Runs:
    if isinstance(known, Sequence):
        return merged([_runs(part, depth, x) for part in known])
    if isinstance(known, Runs):
        return known
    import torch

    if isinstance(known, torch.Tensor):
        known = {"weights": known}
    if isinstance(known, Mapping):
        return Runs({role: _with_runs(role, tensor.detach(), depth) for role, tensor in known.items()})
    params = {role: tensor.detach() for role, tensor in known.parameters_by_role().items()}
    return observe(known.network, params, x=x, engine=known.engine)


def _with_runs(role: str, tensor: Tensor, depth: int) -> Tensor:
    """`[L, …]` or `[E, L, …]` as `[E, L, …]`."""
    if tensor.dim() >= 1 and tensor.shape[0] == depth:
        return tensor[None]
    if tensor.dim() >= 2 and tensor.shape[1] == depth:
        return tensor
    raise checks.InputError(
        f"{role}: expected shape [{depth}, ...] or [runs, {depth}, ...] under depth {depth}, found {tuple(tensor.shape)}"
    )


def plain(value: Any) -> Any:
    """Nested mappings and sequences of numbers and text as JSON holds them: what is not finite as None."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
