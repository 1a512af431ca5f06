"""DepthMonitor as a callback of Lightning: `pip install 'deeplimit[lightning]'`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.diagnosis.watching.monitor import DepthMonitor

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as problem:
    raise ImportError(checks.no_library("lightning")) from problem

if TYPE_CHECKING:
    from torch import nn


class DepthMonitorCallback(Callback):
    """Watches the depth of a network while `Trainer.fit` runs; its numbers go to all loggers of the trainer.

    Steps are those of the optimiser, `trainer.global_step`. The end of the training is measured, too; the picture is then at
    `callback.monitor.image()`. Checkpoints hold the state, so that `fit(…, ckpt_path=…)` goes on.

    Args:
        model: the part of the LightningModule to watch, by its path, such as `network.encoder`; empty for all of it.
        options: as of `DepthMonitor`: `batch`, `max_overhead`, `every`, `warn`, …; a `log` there is called in place of the loggers.

    Raises:
        InputError: when training starts, what `DepthMonitor` refuses.
    """

    def __init__(self, model: str = "", **options: Any) -> None:
        self.monitor: DepthMonitor | None = None
        self._model, self._options = model, options
        self._loaded: Mapping[str, Any] = {}
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        watched: nn.Module = pl_module.get_submodule(self._model)
        self.monitor = DepthMonitor(watched, **{"log": functools.partial(_log, trainer), **self._options})
        if self._loaded:
            # Once: a second fit without a checkpoint starts anew.
            self.monitor.load_state_dict(self._loaded)
            self._loaded = {}
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # A batch whose gradients are accumulated moves nothing.
        if self.monitor is not None and trainer.global_step != self._step:
            self._step = trainer.global_step
            self.monitor.step(self._step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor is not None:
            self.monitor.close()

    def state_dict(self) -> dict[str, Any]:
        return self.monitor.state_dict() if self.monitor is not None else dict(self._loaded)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict


def _log(trainer: Trainer, numbers: dict[str, float], step: int) -> None:
    """To the loggers themselves: `log_dict` would drop what does not fall on a multiple of `log_every_n_steps`."""
    for logger in trainer.loggers:
        logger.log_metrics(numbers, step=step)
