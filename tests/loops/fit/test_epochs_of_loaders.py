"""What depends on the epoch is told which it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler, TensorDataset

import typedloops
from tests.modules import Batch, Classifier, Loader, batches
from typedloops import Callback, FitLoop, TrainerView
from typedloops.errors import EscapedStopIteration

# The loaders here iterate as Any.
Trainer: Any = typedloops.Trainer
Combined: Any = typedloops.CombinedLoader

DATASET = TensorDataset(torch.randn(8, 4), torch.arange(8) % 3)


class Telling:
    """Keeps the epochs that it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.told.append(epoch)


class TellingDataset(Telling, TensorDataset):
    def __init__(self) -> None:
        Telling.__init__(self)
        TensorDataset.__init__(self, *DATASET.tensors)


class TellingSampler(Telling, SequentialSampler):
    def __init__(self) -> None:
        Telling.__init__(self)
        SequentialSampler.__init__(self, DATASET)


class TellingBatchSampler(Telling, BatchSampler):
    def __init__(self, sampler: SequentialSampler) -> None:
        Telling.__init__(self)
        BatchSampler.__init__(self, sampler, 2, drop_last=False)


class TellingLoader(Telling, Loader):
    def __init__(self) -> None:
        Telling.__init__(self)
        Loader.__init__(self, batches(1))


class StoppingLoader(TellingLoader):
    def set_epoch(self, epoch: int) -> None:
        raise StopIteration


def test_a_distributed_sampler_shuffles_by_the_epoch() -> None:
    seen: list[list[float]] = []

    class Model(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
            seen.append(batch[0][:, 0].tolist())
            return super().training_step(batch, batch_idx)

    sampler: DistributedSampler[Any] = DistributedSampler(DATASET, num_replicas=2, rank=0, seed=7)
    Trainer(max_epochs=3).fit(Model(), DataLoader(DATASET, batch_size=4, sampler=sampler))
    expected = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        expected.append([float(DATASET[i][0][0]) for i in sampler])
    assert seen == expected
    assert seen[0] != seen[1]


def test_every_part_of_a_loader_is_told_once_an_epoch() -> None:
    dataset, sampler = TellingDataset(), TellingSampler()
    batch_sampler = TellingBatchSampler(sampler)
    Trainer(max_epochs=3).fit(Classifier(), DataLoader(dataset, batch_sampler=batch_sampler))
    assert dataset.told == sampler.told == batch_sampler.told == [0, 1, 2]
    sampler = TellingSampler()  # it is that of the loader's batch sampler as well
    Trainer(max_epochs=2).fit(Classifier(), DataLoader(DATASET, sampler=sampler))
    assert sampler.told == [0, 1]


def test_a_loader_of_ones_own_is_told_with_and_without_a_trainer() -> None:
    loader = TellingLoader()
    FitLoop(max_epochs=2).run(Classifier(), loader)
    Trainer(max_epochs=1).fit(Classifier(), loader)
    assert loader.told == [0, 1, 0]


@pytest.mark.parametrize("indexed", [False, True])
def test_the_loaders_of_a_combination_are_told(indexed: bool) -> None:
    class Model(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return super().training_step(batch[1] if indexed else batch, batch_idx)

    one, inner, sampler = TellingLoader(), TellingLoader(), TellingSampler()
    others = Combined([inner, DataLoader(DATASET, sampler=sampler), one], "sequential")
    combined = Combined([one, others], "sequential")
    Trainer(max_epochs=2).fit(Model(), combined.indexed() if indexed else combined)
    assert one.told == inner.told == sampler.told == [0, 1]


def test_the_validation_of_a_fit_is_told_and_runs_of_their_own_are_not() -> None:
    first, second, tested = TellingLoader(), TellingLoader(), TellingLoader()

    class Tests(Callback[Classifier]):
        def on_train_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
            if trainer.current_epoch == 1:
                within: Any = trainer
                within.test(module, tested)

    trainer = Trainer(max_epochs=4, check_val_every_n_epoch=2, callbacks=[Tests()])
    trainer.fit(Classifier(), batches(1), [first, second])
    assert first.told == second.told == [1, 3]
    assert tested.told == []
    trainer.validate(Classifier(), first)
    assert first.told == [1, 3]


def test_it_is_told_before_the_hook_of_the_epoch_and_before_it_is_iterated() -> None:
    log: list[str] = []

    class Logging(TellingLoader):
        def set_epoch(self, epoch: int) -> None:
            log.append(f"epoch {epoch}")

        def __iter__(self) -> Iterator[Batch]:
            log.append("iterated")
            return super().__iter__()

    class Model(Classifier):
        def on_train_epoch_start(self) -> None:
            log.append("hook")

    Trainer(max_epochs=2).fit(Model(), Logging())
    assert log == ["epoch 0", "hook", "iterated", "epoch 1", "hook", "iterated"]


def test_a_loader_that_is_not_requested_is_told_nothing() -> None:
    loader = TellingLoader()
    Trainer(max_epochs=1, limit_val_batches=0).fit(Classifier(), batches(1), loader)
    Trainer(max_epochs=1, limit_train_batches=0).fit(Classifier(), loader)
    assert loader.told == []


def test_stop_iteration_out_of_it_is_named() -> None:
    with pytest.raises(EscapedStopIteration, match=r"^StoppingLoader\.set_epoch: StopIteration escaped from it"):
        Trainer(max_epochs=1).fit(Classifier(), StoppingLoader())
