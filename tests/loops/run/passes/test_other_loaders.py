"""Passes through lists, iterables, iterators and loaders with a state of their own."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from tests.loops.run.passes.journeys import (
    Augmented,
    Numbers,
    carried,
    check_again,
    check_everywhere,
    draw,
    position_of,
    seeded,
    travel,
    whole_of,
)
from typedloops.errors import InternalError, LoaderError, StateError
from typedloops.loops.run.passes import LoaderPass


class ByItem:
    """What has items, and neither an iterator of its own nor a length."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __getitem__(self, index: int) -> int:
        self.asked.append(index)
        if index >= 9:
            raise IndexError
        return index


def begun_at(loader: Any, taken: int) -> Iterator[Any]:
    return iter(LoaderPass("train loader", loader, resumed=position_of(loader, taken)))


@pytest.mark.parametrize("loader", [[*range(9)], tuple(range(9)), range(9), ByItem()], ids=lambda x: type(x).__name__)
def test_a_sequence_is_begun_at_its_place(loader: Any) -> None:
    for taken in range(10):
        assert list(begun_at(loader, taken)) == list(range(9))[taken:]
        assert position_of(loader, taken) == {
            "kind": "a sequence",
            "length": None if isinstance(loader, ByItem) else 9,
            "taken": taken,
            "ended": False,
            "position": {},
        }
    assert type(begun_at(loader, 0)) is type(iter(loader))


def test_no_item_of_a_sequence_is_asked_for_but_those_that_are_left() -> None:
    position = position_of(ByItem(), 6)
    loader: Any = ByItem()
    assert next(iter(LoaderPass("train loader", loader, resumed=position))) == 6
    assert loader.asked == [6]


def test_nothing_is_drawn_for_a_sequence() -> None:
    seeded(3)
    expected = draw()
    seeded(3)
    begun_at([1, 2, 3], 2)
    assert draw() == expected


class Noise:
    """Batches that are drawn, in an order that is drawn; from the common generators and from its own."""

    def __init__(self, count: int = 6) -> None:
        self.count = count
        self.generator = torch.Generator().manual_seed(1)
        self.rng = np.random.Generator(np.random.MT19937(1))

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        order = np.random.permutation(self.count)
        own = float(torch.rand((), generator=self.generator))
        return ((int(i), own, self.rng.random(), *draw()) for i in order)


def again(taken: int, kind: str) -> str:
    return (
        f"train loader: {taken} batches of this {kind} are read again and let go; if its batches come in another order "
        "each time the resumed run is not exact. "
        "Give a DataLoader over a dataset with indices, or a loader with `state_dict` and `load_state_dict`."
    )


def test_of_an_iterable_the_first_batches_are_read_again() -> None:
    seeded(1)
    loader = Noise()
    seeded(2)
    whole = travel(loader)
    check_again(Noise, whole, whole.marks[0])
    for mark in whole.marks[1:]:
        with pytest.warns(UserWarning, match=whole_of(again(mark.taken, "Noise"))):
            check_again(Noise, whole, mark)


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return (torch.tensor([i, *draw()]) for i in range(10))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_loader_without_indices(workers: int) -> None:
    def make() -> DataLoader[Any]:
        return DataLoader(Stream(), batch_size=2, num_workers=workers, generator=torch.Generator().manual_seed(3))

    seeded(1)
    loader = make()
    seeded(2)
    whole = travel(loader)
    with pytest.warns(UserWarning, match=whole_of(again(3, "DataLoader"))):
        check_again(make, whole, whole.marks[3])


def test_what_is_read_again_is_refused_where_it_is_to_be_exact() -> None:
    position = position_of(Numbers(5), 2)
    with pytest.raises(LoaderError) as refused:
        iter(LoaderPass("train loader", Numbers(5), resumed=position, exact=True))
    assert str(refused.value) == again(2, "Numbers")
    assert list(LoaderPass("train loader", Numbers(5), resumed=position_of(Numbers(5), 0), exact=True)) == [*range(5)]


def test_an_iterable_that_has_become_shorter() -> None:
    position = position_of(Numbers(5), 4)
    with pytest.warns(UserWarning, match="read again"), pytest.raises(StateError) as told:
        iter(LoaderPass("train loader", Numbers(3), resumed=position))
    assert str(told.value) == (
        "train loader: it ended after 3 batches, and had given 4 when its position was saved. "
        "Resume with a loader that is made as the one that was saved, or begin the pass anew."
    )


def test_the_end_of_an_iterable_is_not_read_again() -> None:
    whole = LoaderPass("train loader", Numbers(3))
    assert list(whole) == [0, 1, 2]
    whole.end()
    ended = LoaderPass("train loader", Numbers(3), resumed=carried(whole.state_dict(3)))
    assert list(ended) == []
    assert carried(ended.state_dict(3)).keys() == whole.state_dict(3).keys()
    assert list(LoaderPass("train loader", Numbers(3), resumed=carried(ended.state_dict(3)))) == []


