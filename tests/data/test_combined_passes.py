"""Combinations of loaders that are begun again in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.loops.run.passes.journeys import (
    Augmented,
    Numbers,
    check_again,
    check_twice,
    draw,
    position_of,
    seeded,
    travel,
    whole_of,
)
from typedloops import CombinedLoader
from typedloops.errors import LoaderError, StateError
from typedloops.loops.run.passes import LoaderPass

# The shapes and modes here are values that no checker can follow.
Combined: Any = CombinedLoader

MODES = ("min_size", "max_size_cycle", "max_size", "sequential")


class Stateful:
    """A loader that knows where it is, and draws as it goes."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.at = self.begin_at = self.epoch = 0

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        # Not when the first batch is asked for: it may never be.
        self.at, self.begin_at = self.begin_at, 0
        return self._batches()

    def _batches(self) -> Iterator[tuple[object, ...]]:
        while self.at < self.count:
            self.at += 1
            yield self.epoch, self.at, *draw()
        self.at, self.epoch = 0, self.epoch + 1

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = self.begin_at = state["at"]
        self.epoch = state["epoch"]


def shuffled(size: int, **options: Any) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(5)
    return DataLoader(Augmented(size), batch_size=1, shuffle=True, generator=generator, **options)


KINDS: dict[str, Callable[[int], Iterable[object]]] = {
    "list": lambda size: [*range(size)],
    "shuffled": shuffled,
    "of the common generator": lambda size: DataLoader(Augmented(size), batch_size=1, shuffle=True),
    "stateful": Stateful,
}
Made = list[tuple[str, int]]
MADE = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 5)), min_size=1, max_size=3)


def made(mode: str, loaders: Made, inner: str | None) -> Any:
    children: list[object] = [KINDS[kind](size) for kind, size in loaders]
    if inner is not None:
        nested = [shuffled(4), [*range(3)]]
        children.insert(1, Combined(nested, inner).indexed() if inner == "sequential" else Combined(nested, inner))
    return Combined(children, mode)


@given(
    mode=st.sampled_from(MODES),
    loaders=MADE,
    inner=st.sampled_from([None, *MODES]),
    place=st.floats(0, 1),
    again=st.floats(0, 1),
)
@settings(deadline=None, max_examples=40)
def test_what_is_left_of_a_pass(mode: str, loaders: Made, inner: str | None, place: float, again: float) -> None:
    check_twice(lambda: made(mode, loaders, inner), place, again)


@pytest.mark.parametrize("mode", MODES)
def test_with_workers(mode: str) -> None:
    def make() -> Any:
        lasting = DataLoader(Augmented(4), batch_size=2, shuffle=True, num_workers=1, persistent_workers=True)
        return Combined({"a": shuffled(3, num_workers=1), "b": lasting}, mode)

    seeded(1)
    loader = make()
    seeded(2)
    whole = travel(loader)
    for place in (1, len(whole.marks) // 2, -1):
        check_again(make, whole, whole.marks[place])


def test_the_pass_that_a_shorter_loader_is_in() -> None:
    def make() -> Any:
        return Combined((shuffled(3), [*range(8)]), "max_size_cycle")

    whole = travel(make())
    first = whole.marks[7].position["position"]["pass"]["loaders"]["CombinedLoader[0]"]
    assert (first["finished"], first["taken"]) == (True, 1), "the first batch of its third pass"
    loader = make()
    batches = iter(LoaderPass("it", loader, resumed=whole.marks[7].position))
    next(batches)
    fetched: list[int] = loader.child_loaders[0].dataset.fetched
    assert len(fetched) == 1, "nothing is fetched for what is left out"


def test_an_indexed_loader_goes_on_in_the_right_one() -> None:
    loader = Combined([[*range(3)], shuffled(4)], "sequential").indexed()
    whole = travel(loader)
    assert [step[0][0] for step in whole.steps] == [0, 0, 0, 1, 1, 1, 1]  # type: ignore[index]
    check_again(lambda: Combined([[*range(3)], shuffled(4)], "sequential").indexed(), whole, whole.marks[5])


def test_a_loader_of_which_nothing_is_known() -> None:
    position = position_of(Combined(([*range(9)], Numbers(9))), 4)
    again = (
        "CombinedLoader[1]: 4 batches of this Numbers are read again and let go; if its batches come in another order "
        "each time the resumed run is not exact. "
        "Give a DataLoader over a dataset with indices, or a loader with `state_dict` and `load_state_dict`."
    )
    with pytest.warns(UserWarning, match=whole_of(again)):
        rest = list(LoaderPass("it", Combined(([*range(9)], Numbers(9))), resumed=position))
    assert rest == [(i, i) for i in range(4, 9)]
    with pytest.raises(LoaderError) as refused:
        iter(LoaderPass("it", Combined(([*range(9)], Numbers(9))), resumed=position, exact=True))
    assert str(refused.value) == again


def test_of_loaders_one_after_another_only_the_one_at_hand_is_read_again() -> None:
    def make() -> Any:
        return Combined((Numbers(4), Numbers(3)), "sequential")

    position = position_of(make(), 6)
    with pytest.warns(UserWarning, match=r"^CombinedLoader\[1\]: 2 batches of this Numbers are read again"):
        assert list(LoaderPass("it", make(), resumed=position)) == [2]


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (
            Combined((range(3), range(4)), "max_size"),
            "its mode is 'max_size', and was 'min_size' when its position was",
        ),
        (
            Combined({"a": range(3), "b": range(4)}),
            "it is made of CombinedLoader['a'], CombinedLoader['b'], and its saved position is of CombinedLoader[0], C",
        ),
        (Combined((range(3), Numbers(4))), "a loader without a length"),
    ],
    ids=["mode", "names", "length"],
)
def test_another_combination(other: Any, problem: str) -> None:
    position = position_of(Combined((range(3), range(4))), 2)
    position["length"] = 4 if "mode" in problem else 3
    with pytest.raises(StateError) as told:
        iter(LoaderPass("it", other, resumed=position))
    if problem == "a loader without a length":
        assert "it has no length, and had 3 batches" in str(told.value)
    else:
        assert str(told.value).startswith(f"CombinedLoader: {problem}")


def test_another_loader_within() -> None:
    position = position_of(Combined((range(3), [*range(4)])), 2)
    with pytest.raises(
        StateError, match=r"^CombinedLoader\[1\]: the saved position is one in a sequence, and this is a"
    ):
        iter(LoaderPass("it", Combined((range(3), shuffled(4))), resumed=position))
    position["position"]["pass"]["loaders"]["CombinedLoader[1]"] = None
    with pytest.raises(StateError, match=r"^CombinedLoader\[1\]: it has no saved position\. Give what"):
        iter(LoaderPass("it", Combined((range(3), shuffled(4))), resumed=position))
