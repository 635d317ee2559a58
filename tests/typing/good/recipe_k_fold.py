"""Folds relate items, loaders and modules, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_type

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tests.typing.good.models import Batch, Classifier, Points, collate
from typedloops import BatchLoader, Callback, FitLoop, FitLoopOf, FitResult, LoopProtocol, PredictionLoop, Trainer
from typedloops.recipes.k_fold import (
    BatchLoaders,
    EnsembleModule,
    FoldResult,
    KFoldLoop,
    KFoldLoopOf,
    KFoldResult,
    Part,
    RandomFolds,
    Splitter,
    Summary,
)

items: list[Batch] = [(torch.randn(4), torch.tensor(0)) for _ in range(6)]


def make(fold: int) -> Classifier:
    return Classifier()


def loaders(train: Part[tuple[Tensor, int]], val: Part[tuple[Tensor, int]]) -> tuple[Iterable[Batch], Iterable[Batch]]:
    first: Tensor = next(iter(train))[0]
    assert first.shape == (4,)
    return BatchLoader(train, collate_fn=collate), BatchLoader(val, collate_fn=collate)


def callbacks(fold: int) -> list[Callback[nn.Module]]:
    return []


splitter: Splitter = RandomFolds(2, stratified=True)
points: Dataset[tuple[Tensor, int]] = Points()
trainer = Trainer(max_epochs=1, fit_loop=KFoldLoop(2, make_callbacks=callbacks))
assert_type(trainer, "Trainer[KFoldLoop]")

result = trainer.fit(make, items)
assert_type(result, KFoldResult[Tensor])
assert_type(trainer.fit(make, items, BatchLoaders(2), labels=torch.zeros(6)), KFoldResult[Tensor])
assert_type(trainer.fit(make, Points(), loaders), KFoldResult[Tensor])
assert_type(KFoldLoop(splitter, fit_loop=FitLoop(1)).run(make, items, labels=[0, 1] * 3), KFoldResult[Tensor])

assert_type(result.folds, tuple[FoldResult[Tensor], ...])
assert_type(result.folds[0].fit, FitResult[Tensor])
assert_type(result.metrics, dict[str, Summary])
assert_type(result.modules(make), list[Classifier])

loader: list[Batch] = [(torch.randn(2, 4), torch.zeros(2, dtype=torch.int64))]


def count(predictions: Sequence[Tensor]) -> int:
    return len(predictions)


counting = EnsembleModule(result.modules(make), count)
ensemble: EnsembleModule[Batch, Tensor, Tensor] = EnsembleModule(result.modules(make), lambda labels: labels[0])
assert_type(Trainer().predict(ensemble, loader), list[Tensor])
assert_type(Trainer().predict(counting, loader), list[int])


def own(fit: FitLoopOf[Classifier, Batch, Tensor]) -> KFoldLoopOf[Classifier, Batch, object, Tensor]:
    return KFoldLoopOf(fit, 2)


def above(
    fit: LoopProtocol[[Classifier, Iterable[Batch], Iterable[str]], FitResult[int]],
) -> KFoldLoopOf[Classifier, Batch, str, int]:
    loop: KFoldLoopOf[Classifier, Batch, str, int] = KFoldLoopOf(fit)
    loop.connect(fit_loop=fit, predict_loop=PredictionLoop())
    return loop
