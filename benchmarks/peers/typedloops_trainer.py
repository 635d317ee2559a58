"""typedloops as it comes; `TYPEDLOOPS_PURE=1` in the environment chooses its pure-Python core."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from benchmarks.peers.measure import Batch, NullBatch, Tasks, TinyNet
from typedloops import BatchProgress, Loop, Trainer


class NullModule:
    def training_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def validation_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def predict_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)


class TinyModule(TinyNet):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.sgd()


def fit(loader: Iterable[NullBatch]) -> None:
    Trainer(max_epochs=1).fit(NullModule(), loader)


def validate(loader: Iterable[NullBatch]) -> None:
    Trainer().validate(NullModule(), loader)


def predict(loader: Iterable[NullBatch]) -> None:
    Trainer().predict(NullModule(), loader)


def tiny(loader: Iterable[Batch]) -> None:
    Trainer(max_epochs=1).fit(TinyModule(), loader)


class Plain(Loop[[int], None]):
    i = 0
    n = 0

    @property
    def done(self) -> bool:
        return self.i >= self.n

    def on_run_start(self, n: int) -> None:
        self.i, self.n = 0, n

    def advance(self, n: int) -> None:
        self.i += 1


class Counting(Loop[[int], None]):
    state_fields = ("progress",)
    n = 0

    def __init__(self) -> None:
        self.progress = BatchProgress()

    @property
    def done(self) -> bool:
        return self.progress.current.completed >= self.n

    def on_run_start(self, n: int) -> None:
        self.n = n
        self.progress.reset_on_run()

    def advance(self, n: int) -> None:
        self.progress.increment_ready()
        self.progress.increment_started()
        self.progress.increment_processed()
        self.progress.increment_completed()


if __name__ == "__main__":
    Tasks(fit=fit, validate=validate, predict=predict, tiny=tiny, loop=Plain().run, counting=Counting().run).main()
