"""A pass through a torch `DataLoader`, begun again in the middle, is the rest of the whole one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler  # type: ignore[import-untyped]

from tests.loops.run.passes.journeys import (
    Augmented,
    Together,
    carried,
    check_again,
    check_everywhere,
    check_twice,
    seeded,
    travel,
    whole_of,
)
from typedloops.errors import LoaderError, StateError
from typedloops.loops.run.computing.seeding import Workers
from typedloops.loops.run.epochs import tell_epoch
from typedloops.loops.run.passes import LoaderPass, skipping

Options = dict[str, Any]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


class Shuffled(Sampler[int]):
    """Draws its order when it is iterated, from Python and NumPy."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[int]:
        order = list(np.random.permutation(self.size))
        random.shuffle(order)
        return iter(map(int, order))

    def __len__(self) -> int:
        return self.size


class Owning(Sampler[int]):
    """Draws one index after another from generators of its own, and has no length."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rng = np.random.default_rng(3)
        self.legacy = np.random.RandomState(4)
        self.python = random.Random(5)

    def __iter__(self) -> Iterator[int]:
        for _ in range(self.size):
            yield (int(self.rng.integers(self.size)) + self.legacy.randint(9) + self.python.randrange(9)) % self.size


class Buckets(Sampler[list[int]]):
    """Batches of its own making, in an order that is drawn when it is iterated."""

    def __init__(self, size: int, batch_size: int) -> None:
        self.batches = [list(range(size))[i : i + batch_size] for i in range(0, size, batch_size)]

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(len(self.batches)).tolist()
        return (self.batches[i] for i in order)

    def __len__(self) -> int:
        return len(self.batches)


KINDS: dict[str, Callable[[int, int], Options]] = {
    "in order": lambda n, b: {"batch_size": b},
    "shuffled": lambda n, b: {"batch_size": b, "shuffle": True},
    "shuffled by a generator": lambda n, b: {"batch_size": b, "shuffle": True, "generator": generator()},
    "dropping the last": lambda n, b: {"batch_size": b, "shuffle": True, "drop_last": n > b},
    "items": lambda n, b: {"batch_size": None, "shuffle": True},
    "items in order": lambda n, b: {"batch_size": None},
    "weighted": lambda n, b: {"batch_size": b, "sampler": WeightedRandomSampler([1.0] * n, n)},
    "some": lambda n, b: {"batch_size": b, "sampler": SubsetRandomSampler(range(0, n, 2), generator())},
    "with replacement": lambda n, b: {"batch_size": b, "sampler": RandomSampler(range(n), True, 3 * n, generator())},
    "more than once": lambda n, b: {"batch_size": b, "sampler": RandomSampler(range(n), num_samples=2 * n + 1)},
    "a list of batches": lambda n, b: {"batch_sampler": [[i, 0] for i in range(n)]},
    "a sampler that draws from Python and NumPy": lambda n, b: {"batch_size": b, "sampler": Shuffled(n)},
    "a sampler with generators of its own": lambda n, b: {"batch_size": b, "sampler": Owning(n)},
    "a batch sampler": lambda n, b: {"batch_sampler": Buckets(n, b)},
    "a process of two": lambda n, b: {"batch_size": b, "sampler": DistributedSampler(Augmented(n), 2, 1, seed=4)},
    "a stateful sampler": lambda n, b: {"batch_size": b, "sampler": StatefulDistributedSampler(Augmented(n), 2, 1)},
}


def maker(kind: str, size: int = 23, batch_size: int = 4, **options: Any) -> Callable[[], DataLoader[Any]]:
    return lambda: DataLoader(Augmented(size), **KINDS[kind](size, batch_size), **options)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    size=st.integers(2, 40),
    batch_size=st.integers(1, 7),
    place=st.floats(0, 1),
    again=st.floats(0, 1),
)
@settings(deadline=None, max_examples=60)
def test_what_is_left_of_a_pass(kind: str, size: int, batch_size: int, place: float, again: float) -> None:
    check_twice(maker(kind, size, batch_size), place, again)


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_begun_again_anywhere(kind: str) -> None:
    check_everywhere(maker(kind))


@pytest.mark.parametrize(
    "workers", [{"num_workers": 1}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}], ids=str
)
@pytest.mark.parametrize(
    "kind", ["shuffled", "with replacement", "a sampler with generators of its own", "a stateful sampler"]
)
def test_with_workers(kind: str, workers: Options) -> None:
    check_everywhere(maker(kind, 17, **workers), places=[0, 2, -1])


@pytest.mark.parametrize("kind", ["in order", "items", "a list of batches", "a batch sampler", "a process of two"])
def test_with_a_worker(kind: str) -> None:
    check_everywhere(maker(kind, 9, num_workers=1), places=[3])


def test_items_that_are_fetched_together() -> None:
    check_everywhere(lambda: DataLoader(Together(), batch_size=4, shuffle=True))
    check_everywhere(lambda: DataLoader(Together(), batch_size=4, shuffle=True, num_workers=1), places=[2])


def test_a_pass_without_an_end() -> None:
    class Endless(Sampler[int]):
        def __iter__(self) -> Iterator[int]:
            order = random.Random(random.random())
            while True:
                yield order.randrange(9)

    check_everywhere(lambda: DataLoader(Augmented(9), batch_size=2, sampler=Endless()), most=5)


def test_a_generator_that_the_loader_shares_with_its_dataset() -> None:
    class Sharing(Augmented):
        def __init__(self, shared: torch.Generator) -> None:
            super().__init__(9)
            self.shared = shared

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.tensor([index, float(torch.rand((), generator=self.shared))])

    def make() -> DataLoader[Any]:
        shared = generator()
        return DataLoader(Sharing(shared), batch_size=2, shuffle=True, generator=shared)

    check_everywhere(make)


def test_workers_of_another_number_make_the_same_batches() -> None:
    for kind in ("shuffled by a generator", "with replacement", "a stateful sampler"):
        seeded(1)
        loader = maker(kind, num_workers=1)()
        seeded(2)
        whole = travel(loader)
        check_again(maker(kind, num_workers=2), whole, whole.marks[2])


def test_persistent_workers_begin_a_pass_as_new_ones_do() -> None:
    lasting, starting = (
        maker("shuffled", 8, num_workers=1, persistent_workers=True)(),
        maker("shuffled", 8, num_workers=1)(),
    )
    seeded(1)
    list(lasting)  # workers that were started before the library came
    seeded(2)
    one = [travel(lasting) for _ in range(2)]
    seeded(2)
    assert [travel(starting).steps for _ in range(2)] == [journey.steps for journey in one]
    assert len(list(lasting)) == len(lasting) == 2


def test_workers_draw_something_else_for_each_batch_and_pass() -> None:
    for options in ({}, {"persistent_workers": True}):
        loader = maker("in order", 8, 2, num_workers=2, **options)()
        seeded(1)
        drawn = [
            number for _ in range(3) for batch in LoaderPass("it", loader) for number in batch[:, 1:].flatten().tolist()
        ]
        assert len(set(drawn)) == len(drawn) == 3 * 8 * 3


def test_workers_of_another_process_draw_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> set[float]:
        seeded(1)
        return {
            float(number)
            for batch in LoaderPass("it", maker("in order", 4, num_workers=1)())
            for number in batch[:, 1:].flatten()
        }

    monkeypatch.setattr(Workers, "seeded", False)  # whatever another test has asked for
    alone = drawn()
    monkeypatch.setenv("RANK", "1")
    assert drawn() == alone, "nothing was asked for"
    monkeypatch.setattr(Workers, "seeded", True)
    second = drawn()
    assert not alone & second
    assert drawn() == second
    monkeypatch.setenv("RANK", "0")
    assert drawn() == alone


def test_a_worker_init_fn_of_ones_own_is_called() -> None:
    loader = DataLoader(Told(), batch_size=2, num_workers=1, worker_init_fn=tell)
    assert torch.stack(list(LoaderPass("it", loader))).tolist() == [[7, 7]] * 2


class Told(Augmented):
    told = 0

    def __init__(self) -> None:
        super().__init__(4)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(Told.told)


def tell(worker: int) -> None:
    Told.told = 7


class Counting(Sampler[int]):
    """Says how many indices it has been asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked = 0

    def __iter__(self) -> Iterator[int]:
        for index in range(self.size):
            self.asked += 1
            yield index

    def __len__(self) -> int:
        return self.size


