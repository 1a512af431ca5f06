"""AutoL2 as a callback of Hugging Face's Trainer: `pip install 'deeplimit[transformers]'`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from deeplimit import checks
from deeplimit.training.l2.autol2 import AutoL2
from deeplimit.training.l2.rules import PublishedRule, RobustRule, Rule

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import ExportableState
except ImportError as problem:
    raise ImportError(checks.no_library("transformers")) from problem

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

_RULES: tuple[type[Rule], ...] = (PublishedRule, RobustRule)


class AutoL2TrainerCallback(TrainerCallback, ExportableState):
    """Sets `weight_decay` of the optimiser while `Trainer.train` runs, by the `loss` in the outputs of the model.

    The loss is that of the coming update, read as the model computes it: no forward pass is added. Where gradients are accumulated it is
    the mean over the batches of the update. Where `labels` are one class for each row of `logits`, as in classification, their accuracy is
    the second signal. Biases and normalisation layers are not penalised: the Trainer has put them in a group of coefficient 0, which stays
    so; `TrainingArguments.weight_decay` must be above 0 to tell that group from the other.

    Checkpoints hold the state, so that `train(resume_from_checkpoint=…)` goes on bit for bit, whether or not the arguments ask the Trainer
    to restore callbacks. One such callback a Trainer.

    Args:
        weight_decay: as of `AutoL2`: λ at the start, or None for that of the arguments.
        rule: as of `AutoL2`; also what `dataclasses.asdict` makes of one, with its class under `rule`, as checkpoints hold it.

    Raises:
        InputError: what `AutoL2` refuses; a model whose outputs have no `loss`.
    """

    def __init__(self, weight_decay: float | None = None, rule: Rule | Mapping[str, Any] | None = None) -> None:
        self.auto: AutoL2 | None = None
        self._weight_decay, self._rule = weight_decay, _rule(rule) if isinstance(rule, Mapping) else rule
        self._hook: RemovableHandle | None = None
        self._losses: list[Tensor] = []
        self._accuracies: list[Tensor] = []
        self._summed = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model: nn.Module = kwargs["model"]
        optimizer: Optimizer = kwargs["optimizer"]
        # Accelerate wraps the optimiser; AutoL2 asks for its class.
        self.auto = AutoL2(getattr(optimizer, "optimizer", optimizer), self._weight_decay, rule=self._rule)
        # A list at first, for which its type stands; a dictionary by class from then on.
        callbacks = cast(Mapping[str, Any], state.stateful_callbacks)
        saved = callbacks[type(self).__name__]["attributes"]["saved"]
        if saved is not None and state.global_step > 0:
            self.auto.load_state_dict(saved)
        if self._hook is not None:
            self._hook.remove()  # of a run that was interrupted
        self._hook = model.register_forward_hook(self._listen, with_kwargs=True)
        self._losses, self._accuracies = [], []

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self.auto is not None
        if self.auto.due() and not self._losses:
            raise checks.InputError("outputs of the model: expected a loss, found none; without it λ has no signal")
        count = 1 if self._summed else max(1, len(self._losses))
        accuracy = sum(self._accuracies) / len(self._accuracies) if self._accuracies else None
        self.auto.step(sum(self._losses) / count, accuracy)
        self._losses, self._accuracies = [], []

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def state(self) -> dict[str, Any]:
        """What the Trainer writes to a checkpoint, in plain numbers."""
        rule = self._rule
        fields = None if rule is None else {"rule": type(rule).__name__, **dataclasses.asdict(rule)}  # type: ignore[call-overload]
        return {
            "args": {"weight_decay": self._weight_decay, "rule": fields},
            "attributes": {"saved": None if self.auto is None else self.auto.state_dict()},
        }

    def _listen(self, model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Any) -> None:
        """Remember loss and accuracy of one batch of the coming update."""
        if self.auto is None or not model.training or not self.auto.due() or not isinstance(outputs, Mapping):
            return
        loss: Tensor | None = outputs.get("loss")
        logits: Any = outputs.get("logits")
        labels: Any = kwargs.get("labels")
        if loss is None:
            return
        self._losses.append(loss.detach().mean())
        # A loss that the model has divided by the items of all batches of the update is its share of the mean.
        self._summed = kwargs.get("num_items_in_batch") is not None
        if _are_classes(logits, labels):
            self._accuracies.append((logits.detach().argmax(-1) == labels).float().mean())


def _are_classes(logits: Any, labels: Any) -> bool:
    """Whether labels are one class for each row of logits."""
    from torch import Tensor

    both = isinstance(logits, Tensor) and isinstance(labels, Tensor)
    return both and logits.ndim == 2 and logits.shape[1] > 1 and labels.ndim == 1 and not labels.is_floating_point()


def _rule(values: Mapping[str, Any]) -> Rule:
    kinds = {kind.__name__: kind for kind in _RULES}
    name = checks.one_of("rule", values.get("rule", ""), kinds)
    return kinds[name](**{field: value for field, value in values.items() if field != "rule"})
