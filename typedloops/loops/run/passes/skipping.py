"""Indices from the middle on, as if the first ones had been taken one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import length_hint
from types import GeneratorType
from typing import TypeGuard, cast

from torch.utils.data import BatchSampler
from typing_extensions import Protocol, TypeVar

from typedloops.loops.run.passes.generators import States, differ, shared, states_of

I = TypeVar("I")

BLOCK = 1024
"""How many items are taken at a time where no jump is possible."""

LIST_ITERATOR: type[object] = type(iter(list[object]()))
RANGE_ITERATOR: type[object] = type(iter(range(0)))


class Watch:
    """Sees whether something is drawn from the generators that everybody draws from, once it has been told to.

    Args:
        on: Whether it looks at all.
    """

    def __init__(self, on: bool) -> None:
        self._on = on
        self._before: States | None = None

    def start(self) -> None:
        if self._on:
            self._before = states_of(shared())

    def drawn_from(self) -> bool:
        return self._before is not None and differ(self._before, states_of(shared()))


def from_batch(sampler: Iterable[I], items: Iterator[I], count: int, watch: Watch) -> Iterator[I]:
    """What is left of a sampler without its first batches, which are as good as never made where that is possible.

    Args:
        sampler: Where the indices are from.
        items: An iterator of it, of which nothing has been taken.
        count: How many batches to leave out.
        watch: Told when one index has been drawn, unless nothing is left out.
    """
    if count == 0:
        return items
    batches: object = sampler
    if not _is_batch_sampler(batches):
        return _from(items, count, watch)
    indices = _from(iter(batches.sampler), count * batches.batch_size, watch)
    return cast("Iterator[I]", iter(BatchSampler(indices, batches.batch_size, batches.drop_last)))


def _is_batch_sampler(sampler: object) -> TypeGuard[BatchSampler]:
    # A subclass may do something else.
    return type(sampler) is BatchSampler


def _from(items: Iterator[I], count: int, watch: Watch) -> Iterator[I]:
    if type(items) is RANGE_ITERATOR:
        watch.start()
        return cast("Iterator[I]", _later(items, count))
    left = count - _take(items, 1)
    watch.start()
    while left > 0:
        took = _jump(items, left) or _take(items, min(left, BLOCK))
        if took == 0:
            break
        left -= took
    return items


def _take(items: Iterator[object], count: int) -> int:
    """Take at most so many, and say how many there were."""
    last = deque(enumerate(islice(items, count), 1), maxlen=1)
    return last[0][0] if last else 0


def _later(items: object, count: int) -> Iterator[int]:
    # A new iterator, since what `__setstate__` counts from is not the same in all versions of Python.
    _, (whole,), *place = cast("_Reducible", items).__reduce__()
    return iter(cast("range", whole)[(place[0] or 0) + count :])


def _jump(items: object, most: int) -> int:
    """Go on in the list that the items come from, in one step, and say how far.

    torch's samplers draw a permutation, make a list of it and yield from that: a generator that does this
    cannot tell a jump of the list's iterator from being asked as many times.
    """
    while isinstance(items, GeneratorType):
        items = cast("object", items.gi_yieldfrom)
    if type(items) is not LIST_ITERATOR:
        return 0
    left = length_hint(items)
    took = min(left, most)
    if took:
        whole = cast("list[object]", cast("_Reducible", items).__reduce__()[1][0])
        cast("_Reducible", items).__setstate__(len(whole) - left + took)
    return took


class _Reducible(Protocol):
    """What the iterators of lists and ranges have for being pickled."""

    def __reduce__(self) -> tuple[object, tuple[object], *tuple[int | None, ...]]: ...
    def __setstate__(self, place: int, /) -> None: ...