def begun_at(loader: DataLoader[Any], taken: int) -> Iterator[Any]:
    position = next_position(loader, taken)
    return iter(LoaderPass("it", loader, resumed=position))


def next_position(loader: DataLoader[Any], taken: int) -> dict[str, object]:
    whole = LoaderPass("it", loader)
    iter(whole)
    return whole.state_dict(taken)


# The state of a stateful sampler is known only when it has been gone through.
@pytest.mark.parametrize("taken", [1, 40, 49, 50])
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"a stateful sampler"}))
def test_no_data_is_fetched_for_what_is_left_out(kind: str, taken: int) -> None:
    loader = maker(kind, 100, 2)()
    rest = begun_at(loader, min(taken, 50))
    fetched = loader.dataset.fetched  # type: ignore[attr-defined]
    assert fetched == []
    next(rest, None)
    assert len(fetched) <= 2


class Made(BatchSampler):
    """Counts the batches of indices that are made."""

    made = 0

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            self.made += 1
            yield batch


def test_no_more_than_the_place_decides_how_many_indices_are_drawn() -> None:
    counting = Counting(1000)
    rest = begun_at(DataLoader(Augmented(1000), batch_size=10, sampler=counting), 70)
    assert counting.asked == 10 + 700, "a batch for the pass that was not gone on with, then those left out"
    assert next(rest)[:, 0].tolist() == list(range(700, 710))
    assert counting.asked == 720
    made = Made(Counting(1000), 10, False)
    rest = begun_at(DataLoader(Augmented(1000), batch_sampler=made), 70)
    assert made.made == 1 + 70, "what a batch sampler of one's own does cannot be left out"
    assert next(rest)[:, 0].tolist() == list(range(700, 710))


