"""Lightning 2: `barebones=True`, which switches off its logger, bar, summary, checkpoints and checks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from benchmarks.peers.measure import Batch, NullBatch, Tasks, TinyNet


class NullModule(LightningModule):
    """Optimizes by itself, which is nothing: Lightning's automatic optimization would want a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def validation_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def predict_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> None:
        return None


class TinyModule(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.tiny = TinyNet()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.tiny.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.tiny.sgd()


def trainer() -> Trainer:
    return Trainer(max_epochs=1, accelerator="cpu", devices=1, barebones=True)


def fit(loader: Iterable[NullBatch]) -> None:
    trainer().fit(NullModule(), loader)


def validate(loader: Iterable[NullBatch]) -> None:
    trainer().validate(NullModule(), loader, verbose=False)


def predict(loader: Iterable[NullBatch]) -> None:
    trainer().predict(NullModule(), loader)


def tiny(loader: Iterable[Batch]) -> None:
    trainer().fit(TinyModule(), loader)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    Tasks("lightning", fit=fit, validate=validate, predict=predict, tiny=tiny).main()
