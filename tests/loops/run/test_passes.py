"""A pass that is begun in the middle gives what is left of the whole one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, WeightedRandomSampler

from typedloops.loops.run.passes import PassStart, begin


class Augmented(Dataset[Tensor]):
    """Items with a random number of each kind beside their index."""

    def __init__(self, size: int = 23) -> None:
        self.size = size
        self.fetched: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Tensor:
        self.fetched.append(index)
        return torch.tensor([index, random.random(), np.random.rand(), float(torch.rand(()))])


class Together(Augmented):
    """Asked for all items of a batch at once."""

    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        return [self[index] for index in indices]


def seeded(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


KINDS: dict[str, dict[str, Any]] = {
    "in order": {"batch_size": 4},
    "shuffled": {"batch_size": 4, "shuffle": True},
    "shuffled by a generator": {"batch_size": 4, "shuffle": True, "generator": generator()},
    "dropping the last": {"batch_size": 5, "shuffle": True, "drop_last": True},
    "a sampler": {"batch_size": 3, "sampler": WeightedRandomSampler([1.0] * 23, 12)},
    "a sampler with a generator": {"batch_size": 3, "sampler": RandomSampler(range(23), True, 12, generator())},
    "a list of batches": {"batch_sampler": [[0, 1], [5], [2, 3], [4, 7, 8]]},
    "items": {"batch_size": None, "shuffle": True},
}
WORKERS: list[dict[str, Any]] = [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}]


@pytest.mark.parametrize("workers", WORKERS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dataset", [Augmented, Together])
def test_what_is_left_of_a_pass(dataset: type[Augmented], kind: str, workers: dict[str, Any]) -> None:
    if workers and dataset is Together and kind != "shuffled":
        pytest.skip("workers are slow to start; one kind will do")
    loader = DataLoader(dataset(), **KINDS[kind], **workers)
    for epoch in range(2):
        seeded(epoch)
        start = PassStart.of(loader)
        passed = begin(loader, start)
        whole: list[Tensor] = []
        states = [_states(loader)]
        for batch in passed:
            whole.append(batch)
            states.append(_states(loader))
        assert len(whole) == len(loader)
        for skip in {1, len(whole) // 2, len(whole)}:
            seeded(99)
            start.restore(loader)
            rest = begin(loader, start, skip)
            _restore(loader, states[skip])
            for expected, found in itertools.zip_longest(whole[skip:], rest):
                torch.testing.assert_close(found, expected, rtol=0, atol=0)


def _states(loader: DataLoader[Tensor]) -> tuple[Any, Any, PassStart]:
    return random.getstate(), np.random.get_state(), PassStart.of(loader)


def _restore(loader: DataLoader[Tensor], states: tuple[Any, Any, PassStart]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2].states[""])


def test_no_data_is_fetched_for_what_is_left_out() -> None:
    dataset = Augmented(100)
    loader = DataLoader(dataset, batch_size=2, shuffle=True)
    next(begin(loader, PassStart.of(loader), 40))
    assert len(dataset.fetched) == 2


def test_the_loader_is_as_it_was() -> None:
    loader = DataLoader(Augmented(), batch_size=4, num_workers=1)
    sampler = loader.batch_sampler
    batches = list(begin(loader, PassStart.of(loader), 2))
    assert loader.batch_sampler is sampler
    assert len(batches) == len(loader) - 2
    assert len(list(loader)) == len(loader) == 6


def test_workers_draw_the_same_wherever_a_pass_begins_and_something_else_for_each_batch_and_pass() -> None:
    loader = DataLoader(Augmented(8), batch_size=2, num_workers=2)
    passes = []
    for seed in (1, 1, 2):
        seeded(seed)
        passes.append(torch.stack(list(begin(loader, PassStart.of(loader))))[:, :, 1:])
    assert torch.equal(passes[0], passes[1])
    drawn = torch.cat([passes[0].flatten(), passes[2].flatten()])
    assert len(drawn.unique()) == len(drawn)


class Numbers(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


def test_of_other_iterables_the_first_batches_are_let_go() -> None:
    for loader in ([*range(10)], DataLoader(Numbers(), batch_size=None)):
        start = PassStart.of(loader)
        assert [int(batch) for batch in begin(loader, start, 7)] == [7, 8, 9]
        assert [int(batch) for batch in begin(loader, start)] == [*range(10)]
