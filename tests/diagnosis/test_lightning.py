from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from deeplimit.checks import InputError
from deeplimit.diagnosis.lightning import DepthMonitorCallback
from deeplimit.diagnosis.monitor import DepthMonitor
from tests.diagnosis.blocks import Residual, group_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),  # a hint, not a fault
    pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated:FutureWarning"),
]


def data() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(80, 6, generator=generator), torch.randint(3, (80,), generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=8)


class Classifier(pl.LightningModule):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.network = Residual(seed=seed)

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        x, y = batch
        return F.cross_entropy(self.network(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(module: pl.LightningModule, callback: DepthMonitorCallback, epochs: int, **options: Any) -> pl.Trainer:
    checkpoint, folder = options.pop("ckpt_path", None), options.pop("folder")
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=[callback],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"logger": False, **options},
    )
    trainer.fit(module, data(), ckpt_path=checkpoint)
    return trainer


def watching(module: Classifier, **options: Any) -> DepthMonitorCallback:
    return DepthMonitorCallback("network", **{"group": group_of(module.network), "every": 4, **options})


def steps_of(callback: DepthMonitorCallback) -> list[int]:
    assert callback.monitor is not None
    return [measurement.step for measurement in callback.monitor.measurements]


def test_a_run_is_the_plain_loop(tmp_path):
    module, by_hand = Classifier(), Residual()
    callback = watching(module)
    fit(module, callback, 2, folder=tmp_path)
    monitor = DepthMonitor(by_hand, group=group_of(by_hand), every=4)
    optimizer = torch.optim.SGD(by_hand.parameters(), 0.1)
    for x, y in [*data()] * 2:
        optimizer.zero_grad()
        F.cross_entropy(by_hand(x), y).backward()
        optimizer.step()
        monitor.step()
    monitor.close()
    assert callback.monitor is not None
    assert callback.monitor.measurements == monitor.measurements
    assert steps_of(callback) == [0, 4, 8, 12, 16, 20]
    assert np.array_equal(callback.monitor.picture(), monitor.picture())


def test_the_numbers_go_to_the_loggers_whatever_their_interval(tmp_path):
    logger, module = CSVLogger(tmp_path), Classifier()
    fit(module, watching(module, every=7), 2, folder=tmp_path, logger=logger, log_every_n_steps=10)
    with Path(logger.log_dir, "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [7, 14, 20]
    assert all(0 < float(row["depth/order_ratio"]) < 4 for row in rows)


def test_a_log_of_ones_own_is_called_instead(tmp_path):
    rows: list[int] = []
    module = Classifier()
    fit(module, watching(module, log=lambda numbers, step: rows.append(step)), 1, folder=tmp_path)
    assert rows == [4, 8, 10]


def test_accumulated_batches_are_one_step(tmp_path):
    module = Classifier()
    callback = watching(module, every=1)
    fit(module, callback, 2, folder=tmp_path, accumulate_grad_batches=4)
    assert steps_of(callback) == [0, 1, 2, 3, 4, 5, 6]


def test_all_of_a_module_is_watched_under_its_own_names(tmp_path):
    module = Classifier()
    callback = DepthMonitorCallback(group=group_of(module.network, "network."), every=5)
    fit(module, callback, 1, folder=tmp_path)
    assert steps_of(callback) == [0, 5, 10]


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended:UserWarning")
def test_a_resumed_run_goes_on(tmp_path):
    whole = Classifier()
    undisturbed = watching(whole)
    fit(whole, undisturbed, 4, folder=tmp_path)
    half = Classifier()
    fit(half, watching(half), 2, folder=tmp_path).save_checkpoint(tmp_path / "half.ckpt")
    saved = torch.load(tmp_path / "half.ckpt", weights_only=True)["callbacks"]
    assert saved["DepthMonitorCallback"]["steps"] == 20
    resumed = Classifier(seed=5)
    callback = watching(resumed)
    fit(resumed, callback, 4, folder=tmp_path, ckpt_path=tmp_path / "half.ckpt")
    assert steps_of(callback) == steps_of(undisturbed) == list(range(0, 41, 4))
    assert callback.monitor is not None
    assert undisturbed.monitor is not None
    for found, expected in zip(callback.monitor.measurements, undisturbed.monitor.measurements, strict=True):
        assert found.scalars["depth/movement"] == pytest.approx(expected.scalars["depth/movement"], rel=1e-5)


def test_a_second_fit_starts_anew(tmp_path):
    first = Classifier()
    callback = watching(first)
    fit(first, callback, 1, folder=tmp_path)
    assert callback.monitor is not None
    before = callback.monitor.measurements
    fit(Classifier(), callback, 1, folder=tmp_path)
    assert callback.monitor.measurements == before


def test_what_cannot_be_watched_is_refused(tmp_path):
    module = Classifier()
    module.network = Residual(depth=2)
    with pytest.raises(InputError, match="blocks: expected at least 3 blocks, found 2"):
        fit(module, watching(module), 1, folder=tmp_path)