@pytest.mark.parametrize("kind", ["shuffled", "in order", "weighted", "a process of two", "more than once"])
def test_the_order_is_not_gone_through_one_by_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def counted(
        items: Iterator[object], count: int, take: Callable[[Iterator[object], int], int] = skipping._take
    ) -> int:
        taken.append(count)
        return take(items, count)

    loader = maker(kind, 5000, 3)()
    whole = [batch[:, 0].tolist() for batch in seeded_pass(loader)]
    monkeypatch.setattr(skipping, "_take", counted)
    seeded(1)
    position = next_position(loader, 800)
    rest = [batch[:, 0].tolist() for batch in LoaderPass("it", loader, resumed=position)]
    assert rest == whole[800:]
    assert sum(taken) <= 1


def seeded_pass(loader: DataLoader[Any]) -> Iterable[Any]:
    seeded(1)
    return LoaderPass("it", loader)


def test_the_loader_is_as_it_was() -> None:
    loader = maker("shuffled", 23, num_workers=1)()
    sampler = loader.batch_sampler
    batches = begun_at(loader, 2)
    assert loader.batch_sampler is sampler
    assert len(list(batches)) == len(loader) - 2
    assert len(list(loader)) == len(loader) == len(batches) == 6  # type: ignore[arg-type]


def test_the_iterator_is_torchs_own() -> None:
    for options in ({}, {"num_workers": 1}):
        loader = maker("shuffled", **options)()
        assert type(iter(LoaderPass("it", loader))) is type(iter(loader))
        assert type(begun_at(loader, 2)) is type(iter(loader))


def test_an_epoch_that_was_told() -> None:
    loader = maker("a process of two")()
    tell_epoch(loader, 3)
    whole = [batch[:, 0].tolist() for batch in LoaderPass("it", loader)]
    position = next_position(loader, 2)
    fresh = maker("a process of two")()
    for epoch in (0, 3):
        tell_epoch(fresh, epoch)
        rest = [batch[:, 0].tolist() for batch in LoaderPass("it", fresh, resumed=position)]
        assert rest == whole[2:]
    assert [batch[:, 0].tolist() for batch in LoaderPass("it", maker("a process of two")())] != whole


def test_a_stateful_sampler_is_given_its_state() -> None:
    class Stateful(Counting):
        begun_at = 0

        def __iter__(self) -> Iterator[int]:
            start, self.begun_at = self.begun_at, 0
            for index in range(start, self.size):
                self.at = index + 1
                yield index

        def state_dict(self) -> dict[str, int]:
            return {"at": self.at}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.begun_at = state["at"]

    def make(**options: Any) -> DataLoader[Any]:
        return DataLoader(Augmented(12), batch_size=2, sampler=Stateful(12), **options)

    for options in ({}, {"num_workers": 1}):
        check_everywhere(lambda options=options: make(**options), places=[0, 3, -1])  # type: ignore[misc]


