from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput

from deeplimit.checks import InputError
from deeplimit.training.l2 import AutoL2, PublishedRule, RobustRule
from deeplimit.training.l2.transformers import AutoL2TrainerCallback

RULE = PublishedRule(classes=3, every=2)


class Config(PretrainedConfig):
    model_type = "small"


class Classifier(PreTrainedModel):
    config_class = Config

    def __init__(self, config=None):
        super().__init__(config or Config())
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))
        self.post_init()

    def _init_weights(self, module):
        """Keep PyTorch's."""

    def forward(self, x, labels=None):
        logits = self.network(x)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class Tokens(Classifier):
    """Takes the count of items of an update, and gives each batch its share of the mean, as language models do."""

    def forward(self, x, labels=None, num_items_in_batch=None, **_):
        logits = self.network(x)
        loss = F.cross_entropy(logits, labels, reduction="sum") / (num_items_in_batch or len(labels))
        return SequenceClassifierOutput(loss=loss, logits=logits)


def samples():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(80, 5, generator=generator), torch.randint(3, (80,), generator=generator)
    return x, y


class InOrder(Trainer):
    def _get_train_sampler(self, *_):
        assert isinstance(self.train_dataset, list)
        return torch.utils.data.SequentialSampler(self.train_dataset)


def train(model, callback, epochs, *, folder, resume=None, **options):
    x, y = samples()
    settings = {
        "output_dir": str(folder),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.01,
        "weight_decay": 1.0,
        "optim": "adamw_torch",
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
    trainer = InOrder(
        model=model,
        args=TrainingArguments(**settings),
        train_dataset=[{"x": a, "labels": b} for a, b in zip(x, y, strict=True)],
        callbacks=[callback],
    )
    trainer.train(resume_from_checkpoint=resume)
    return next(each for each in trainer.callback_handler.callbacks if isinstance(each, AutoL2TrainerCallback))


def plain(model, epochs, *, accumulate=1, accuracy=True):
    named = list(model.named_parameters())
    decay = [p for name, p in named if name in ("network.0.weight", "network.3.weight")]
    rest = [p for name, p in named if name not in ("network.0.weight", "network.3.weight")]
    groups = [{"params": decay, "weight_decay": 2.0}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    auto, (x, y) = AutoL2(optimizer, rule=RULE), samples()
    size = 8 * accumulate
    for start in [*range(0, 80, size)] * epochs:
        micro = list(zip(x[start : start + size].split(8), y[start : start + size].split(8), strict=True))
        losses, accuracies = [], []
        for a, b in micro:
            logits = model(a).logits
            loss = F.cross_entropy(logits, b)
            (loss / len(micro)).backward()
            losses.append(loss.detach())
            accuracies.append((logits.argmax(-1) == b).float().mean())
        auto.step(sum(losses) / len(micro), sum(accuracies) / len(micro) if accuracy else None)
        optimizer.step()
        optimizer.zero_grad()
    return auto


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_run_is_the_plain_loop_bit_for_bit(accumulate, tmp_path):
    model, by_hand = Classifier(), Classifier()
    done = train(model, AutoL2TrainerCallback(2.0, RULE), 6, folder=tmp_path, gradient_accumulation_steps=accumulate)
    auto = plain(by_hand, 6, accumulate=accumulate)
    assert done.auto is not None
    assert done.auto.steps == auto.steps
    assert done.auto.state == auto.state
    assert done.auto.history == auto.history != []
    assert torch.equal(weights(model), weights(by_hand))
    assert not torch.equal(weights(model), weights(Classifier()))


def test_a_loss_shared_over_the_update_adds_up(tmp_path):
    callback = AutoL2TrainerCallback(2.0, RULE)
    done = train(Tokens(), callback, 1, folder=tmp_path, gradient_accumulation_steps=4, max_steps=1)
    x, y = samples()
    assert done.auto is not None
    expected = float(F.cross_entropy(Classifier().network(x[:32]), y[:32]).detach())
    assert done.auto.state.loss.latest == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("restore", [False, True])
def test_a_resumed_run_is_the_undisturbed_one(restore, tmp_path):
    whole = Classifier()
    undisturbed = train(whole, AutoL2TrainerCallback(2.0, RULE), 6, folder=tmp_path).auto
    train(Classifier(), AutoL2TrainerCallback(2.0, RULE), 3, folder=tmp_path, save_strategy="steps", save_steps=23)
    resumed = Classifier()
    found = train(
        resumed,
        AutoL2TrainerCallback(2.0, RULE),
        6,
        folder=tmp_path,
        resume=str(tmp_path / "checkpoint-23"),
        restore_callback_states_from_checkpoint=restore,
    ).auto
    assert found is not None
    assert undisturbed is not None
    assert found.state == undisturbed.state
    assert found.history == undisturbed.history
    assert found.rule == undisturbed.rule
    assert torch.equal(weights(resumed), weights(whole))


def test_a_second_training_starts_anew_and_listens_once(tmp_path):
    callback, model = AutoL2TrainerCallback(2.0, RULE), Classifier()
    first = train(model, callback, 1, folder=tmp_path)
    assert first.auto is not None
    assert first.auto.steps == 10
    assert train(model, callback, 1, folder=tmp_path) is callback
    assert callback.auto is not None
    assert callback.auto.steps == 10
    assert not model._forward_hooks


def test_a_model_without_a_loss_is_refused(tmp_path):
    class Silent(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            return F.cross_entropy(model(inputs["x"]).logits, inputs["labels"])

    x, y = samples()
    arguments = TrainingArguments(str(tmp_path), weight_decay=1.0, use_cpu=True, report_to=[], disable_tqdm=True)
    data = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
    trainer = Silent(Classifier(), arguments, train_dataset=data, callbacks=[AutoL2TrainerCallback(2.0)])
    with pytest.raises(InputError, match="outputs of the model: expected a loss, found none"):
        trainer.train()


def test_a_trainer_without_decay_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a group with a weight_decay above 0"):
        train(Classifier(), AutoL2TrainerCallback(2.0), 1, folder=tmp_path, weight_decay=0.0)


def test_a_rule_goes_through_its_record():
    for rule in (RULE, RobustRule(horizon=7, memory=0.1)):
        record = AutoL2TrainerCallback(2.0, rule).state()["args"]
        assert AutoL2TrainerCallback(**record).state()["args"] == record
        assert record["rule"]["rule"] == type(rule).__name__
    assert AutoL2TrainerCallback().state()["args"] == {"weight_decay": None, "rule": None}
    with pytest.raises(InputError, match="rule: expected one of PublishedRule, RobustRule; found 'Mine'"):
        AutoL2TrainerCallback(2.0, {"rule": "Mine"})
