"""AutoL2 around an optimiser of PyTorch: the L2 coefficient falls while the network trains."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.training.l2.rules import RobustRule, Rule, RuleState, Signal

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

_NORMALISATION = re.compile(r"Norm(\dd)?$")  # LayerNorm, BatchNorm2d, and those of other libraries: LlamaRMSNorm


class AutoL2:
    """Sets `weight_decay` of an optimiser's groups as a rule says, once every few steps.

    λ is that of (λ/2) ‖θ‖² beside the loss: PyTorch's `weight_decay`, as SGD and Adam add λθ to the gradient, or as AdamW shrinks weights
    by 1 − ηλ. The groups keep the ratios of their coefficients, the largest being λ; a group with coefficient 0 is not penalised and stays
    so (`decay_groups` makes such groups). Call `step` in every training step, between the gradients and the update; the measurement is the
    loss of the batch of the coming update, and costs no forward pass.

    The decay time that `RobustRule` counts in is (1 − m)/(ηλ) steps for SGD of momentum m, Nesterov's or not, and 1/(ηλ) for all others:
    exact for AdamW; nominal for Adam, which divides the penalty by the size of the gradients. η and m are those of the group that is
    penalised most.

    Where `torch.distributed` is initialised, measurements are averaged over the processes, so that λ is the same in all of them.

    Reference: Lewkowycz and Gur-Ari 2020, AutoL2.

    Args:
        optimizer: its groups are changed at once where `weight_decay` is given, later where the rule says so.
        weight_decay: λ at the start, of the group that is penalised most; None to start from the groups' coefficients.
        rule: `RobustRule()` unless given.

    Raises:
        InputError: a λ that is not above 0; several groups of which none has a coefficient above 0.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> auto = AutoL2(optimizer, 2.0, rule=RobustRule(horizon=200))
    >>> for _ in range(200):
    ...     loss = (weight * 0).sum()
    ...     loss.backward()
    ...     _ = auto.step(loss)
    ...     optimizer.step()
    >>> auto.history
    [(30, 0.2), (60, 0.02)]
    """

    def __init__(self, optimizer: Optimizer, weight_decay: float | None = None, *, rule: Rule | None = None) -> None:
        from torch.optim import SGD

        self._optimizer, self.rule = optimizer, rule if rule is not None else RobustRule()
        self._heavy_ball = isinstance(optimizer, SGD)
        given = [float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups]
        largest = max(given)
        if largest <= 0 and len(given) > 1:
            raise checks.InputError(
                f"optimizer: expected a group with a weight_decay above 0, to tell which are penalised; found {given}"
            )
        self._shares = [value / largest for value in given] if largest > 0 else [1.0]
        self._reference = self._shares.index(1.0)
        self.state = self.rule.start(largest if weight_decay is None else weight_decay)
        self.steps, self.history = 0, list[tuple[int, float]]()
        self._write()

    @property
    def weight_decay(self) -> float:
        """λ now."""
        return self.state.weight_decay

    def due(self) -> bool:
        """Whether the coming `step` looks at its measurement; in the others it may be anything."""
        return self.rule.due(self.steps)

    def step(self, loss: Tensor | float, accuracy: Tensor | float | None = None) -> float:
        """Take note of a training step, before `optimizer.step()`, and return λ of its update.

        A tensor is read where a measurement is due, and left alone in all other steps: nothing waits for the device.

        Args:
            loss: without the penalty, one number; of held-out data where the rule shall follow those.
            accuracy: on the same data, more is better; None where there is none.

        Raises:
            InputError: where a measurement is due, one that is not one number.
        """
        if self.due():
            self._measure(_number("loss", loss), None if accuracy is None else _number("accuracy", accuracy))
        self.steps += 1
        return self.weight_decay

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, with which an equal `AutoL2` goes on bit for bit; `torch.load(weights_only=True)` reads them."""
        return {
            "rule": type(self.rule).__name__,
            "state": self.state.as_dict(),
            "steps": self.steps,
            "shares": list(self._shares),
            "history": [list(decay) for decay in self.history],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, and set the groups' coefficients.

        Raises:
            InputError: what another kind of rule, or an optimiser of another number of groups, has saved.
        """
        expected, found = sorted(self.state_dict()), sorted(saved)
        if found != expected:
            raise checks.InputError(f"state of AutoL2: expected the entries {expected}, found {found}")
        checks.one_of("rule of the state", saved["rule"], [type(self.rule).__name__])
        if len(saved["shares"]) != len(self._shares):
            raise checks.InputError(
                f"state of AutoL2: expected {len(self._shares)} groups, found {len(saved['shares'])}"
            )
        self.state, self._shares = RuleState.from_dict(saved["state"]), [float(share) for share in saved["shares"]]
        self._reference = self._shares.index(1.0)
        self.steps = int(saved["steps"])
        self.history = [(int(step), float(value)) for step, value in saved["history"]]
        self._write()

    def _measure(self, loss: float, accuracy: float | None) -> None:
        group = self._optimizer.param_groups[self._reference]
        loss, accuracy = _mean_over_processes(loss, accuracy, like=group["params"][0])
        learning_rate, momentum = float(group["lr"]), 0.0
        if self._heavy_ball:
            # The buffer adds up (1 − dampening) of each gradient, 1/(1 − m) times in all. Elsewhere averages of gradients are normalised,
            # and AdamW's shrinking has no momentum.
            learning_rate, momentum = learning_rate * (1 - group["dampening"]), float(group["momentum"])
        before = self.weight_decay
        self.state = self.rule(self.state, Signal(self.steps, loss, accuracy, learning_rate, momentum))
        if self.weight_decay != before:
            self.history.append((self.steps, self.weight_decay))
            self._write()

    def _write(self) -> None:
        groups = self._optimizer.param_groups
        if len(groups) != len(self._shares):
            raise checks.InputError(f"optimizer: expected its {len(self._shares)} groups, found {len(groups)}")
        for group, share in zip(groups, self._shares, strict=True):
            group["weight_decay"] = self.weight_decay * share


def decay_groups(
    module: nn.Module, weight_decay: float, *, exclude: Collection[str] = ("bias", "norm")
) -> list[dict[str, Any]]:
    """The parameters of a module in groups for an optimiser: those that are penalised, and those that are not.

    Args:
        module: parameters that need no gradient are left out.
        weight_decay: λ of the first group.
        exclude: `bias`: parameters whose name ends so; `norm`: all of a layer whose class is called a Norm. Empty for the published
            setting, which penalises everything.

    Raises:
        InputError: a λ that is not above 0, or another word in `exclude`.

    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    >>> [(group["weight_decay"], len(group["params"])) for group in decay_groups(network, 0.01)]
    [(0.01, 1), (0.0, 3)]
    """
    checks.positive("weight_decay", weight_decay)
    for word in exclude:
        checks.one_of("exclude", word, ["bias", "norm"])
    excluded = {
        id(parameter)
        for layer in module.modules()
        for name, parameter in layer.named_parameters(recurse=False)
        if ("bias" in exclude and name.endswith("bias"))
        or ("norm" in exclude and _NORMALISATION.search(type(layer).__name__))
    }
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    penalised = [parameter for parameter in trained if id(parameter) not in excluded]
    others = [parameter for parameter in trained if id(parameter) in excluded]
    groups = [{"params": penalised, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _number(name: str, value: Tensor | float) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    if hasattr(value, "numel") and value.numel() == 1:
        return float(value.item())
    found = f"a tensor of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
    raise checks.InputError(f"{name}: expected one number, found {found}")


def _mean_over_processes(loss: float, accuracy: float | None, *, like: Tensor) -> tuple[float, float | None]:
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return loss, accuracy
    import torch

    both = [loss, math.nan if accuracy is None else accuracy]
    total = torch.tensor(both, dtype=torch.float64, device=like.device)
    distributed.all_reduce(total)
    loss, mean = (total / distributed.get_world_size()).tolist()
    return loss, None if accuracy is None else mean
