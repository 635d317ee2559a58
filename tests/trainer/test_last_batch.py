"""Which batch is the last, and how many are fetched, for loaders of every kind and through every entry point."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, get_worker_info

import typedloops
from typedloops.errors import LoaderError

# The loaders here iterate as Any.
Trainer: Any = typedloops.Trainer


class Source:
    """`count` batches, counted as they are fetched; `length` is what it says of itself."""

    def __init__(self, count: int, length: int | None) -> None:
        self.count, self.length, self.fetched = count, length, 0

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(self.count):
            self.fetched += 1
            yield torch.full((1,), float(i))

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("it has no length")
        return self.length


class Watching(nn.Module):
    """At each step, whether the batch is said to be the last and how many had been fetched."""

    automatic_optimization = False

    def __init__(self, trainer: Any, source: Source | None = None) -> None:
        super().__init__()
        self.trainer, self.source = trainer, source
        self.last: list[bool] = []
        self.fetched: list[int] = []

    def watch(self, loop: Any) -> None:
        self.last.append(loop.batch_progress.is_last_batch)
        if self.source is not None:
            self.fetched.append(self.source.fetched)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.watch(self.trainer.fit_loop.epoch_loop)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.watch(self.trainer.validate_loop.epoch_loop)

    def predict_step(self, batch: Any, batch_idx: int) -> None:
        self.watch(self.trainer.predict_loop.epoch_loop)

    def configure_optimizers(self) -> None: ...


def closed_form(count: int, length: int | None, limit: int | None) -> tuple[list[bool], list[int]]:
    """Of each step, whether its batch is taken for the last and how many batches had been fetched.

    What a loader says of its length is believed up to there; from there on, and without a length, the
    next batch is fetched to know, except at the limit.
    """
    taken = count if limit is None else min(count, limit)
    told = -1 if length is None else length if limit is None else min(length, limit)
    last, fetched, most = [], [], 0
    for index in range(taken):
        if index < told:
            last.append(index + 1 == told)
            most = max(most, index + 1)
        else:
            last.append(index + 1 in (count, limit))
            most = max(most, min(index + 2, taken))
        fetched.append(most)
    return last, fetched


@settings(max_examples=60)
@given(
    count=st.integers(1, 6),
    length=st.none() | st.integers(0, 8),
    limit=st.none() | st.integers(1, 8),
    entry=st.sampled_from(["fit", "validate", "predict"]),
)
def test_a_loader_of_any_length_in_closed_form(count: int, length: int | None, limit: int | None, entry: str) -> None:
    source = Source(count, length)
    bound = 1.0 if limit is None else limit
    trainer = Trainer(max_epochs=1, limit_train_batches=bound, limit_val_batches=bound, limit_predict_batches=bound)
    model = Watching(trainer, source)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*its length is")
        getattr(trainer, entry)(model, source)
    last, fetched = closed_form(count, length, limit)
    assert model.last == last
    assert model.fetched == fetched
    assert source.fetched == len(last)


@given(count=st.integers(1, 12), limit=st.none() | st.integers(1, 12), sized=st.booleans(), epochs=st.integers(1, 3))
@settings(max_examples=40)
def test_with_a_right_length_or_none_exactly_the_last_is_said_to_be_it(
    count: int, limit: int | None, sized: bool, epochs: int
) -> None:
    source = Source(count, count if sized else None)
    trainer = Trainer(max_epochs=epochs, limit_train_batches=1.0 if limit is None else limit)
    model = Watching(trainer, source)
    trainer.fit(model, source)
    taken = count if limit is None else min(count, limit)
    assert model.last == ([False] * (taken - 1) + [True]) * epochs
    assert source.fetched == taken * epochs


class Streamed(IterableDataset[Tensor]):
    """`count` items, shared out to the workers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return iter([torch.full((1,), float(i)) for i in range(first, self.count, step)])


class SizedStream(Streamed):
    def __len__(self) -> int:
        return self.count


DATASET = TensorDataset(torch.zeros(10, 1))

LOADERS: dict[str, tuple[Callable[[], object], int]] = {
    # How to make one, and how many batches it has.
    "items": (lambda: DataLoader(DATASET, batch_size=4), 3),
    "items, whole batches": (lambda: DataLoader(DATASET, batch_size=4, drop_last=True), 2),
    "items, workers": (lambda: DataLoader(DATASET, batch_size=4, num_workers=2), 3),
    "items, persistent workers": (lambda: DataLoader(DATASET, batch_size=3, num_workers=2, persistent_workers=True), 4),
    "items, no batches made": (lambda: DataLoader(DATASET, batch_size=None), 10),
    "stream": (lambda: DataLoader(Streamed(10), batch_size=4), 3),
    "stream, workers": (lambda: DataLoader(Streamed(12), batch_size=3, num_workers=2), 4),
    "stream with a length": (lambda: DataLoader(SizedStream(10), batch_size=4), 3),
    "stream with a length, whole batches": (lambda: DataLoader(SizedStream(10), batch_size=4, drop_last=True), 2),
    "stream with a length, workers": (lambda: DataLoader(SizedStream(12), batch_size=3, num_workers=2), 4),
    "stream with a length, one batch": (lambda: DataLoader(SizedStream(4), batch_size=4), 1),
}


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("limit", [None, 2])
def test_loaders_of_torch(name: str, limit: int | None) -> None:
    make, count = LOADERS[name]
    trainer = Trainer(max_epochs=2, limit_train_batches=1.0 if limit is None else limit)
    model = Watching(trainer)
    trainer.fit(model, make())
    taken = count if limit is None else min(count, limit)
    assert model.last == ([False] * (taken - 1) + [True]) * 2


def test_a_stream_whose_workers_drop_their_last_batches_is_told() -> None:
    # 10 items are 3 whole batches of 3 for torch, and 1 for each of two workers with 5 of them.
    trainer = Trainer(max_epochs=1)
    model = Watching(trainer)
    loader: DataLoader[Tensor] = DataLoader(SizedStream(10), batch_size=3, num_workers=2, drop_last=True)
    with pytest.warns(UserWarning, match="train dataloader: its length is 3 and it gave 2 batches"):
        trainer.fit(model, loader)
    assert model.last == [False, False]


@pytest.mark.parametrize("length", [None, 0, 2])
@pytest.mark.parametrize("entry", ["fit", "validate", "predict"])
def test_an_empty_loader_is_an_error_whatever_it_says(entry: str, length: int | None) -> None:
    trainer = Trainer(max_epochs=1)
    with pytest.raises(LoaderError, match=r"dataloader: it gave no batches\. Is the dataset empty"):
        getattr(trainer, entry)(Watching(trainer), Source(0, length))
