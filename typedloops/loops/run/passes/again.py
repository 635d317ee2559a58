"""Loaders of which nothing is known but that they can be iterated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from typedloops.errors import LoaderError, StateError
from typedloops.loops.run.loaders import check_end
from typedloops.loops.run.passes.generators import own, packed, restore, shared, states_of, unpacked
from typedloops.loops.run.passes.saved import ANEW, Saved, inexact
from typedloops.loops.run.passes.way import Way

REMEDY = "Give a DataLoader over a dataset with indices, or a loader with `state_dict` and `load_state_dict`."


class ReadAgain(Way):
    """A pass through an iterable: its first batches are taken again, under the random numbers of then."""

    kind: ClassVar[str] = "an iterable without a state"

    def __init__(self, where: str, loader: Iterable[object], exact: bool) -> None:
        super().__init__(where, exact)
        self._loader = loader

    def begin(self) -> Iterator[object]:
        self._start = states_of(shared() | own(self._loader))
        return iter(self._loader)

    def resume(self, saved: Saved) -> Iterator[object]:
        taken = saved.taken
        name = type(self._loader).__name__
        if taken:
            again = f"{taken} batches of this {name} are read again and let go"
            order = "if its batches come in another order each time the resumed run is not exact"
            inexact(self.where, f"{again}; {order}", REMEDY, self.exact)
        self._start = unpacked(saved.mapping("start"))
        restore(self.where, shared() | own(self._loader), self._start)
        batches = iter(self._loader)
        for number in range(taken):
            try:
                next(batches)
            except StopIteration as stop:
                check_end(stop)
                problem = f"it ended after {number} batches, and had given {taken} when its position was saved"
                raise StateError(self.where, problem, ANEW) from None
        return batches

    def position(self, taken: int, ended: bool) -> dict[str, object]:
        now = states_of(own(self._loader)) if ended else {}
        return {"start": packed(self._start), "now": packed(now)}

    def conclude(self, saved: Saved) -> None:
        self._start = unpacked(saved.mapping("start"))
        restore(self.where, own(self._loader), unpacked(saved.mapping("now")))


class Once(Way):
    """A pass through an iterator, which cannot be begun again."""

    kind: ClassVar[str] = "an iterator"

    def __init__(self, where: str, loader: Iterable[object], exact: bool) -> None:
        super().__init__(where, exact)
        self._loader = loader

    def begin(self) -> Iterator[object]:
        return iter(self._loader)

    def resume(self, saved: Saved) -> Iterator[object]:
        if saved.taken:
            name = type(self._loader).__name__
            raise LoaderError(
                self.where,
                f"a {name} is an iterator, which cannot be begun again where it was: {saved.taken} batches were taken",
                "Give what can be iterated anew: a DataLoader, a list, an object whose `__iter__` makes the iterator.",
            )
        return self.begin()

    def position(self, taken: int, ended: bool) -> dict[str, object]:
        return {}

    def conclude(self, saved: Saved) -> None:
        pass