class Lazy(Sampler[int]):
    """Draws one index after another from the generator that everybody draws from."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[int]:
        return (int(torch.randint(self.size, ())) for _ in range(self.size))

    def __len__(self) -> int:
        return self.size


LAZY = (
    "train loader: its sampler draws from the generators that everybody draws from as it goes, so the indices of a "
    "resumed pass may be others than those of the whole one. "
    "Let it draw all at once when a pass begins, or from a generator of its own."
)


@pytest.mark.parametrize("options", [{}, {"num_workers": 1}], ids=str)
def test_a_sampler_that_draws_as_it_goes(options: Options) -> None:
    loader = DataLoader(Augmented(20), batch_size=2, sampler=Lazy(20), **options)
    position = travel(loader).marks[4].position
    with pytest.warns(UserWarning, match=whole_of(LAZY)):
        iter(LoaderPass("train loader", loader, resumed=position))
    with pytest.raises(LoaderError) as refused:
        iter(LoaderPass("train loader", loader, resumed=position, exact=True))
    assert str(refused.value) == LAZY


def test_of_a_sampler_that_draws_each_index_anew_what_is_left_is_exact_without_workers() -> None:
    def make() -> DataLoader[Any]:
        return DataLoader(Augmented(20), batch_size=2, sampler=Lazy(20))

    seeded(1)
    whole = travel(make())
    with pytest.warns(UserWarning, match="draws from the generators that everybody draws from"):
        check_again(make, whole, whole.marks[4])


def test_batches_in_the_order_of_the_workers() -> None:
    loader = maker("in order", num_workers=2, in_order=False)()
    position = travel(loader).marks[2].position
    message = (
        "train loader: its batches come in the order in which workers finish, so which of them were taken is not "
        "known. Leave out in_order=False."
    )
    with pytest.warns(UserWarning, match=whole_of(message)):
        iter(LoaderPass("train loader", loader, resumed=position))
    with pytest.raises(LoaderError) as refused:
        iter(LoaderPass("train loader", loader, resumed=position, exact=True))
    assert str(refused.value) == message


def test_workers_where_there_were_none() -> None:
    message = (
        "train loader: its batches are loaded by workers now and were not when its position was saved, or the other "
        "way round: what is random in them is drawn from other generators. "
        "Resume with workers where there were some, in any number."
    )
    alone, with_one = maker("shuffled"), maker("shuffled", num_workers=1)
    for saved, other in ((alone, with_one), (with_one, alone)):
        position = travel(saved()).marks[2].position
        with pytest.warns(UserWarning, match=whole_of(message)):
            rest = iter(LoaderPass("train loader", other(), resumed=position))
        assert len(list(rest)) == 4
        with pytest.raises(LoaderError, match="what is random in them"):
            iter(LoaderPass("train loader", other(), resumed=position, exact=True))


def test_a_loader_of_another_length() -> None:
    position = next_position(maker("shuffled", 23)(), 2)
    with pytest.raises(StateError) as told:
        LoaderPass("train loader", maker("shuffled", 24, 5)(), resumed=position)
    assert str(told.value) == (
        "train loader: it has 5 batches, and had 6 batches when its position was saved. "
        "Resume with a loader that is made as the one that was saved, or begin the pass anew."
    )


def test_a_loader_without_the_generator_that_was_saved() -> None:
    position = next_position(maker("shuffled by a generator")(), 2)
    with pytest.raises(StateError) as told:
        iter(LoaderPass("train loader", maker("shuffled")(), resumed=position))
    assert str(told.value) == (
        "train loader: the saved position has the state of its generator 'generator', and it has no such generator. "
        "Resume with a loader that is made as the one that was saved."
    )


def test_the_state_is_small() -> None:
    position = carried(next_position(maker("shuffled", 10**6, 2)(), 100))
    assert list(position["position"]["start"]) == ["torch"]
    assert position["position"]["start"]["torch"].numel() == 5056
    assert position["position"]["now"] == {}


def test_a_loader_that_iterates_in_a_way_of_its_own() -> None:
    class Doubling(DataLoader[Any]):
        def __iter__(self) -> Any:
            for batch in super().__iter__():
                yield 2 * batch

    loader = Doubling(Augmented(8), batch_size=2)
    whole = travel(loader)
    with pytest.warns(UserWarning, match="2 batches of this Doubling are read again and let go"):
        rest = list(LoaderPass("it", loader, resumed=whole.marks[2].position))
    assert [batch[:, 0].tolist() for batch in rest] == [[8, 10], [12, 14]]


def test_nothing_is_drawn_twice_by_a_loader_that_is_left_early() -> None:
    def make() -> DataLoader[Any]:
        return maker("shuffled by a generator", 23, num_workers=1, persistent_workers=True)()

    check_everywhere(make, most=3, places=[0, 2, 3])
