"""AutoL2 as a callback of Lightning: `pip install 'deeplimit[lightning]'`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.training.l2.autol2 import AutoL2
from deeplimit.training.l2.rules import Rule

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as problem:
    raise ImportError(checks.no_library("lightning")) from problem

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


class AutoL2Callback(Callback):
    """Sets `weight_decay` of the optimiser while `Trainer.fit` runs, by the loss that `training_step` returns.

    The loss is that of the coming update: no forward pass is added. Where gradients are accumulated it is the mean over the batches of the
    update. Checkpoints hold the state, so that `fit(…, ckpt_path=…)` goes on bit for bit.

    Args:
        weight_decay, rule: as of `AutoL2`.
        accuracy: name under which `training_step` logs the accuracy of its batch, with `on_step=True`; None to follow the loss alone.

    Raises:
        InputError: when training starts, several optimisers, and what `AutoL2` refuses; later, an accuracy that is not logged.
    """

    def __init__(
        self, weight_decay: float | None = None, *, rule: Rule | None = None, accuracy: str | None = None
    ) -> None:
        self.auto: AutoL2 | None = None
        self._weight_decay, self._rule, self._accuracy = weight_decay, rule, accuracy
        self._loaded: Mapping[str, Any] = {}
        self._losses: list[Tensor] = []
        self._accuracies: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if len(trainer.optimizers) != 1:
            raise checks.InputError(f"optimizers: expected one, found {len(trainer.optimizers)}")
        self.auto = AutoL2(trainer.optimizers[0], self._weight_decay, rule=self._rule)
        if self._loaded:
            # Once: a second fit without a checkpoint has a new optimiser, and starts anew with it.
            self.auto.load_state_dict(self._loaded)
            self._loaded = {}

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if self.auto is None or not self.auto.due():
            return
        # Lightning has divided by the number of accumulated batches, and multiplied by the scale of half precision.
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else scaler.get_scale()
        self._losses.append(loss.detach() * trainer.accumulate_grad_batches / scale)
        if self._accuracy is not None:
            checks.one_of("accuracy", self._accuracy, trainer.callback_metrics)
            self._accuracies.append(trainer.callback_metrics[self._accuracy].detach())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if self.auto is None or (self.auto.due() and not self._losses):
            return  # a training step that returned no loss: the next one is measured in its place
        self.auto.step(_mean(self._losses), _mean(self._accuracies) if self._accuracies else None)
        self._losses, self._accuracies = [], []

    def state_dict(self) -> dict[str, Any]:
        return self.auto.state_dict() if self.auto is not None else dict(self._loaded)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict


def _mean(values: list[Tensor]) -> Tensor | float:
    """The mean; of nothing, where nothing is measured, any number."""
    return sum(values[1:], start=values[0]) / len(values) if values else 0.0
