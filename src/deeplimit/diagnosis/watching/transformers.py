"""DepthMonitor as a callback of Hugging Face's Trainer: `pip install 'deeplimit[transformers]'`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from deeplimit import checks
from deeplimit.diagnosis.watching.monitor import DepthMonitor

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import ExportableState
except ImportError as problem:
    raise ImportError(checks.no_library("transformers")) from problem


class DepthMonitorTrainerCallback(TrainerCallback, ExportableState):
    """Watches the depth of a model while `Trainer.train` runs.

    A callback cannot reach the Trainer that calls it. With `trainer.add_callback(DepthMonitorTrainerCallback(trainer.log))` the numbers go
    where the Trainer's own go: W&B, TensorBoard, the console, `state.log_history`; without `log`, to `state.log_history` alone.

    Steps are `state.global_step`. The end of the training is measured, too; the picture is then at `callback.monitor.image()`. Checkpoints
    hold the state of the monitor, so that `train(resume_from_checkpoint=…)` goes on. Where the arguments ask the Trainer to restore
    callbacks from a checkpoint, it makes a new one, which knows neither `log` nor options: leave that out. One such callback a Trainer.

    Args:
        log: `trainer.log`, or what else takes a dictionary of numbers.
        options: as of `DepthMonitor`: `batch`, `max_overhead`, `every`, `warn`, …

    Raises:
        InputError: when training starts, what `DepthMonitor` refuses.
    """

    def __init__(self, log: Callable[[dict[str, float]], object] | None = None, **options: Any) -> None:
        self.monitor: DepthMonitor | None = None
        self._log, self._options = log, options

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        def log(numbers: dict[str, float], step: int) -> None:
            if self._log is None:
                state.log_history.append({**numbers, "step": step})
                return
            # Logging says that what was to be logged has been: the Trainer's own numbers of this step have not.
            asked = control.should_log
            self._log(numbers)
            control.should_log = asked

        self.monitor = DepthMonitor(kwargs["model"], **{**self._options, "log": log})
        # A list at first, for which its type stands; a dictionary by class from then on.
        callbacks = cast(Mapping[str, Any], state.stateful_callbacks)
        saved = callbacks.get(type(self).__name__)  # none in a checkpoint of a run that was not watched
        if saved is not None and saved["attributes"]["saved"] is not None and state.global_step > 0:
            self.monitor.load_state_dict(saved["attributes"]["saved"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.monitor is not None:
            self.monitor.step(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.monitor is not None:
            self.monitor.close()

    def state(self) -> dict[str, Any]:
        """What the Trainer writes to a checkpoint, in plain numbers."""
        return {
            "args": {},
            "attributes": {"saved": None if self.monitor is None else self.monitor.state_dict()},
        }