@pytest.mark.parametrize("exact", [False, True])
def test_an_iterator_cannot_be_begun_again(exact: bool) -> None:
    position = position_of(iter([1, 2, 3]), 2)
    loader = (i for i in range(3))
    with pytest.raises(LoaderError) as refused:
        iter(LoaderPass("train loader", loader, resumed=position, exact=exact))
    assert str(refused.value) == (
        "train loader: a generator is an iterator, which cannot be begun again where it was: 2 batches were taken. "
        "Give what can be iterated anew: a DataLoader, a list, an object whose `__iter__` makes the iterator."
    )
    assert list(LoaderPass("train loader", loader, resumed=position_of(iter([1]), 0))) == [0, 1, 2]


class Stateful:
    """A loader that knows where it is, and draws as it goes."""

    def __init__(self, count: int = 6) -> None:
        self.count = count
        self.state: dict[str, Any] = {"at": 0, "epoch": 0}

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        while self.state["at"] < self.count:
            self.state["at"] += 1
            yield self.state["epoch"], self.state["at"], *draw()
        self.state.update(at=0, epoch=self.state["epoch"] + 1)

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


class Sized(Stateful):
    def __len__(self) -> int:
        return self.count


@pytest.mark.parametrize("kind", [Stateful, Sized])
def test_a_loader_with_a_state_is_begun_by_itself(kind: type[Stateful]) -> None:
    check_everywhere(kind)


def test_a_state_is_a_copy() -> None:
    loader = Stateful()
    whole = LoaderPass("train loader", loader)
    batches = iter(whole)
    next(batches)
    saved = whole.state_dict(1)
    next(batches)
    assert saved["position"]["state"] == {"at": 1, "epoch": 0}  # type: ignore[index]
    position = carried(saved)
    rest = iter(LoaderPass("train loader", Stateful(), resumed=position))
    next(rest)
    assert position["position"]["state"] == {"at": 1, "epoch": 0}


def test_a_loader_with_a_state_is_asked_at_the_right_moment_only() -> None:
    whole = LoaderPass("train loader", Stateful())
    batches = iter(whole)
    next(batches)
    next(batches)
    with pytest.raises(InternalError, match=r"^train loader: 2 batches were given, and 1 are said to be taken$"):
        whole.state_dict(1)


KINDS: list[Any] = [
    ([1, 2], "a sequence"),
    (DataLoader(Augmented(2)), "a DataLoader over indices"),
    (Sized(2), "a loader with a state of its own"),
    (iter([1, 2]), "an iterator"),
    (Numbers(2), "an iterable without a state"),
]


@pytest.mark.parametrize(("loader", "kind"), KINDS, ids=lambda x: x if isinstance(x, str) else "")
def test_a_loader_of_another_kind(loader: Iterable[object], kind: str) -> None:
    position = position_of(loader, 0)
    for other, other_kind in KINDS:
        if other_kind != kind:
            with pytest.raises(StateError) as told:
                LoaderPass("train loader", other, resumed=position)
            assert str(told.value) == (
                f"train loader: the saved position is one in {kind}, and this is {other_kind}. "
                "Resume with a loader that is made as the one that was saved, or begin the pass anew."
            )


def test_a_list_of_another_length() -> None:
    with pytest.raises(StateError, match=r"^train loader: it has 3 batches, and had 2 batches when its position was"):
        LoaderPass("train loader", [1, 2, 3], resumed=position_of([1, 2], 1))
    with pytest.raises(StateError, match=r"^train loader: it has 9 batches, and had no length when its position was"):
        LoaderPass("train loader", [*range(9)], resumed=position_of(ByItem(), 1))


@pytest.mark.parametrize(
    "state",
    [{}, {"kind": 3}, {"taken": -1}, {"taken": "1"}, {"length": "2"}, {"ended": 1}, {"position": 7}, {"taken": None}],
    ids=str,
)
def test_what_is_no_position(state: dict[str, object]) -> None:
    damaged = position_of([1, 2], 1) | state if state else {}
    with pytest.raises(StateError) as told:
        LoaderPass("train loader", [1, 2], resumed=damaged)
    assert str(told.value) == ("train loader: what was saved is no position in a pass. Give what `state_dict` gave.")


def test_a_position_with_something_missing() -> None:
    position = position_of(DataLoader(Augmented(4)), 1)
    del position["position"]["start"]
    with pytest.raises(StateError, match=r"^train loader: the saved position has no 'start'\. Give what"):
        iter(LoaderPass("train loader", DataLoader(Augmented(4)), resumed=position))


def test_a_pass_that_was_not_begun() -> None:
    with pytest.raises(InternalError, match=r"^train loader: a pass that was not begun has no position$"):
        LoaderPass("train loader", [1]).state_dict(0)


def test_what_is_no_loader() -> None:
    with pytest.raises(LoaderError, match=r"^train loader: an object of type int is not iterable"):
        LoaderPass("train loader", 3)  # type: ignore[arg-type]
    with pytest.raises(LoaderError, match=r"^train loader: it is a list of loaders, and one is taken"):
        LoaderPass("train loader", [DataLoader(Augmented(4))])


def test_the_generator_of_python_is_kept_with_what_it_has_in_store() -> None:
    class Gaussian:
        def __init__(self) -> None:
            self.random = random.Random(1)

        def __iter__(self) -> Iterator[float]:
            return (self.random.gauss(0, 1) for _ in range(3))

    def make() -> Gaussian:
        made = Gaussian()
        made.random.gauss(0, 1)
        return made

    seeded(1)
    whole = travel(make())
    with pytest.warns(UserWarning, match="read again"):
        check_again(make, whole, whole.marks[1])
