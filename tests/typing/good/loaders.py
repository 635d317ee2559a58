"""Sources of batches: their type is that of what they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_type

import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from tests.typing.good.models import Batch, Classifier, Points, batches, collate, loader
from typedloops import BatchLoader, FitResult, Trainer
from typedloops.protocols import Loaders, SizedLoader

model = Classifier()
trainer = Trainer(max_epochs=1)

typed = BatchLoader(Points(), collate_fn=collate, batch_size=2, shuffle=True, drop_last=True)
assert_type(typed, BatchLoader[Batch])
assert_type(next(iter(typed)), Batch)
assert_type(list(typed), list[Batch])
assert_type(len(typed), int)
for batch in typed:
    assert_type(batch, Batch)
assert_type(trainer.fit(model, typed), FitResult[Tensor])

default_collate: BatchLoader[Batch] = BatchLoader(TensorDataset(torch.randn(4, 4), torch.tensor([0, 1, 0, 1])))
assert_type(trainer.fit(model, default_collate, [typed, default_collate]), FitResult[Tensor])
assert_type(BatchLoader[Batch](Points(), batch_size=2), BatchLoader[Batch])

points = Points()
sampled = BatchLoader(points, collate_fn=collate, sampler=SequentialSampler(points), generator=torch.Generator())
assert_type(sampled, BatchLoader[Batch])
batch_sampled = BatchLoader(points, collate_fn=collate, batch_sampler=[[0, 1], [2, 3]])
assert_type(batch_sampled, BatchLoader[Batch])
assert_type(BatchLoader(Points(), collate_fn=len), BatchLoader[int])

sized: SizedLoader[Batch] = typed
wider: BatchLoader[tuple[object, ...]] = typed
one: Loaders[Batch] = typed
several: Loaders[Batch] = [typed, typed]


class Endless:
    """Without a length."""

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield from batches()


def generated() -> Iterator[Batch]:
    yield from batches()


def from_anywhere(source: Iterable[Batch]) -> FitResult[Tensor]:
    return trainer.fit(model, source)


# torch's own loader iterates as Any: it is accepted unchecked.
assert_type(
    trainer.fit(model, DataLoader(TensorDataset(torch.randn(4, 4), torch.tensor([0, 1, 0, 1])))), FitResult[Tensor]
)
assert_type(trainer.fit(model, batches()), FitResult[Tensor])
assert_type(trainer.fit(model, tuple(batches())), FitResult[Tensor])
assert_type(trainer.fit(model, generated()), FitResult[Tensor])
assert_type(Trainer(max_epochs=1, limit_train_batches=2).fit(model, Endless()), FitResult[Tensor])
assert_type(from_anywhere(loader()), FitResult[Tensor])
