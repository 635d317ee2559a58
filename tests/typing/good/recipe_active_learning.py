"""Active learning relates a module, a pool and an oracle; its result has the labels of the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_type

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import FitLoop, PredictionLoop, TestLoop, Trainer, ValidationLoop
from typedloops.recipes.active_learning import (
    Acquisition,
    ActiveLearningLoop,
    ActiveLearningResult,
    KnownLabels,
    LabelPool,
    Oracle,
    TensorPool,
    entropy_sampling,
    least_confidence_sampling,
    margin_sampling,
    random_sampling,
)


class Scorer(nn.Module):
    """Trains on pairs, predicts for inputs alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.training_step(batch, batch_idx)}

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch)
        return logits

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class Texts:
    """Another kind of pool: items, batches and labels of its own."""

    def __len__(self) -> int:
        return 4

    def labelled(self, indices: Sequence[int], labels: Sequence[str]) -> list[Batch]:
        return batches(len(labels))

    def unlabelled(self, indices: Sequence[int]) -> list[Batch]:
        return [(torch.randn(len(indices), 4), torch.zeros(len(indices), dtype=torch.int64))]


def person(indices: Sequence[int]) -> Iterator[str]:
    for index in indices:
        yield f"label {index}"


def largest(predictions: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(predictions)).float()


acquisitions: list[Acquisition[Tensor]] = [
    entropy_sampling,
    least_confidence_sampling,
    margin_sampling,
    random_sampling,
    largest,
]
pool, oracle = TensorPool(torch.randn(8, 4), batch_size=2), KnownLabels([0, 1] * 4)
as_pool: LabelPool[Batch, Tensor, int] = pool
as_oracle: Oracle[int] = oracle
texts: LabelPool[Batch, Batch, str] = Texts()

learning = ActiveLearningLoop(margin_sampling, initial=2, query=2, budget=4, fit_loop=FitLoop(max_epochs=1))
assert_type(learning, ActiveLearningLoop[Tensor])
trainer = Trainer(fit_loop=learning)
assert_type(trainer, Trainer[ActiveLearningLoop[Tensor], ValidationLoop, TestLoop, PredictionLoop])
result = trainer.fit(Scorer(), pool, oracle)
assert_type(result, ActiveLearningResult[int])
assert_type(result.labels, tuple[int, ...])
assert_type(result.rounds[0].labels, int)
assert_type(trainer.fit(Scorer(), pool, oracle, batches(), ckpt_path=None), ActiveLearningResult[int])
assert_type(learning.run(Scorer(), pool, oracle, batches()), ActiveLearningResult[int])

by_size = ActiveLearningLoop(largest, initial=[0, 1], query=1, max_rounds=2)
by_size.connect(fit_loop=FitLoop(max_epochs=1), predict_loop=PredictionLoop())
assert_type(by_size.run(Classifier(), Texts(), person), ActiveLearningResult[str])
