from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput

from deeplimit.checks import InputError
from deeplimit.diagnosis.monitor import DepthMonitor
from deeplimit.diagnosis.transformers import DepthMonitorTrainerCallback
from tests.diagnosis.blocks import Residual, group_of


class Config(PretrainedConfig):
    model_type = "small residual"


class Classifier(PreTrainedModel):
    config_class = Config

    def __init__(self, config: Config | None = None, seed: int = 0, depth: int = 8) -> None:
        super().__init__(config or Config())
        self.network = Residual(seed=seed, depth=depth)
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        """Keep PyTorch's."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> SequenceClassifierOutput:
        logits = self.network(x)
        loss: Any = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(80, 6, generator=generator), torch.randint(3, (80,), generator=generator)


class InOrder(Trainer):
    def _get_train_sampler(self, *_: Any) -> Any:
        assert isinstance(self.train_dataset, list)
        return torch.utils.data.SequentialSampler(self.train_dataset)


def trainer_of(model: Classifier, epochs: int, *, folder: Any, **options: Any) -> Trainer:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.1,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
        "dataloader_pin_memory": False,
        **options,
    }
    x, y = samples()
    rows: Any = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
    return InOrder(model=model, args=TrainingArguments(**settings), train_dataset=rows)


def watching(model: Classifier, log: Any = None, **options: Any) -> DepthMonitorTrainerCallback:
    return DepthMonitorTrainerCallback(log, **{"group": group_of(model.network, "network."), "every": 4, **options})


def steps_of(callback: DepthMonitorTrainerCallback) -> list[int]:
    assert callback.monitor is not None
    return [measurement.step for measurement in callback.monitor.measurements]


def of_depth(trainer: Trainer) -> list[dict[str, float]]:
    return [row for row in trainer.state.log_history if "depth/order_ratio" in row]


def test_a_run_is_the_plain_loop(tmp_path):
    model, by_hand = Classifier(), Residual()
    trainer, callback = trainer_of(model, 2, folder=tmp_path), watching(model)
    trainer.add_callback(callback)
    trainer.train()
    monitor = DepthMonitor(by_hand, group=group_of(by_hand), every=4)
    optimizer = torch.optim.SGD(by_hand.parameters(), 0.1)
    x, y = samples()
    for a, b in [*zip(x.split(8), y.split(8), strict=True)] * 2:
        optimizer.zero_grad()
        F.cross_entropy(by_hand(a), b).backward()
        optimizer.step()
        monitor.step()
    monitor.close()
    assert callback.monitor is not None
    assert callback.monitor.measurements == monitor.measurements
    assert steps_of(callback) == [0, 4, 8, 12, 16, 20]


def test_the_numbers_go_into_the_history(tmp_path):
    model = Classifier()
    trainer = trainer_of(model, 1, folder=tmp_path)
    trainer.add_callback(watching(model))
    trainer.train()
    assert [row["step"] for row in of_depth(trainer)] == [4, 8, 10]


def test_the_numbers_go_where_the_trainers_go_and_take_nothing_away(tmp_path, capsys):
    model = Classifier()
    trainer = trainer_of(model, 1, folder=tmp_path, logging_strategy="steps", logging_steps=2)
    trainer.add_callback(watching(model, trainer.log))
    trainer.train()
    assert [row["step"] for row in of_depth(trainer)] == [4, 8, 10]
    assert [row["step"] for row in trainer.state.log_history if "loss" in row] == [2, 4, 6, 8, 10]
    assert capsys.readouterr().out.count("depth/order_ratio") == 3  # the callback that prints has heard of them


def test_accumulated_batches_are_one_step(tmp_path):
    model = Classifier()
    trainer, callback = trainer_of(model, 2, folder=tmp_path, gradient_accumulation_steps=4), watching(model, every=1)
    trainer.add_callback(callback)
    trainer.train()
    assert steps_of(callback) == [0, 1, 2, 3, 4, 5, 6]


def test_a_resumed_run_goes_on(tmp_path):
    whole, half, resumed = Classifier(), Classifier(), Classifier(seed=5)
    callbacks = []
    for model, epochs, resume in ((whole, 4, None), (half, 2, None), (resumed, 4, str(tmp_path / "checkpoint-20"))):
        options = {"save_strategy": "steps", "save_steps": 20} if model is half else {}
        trainer, callback = trainer_of(model, epochs, folder=tmp_path, **options), watching(model)
        trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=resume)
        callbacks.append(callback)
    undisturbed, _, found = callbacks
    assert steps_of(found) == steps_of(undisturbed) == list(range(0, 41, 4))
    assert found.monitor is not None
    assert undisturbed.monitor is not None
    for mine, other in zip(found.monitor.measurements, undisturbed.monitor.measurements, strict=True):
        assert mine.scalars["depth/movement"] == pytest.approx(other.scalars["depth/movement"], rel=1e-5)


def test_a_run_that_was_not_watched_may_be_resumed_under_watch(tmp_path):
    trainer_of(Classifier(), 1, folder=tmp_path, save_strategy="steps", save_steps=10).train()
    model = Classifier(seed=5)
    trainer, callback = trainer_of(model, 2, folder=tmp_path), watching(model)
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
    assert steps_of(callback)[-1] == 20


def test_a_second_training_starts_anew(tmp_path):
    model = Classifier()
    trainer, callback = trainer_of(model, 1, folder=tmp_path), watching(model)
    trainer.add_callback(callback)
    trainer.train()
    assert callback.monitor is not None
    first = callback.monitor.measurements
    trainer.train()
    assert steps_of(callback) == [0, 4, 8, 10]
    assert callback.monitor.measurements[1].scalars != first[1].scalars
    json.dumps(callback.state())


def test_what_cannot_be_watched_is_refused(tmp_path):
    model = Classifier(depth=2)
    trainer = trainer_of(model, 1, folder=tmp_path)
    trainer.add_callback(watching(model))
    with pytest.raises(InputError, match="blocks: expected at least 3 blocks, found 2"):
        trainer.train()
