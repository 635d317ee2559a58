"""Micro-batches have the type of the batch."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import assert_type

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import MicroBatchOptimization, Trainer, shrinking


def split(batch: Batch, size: int) -> list[Batch]:
    return [(batch[0][start : start + size], batch[1][start : start + size]) for start in range(0, len(batch[0]), size)]


def tokens(batch: Batch) -> float:
    return float(len(batch[1]))


loop: MicroBatchOptimization[Batch, Tensor] = MicroBatchOptimization(2, split=split, count=tokens)
trainer = Trainer(max_epochs=1)
trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=loop)
trainer.fit(Classifier(), batches())

assert_type(shrinking(4, lambda size: [str(size)]), tuple[int, list[str]])
