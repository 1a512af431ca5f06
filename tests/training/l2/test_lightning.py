from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from deeplimit.checks import InputError
from deeplimit.training.l2 import AutoL2, PublishedRule, decay_groups
from deeplimit.training.l2.lightning import AutoL2Callback

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),  # a hint, not a fault
    pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated:FutureWarning"),
]

RULE = PublishedRule(classes=3, every=2)


def data(batch=8):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(80, 5, generator=generator), torch.randint(3, (80,), generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=batch)


class Classifier(pl.LightningModule):
    def __init__(self, optimizer=torch.optim.AdamW, **options):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
        self.made = optimizer(decay_groups(self.network, 1.0), **{"lr": 0.01, **options})

    def training_step(self, batch, number):
        x, y = batch
        output = self.network(x)
        self.log("accuracy", (output.argmax(1) == y).float().mean(), on_step=True)
        return F.cross_entropy(output, y)

    def configure_optimizers(self):
        return self.made


class ByStep(Classifier):
    """Takes its batch by the step, since Lightning does not find its place in an epoch again, and saves in the midst of one."""

    def training_step(self, batch, number):
        return super().training_step(list(data())[self.global_step % 10], number)

    def on_train_batch_end(self, outputs, batch, number):
        if self.global_step == 23:
            self.trainer.save_checkpoint(f"{self.trainer.default_root_dir}/cut.ckpt")


def fit(module, callback, epochs, *, folder, **options):
    checkpoint, batch = options.pop("ckpt_path", None), options.pop("batch", 8)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, data(batch), ckpt_path=checkpoint)
    return trainer


def plain(module, epochs, *, batch=8, accumulate=1, accuracy=True):
    auto = AutoL2(module.made, 2.0, rule=RULE)
    for _ in range(epochs):
        batches = list(data(batch))
        for start in range(0, len(batches), accumulate):
            group = batches[start : start + accumulate]
            losses, accuracies = [], []
            for x, y in group:
                output = module.network(x)
                loss = F.cross_entropy(output, y) / accumulate
                loss.backward()
                losses.append(loss.detach() * accumulate)
                accuracies.append((output.argmax(1) == y).float().mean())
            count = len(group)
            auto.step(sum(losses) / count, sum(accuracies) / count if accuracy else None)
            module.made.step()
            module.made.zero_grad()
    return auto


def weights(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.network.parameters()])


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("accuracy", ["accuracy", None])
def test_a_run_is_the_plain_loop_bit_for_bit(optimizer, accuracy, tmp_path):
    module, by_hand = Classifier(optimizer), Classifier(optimizer)
    callback = AutoL2Callback(2.0, rule=RULE, accuracy=accuracy)
    fit(module, callback, 5, folder=tmp_path)
    auto = plain(by_hand, 5, accuracy=accuracy is not None)
    assert callback.auto is not None
    assert callback.auto.state == auto.state
    assert callback.auto.history == auto.history != []
    assert torch.equal(weights(module), weights(by_hand))
    assert not torch.equal(weights(module), weights(Classifier(optimizer)))


def test_accumulated_batches_are_one_measurement(tmp_path):
    module, by_hand = Classifier(), Classifier()
    callback = AutoL2Callback(2.0, rule=RULE, accuracy="accuracy")
    fit(module, callback, 6, folder=tmp_path, accumulate_grad_batches=4)
    auto = plain(by_hand, 6, accumulate=4)  # 10 batches an epoch: the last update of each has 2
    assert callback.auto is not None
    assert callback.auto.steps == 18
    assert callback.auto.state == auto.state
    assert torch.equal(weights(module), weights(by_hand))


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended:UserWarning")
def test_a_resumed_run_is_the_undisturbed_one(tmp_path):
    whole, undisturbed = ByStep(), AutoL2Callback(2.0, rule=RULE)
    fit(whole, undisturbed, 6, folder=tmp_path)
    fit(ByStep(), AutoL2Callback(2.0, rule=RULE), 3, folder=tmp_path)
    saved = torch.load(tmp_path / "cut.ckpt", weights_only=True)["callbacks"]
    assert saved["AutoL2Callback"]["steps"] == 23
    resumed, callback = ByStep(), AutoL2Callback(2.0, rule=RULE)
    fit(resumed, callback, 6, folder=tmp_path, ckpt_path=tmp_path / "cut.ckpt")
    assert callback.auto is not None
    assert undisturbed.auto is not None
    assert callback.auto.state == undisturbed.auto.state
    assert callback.auto.history == undisturbed.auto.history
    assert torch.equal(weights(resumed), weights(whole))


def test_the_scale_of_half_precision_is_taken_out(tmp_path):
    half, callback = MixedPrecision("16-mixed", "cpu"), AutoL2Callback(2.0)
    fit(Classifier(), callback, 1, folder=tmp_path, plugins=[half], limit_train_batches=1)
    assert callback.auto is not None
    assert half.scaler is not None
    assert half.scaler.get_scale() > 1000
    x, y = next(iter(data()))
    expected = float(F.cross_entropy(Classifier().network(x), y).detach())
    assert callback.auto.state.loss.latest == pytest.approx(expected, rel=1e-2)


def test_a_second_fit_starts_anew(tmp_path):
    callback = AutoL2Callback(2.0, rule=RULE)
    fit(Classifier(), callback, 5, folder=tmp_path)
    assert callback.auto is not None
    first = callback.auto.state
    fit(Classifier(), callback, 5, folder=tmp_path)
    assert callback.auto.state == first


def test_an_accuracy_that_is_not_logged_is_refused(tmp_path):
    with pytest.raises(InputError, match="accuracy: expected one of accuracy; found 'acc'"):
        fit(Classifier(), AutoL2Callback(2.0, accuracy="acc"), 1, folder=tmp_path)


def test_several_optimisers_are_refused(tmp_path):
    class Two(Classifier):
        automatic_optimization = False

        def configure_optimizers(self):
            return [self.made, torch.optim.SGD(self.network.parameters(), 0.1)]

    with pytest.raises(InputError, match="optimizers: expected one, found 2"):
        fit(Two(), AutoL2Callback(2.0), 1, folder=tmp_path)


def test_steps_without_a_loss_are_not_measured(tmp_path):
    class Reluctant(Classifier):
        def training_step(self, batch, number):
            return None if number == 0 else super().training_step(batch, number)

    callback = AutoL2Callback(2.0, rule=RULE)
    with pytest.warns(UserWarning, match="returned `None`"):
        fit(Reluctant(), callback, 1, folder=tmp_path)
    assert callback.auto is not None
    assert callback.auto.steps == 9
