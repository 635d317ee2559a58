"""Indices on their way to the workers of a `DataLoader`, each batch of them with a seed."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import torch
from torch.utils.data import get_worker_info

from typedloops.loops.run.passes.samplers import Loader, indices_of, name_of_indices
from typedloops.loops.run.passes.skipping import Watch, from_batch

SEEDS = 2**63


class Indices:
    """Stands in for the sampler of a loader: leaves out the first of its batches, and sends a seed with each other.

    `total` is how many batches the pass has, once the sampler has said so.

    Args:
        sampler: The loader's own.
        seed: That of the first batch of the pass; each other has the next one.
        first: Which batch comes first.
        skipped: How many batches of the sampler are left out.
        watch: Told when the first index of those left out has been drawn.
        note: Called after each batch with how many have been drawn, counted from the beginning of the pass.
    """

    def __init__(
        self,
        sampler: Iterable[object],
        seed: int,
        first: int,
        skipped: int,
        watch: Watch,
        note: Callable[[int], object] | None,
    ) -> None:
        self._sampler = sampler
        self._seed = seed
        self._first = first
        self._skipped = skipped
        self._watch = watch
        self._note = note
        self.total: int | None = None

    def __iter__(self) -> Iterator[object]:
        # The sampler is asked when the first batch is: a loader makes two iterators when it starts workers.
        rest = from_batch(self._sampler, iter(self._sampler), self._skipped, self._watch)
        drawn = self._first
        for indices in rest:
            drawn += 1
            if self._note is not None:
                self._note(drawn)
            yield Seeded(indices, (self._seed + drawn) % SEEDS)
        self.total = drawn


class Seeded:
    """The indices of a batch, which arrive in a worker as they were and seed its generators."""

    def __init__(self, indices: object, seed: int) -> None:
        self._indices = indices
        self._seed = seed

    def __reduce__(self) -> tuple[object, tuple[object, int]]:
        return _arrive, (self._indices, self._seed)


def _arrive(indices: object, seed: int) -> object:
    if get_worker_info() is not None:
        random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed(seed % 2**32)
    return indices


def begin_with(loader: Loader, indices: Indices) -> Iterator[object]:
    """`iter(loader)` of a loader with workers, which are sent these indices.

    Workers that live on draw a number when a pass begins, as those do that are started for it: so a pass
    begins in the same way whether there were workers or not, and no two passes have the same seeds.
    """
    under_way: object = getattr(loader, "_iterator", None)
    if under_way is not None:
        generator = cast("torch.Generator | None", getattr(loader, "generator", None))
        torch.empty((), dtype=torch.int64).random_(generator=generator)
    # What indices come from is looked up once, when the iterator is made: a DataLoader lets nobody exchange it, and
    # persistent workers keep it for all later passes.
    name, own = name_of_indices(loader), indices_of(loader)
    object.__setattr__(loader, name, indices)
    _exchange(under_way, indices)
    try:
        batches = iter(loader)
    finally:
        object.__setattr__(loader, name, own)
        _exchange(under_way, own)
    _exchange(batches, own)
    return batches


def _exchange(batches: object, indices: object) -> None:
    if batches is not None:
        vars(batches)["_index_sampler"] = indices


class Drawn:
    """The states of a sampler after each of the last batches of indices that were drawn ahead.

    Args:
        state: Asks the sampler.
        most: How many batches may have been drawn and not taken.
    """

    def __init__(self, state: Callable[[], object], most: int) -> None:
        self._state = state
        self._last: deque[tuple[int, object]] = deque(maxlen=most + 2)

    def note(self, drawn: int) -> None:
        self._last.append((drawn, self._state()))

    def after(self, taken: int) -> object:
        """The state after so many batches, or None where none had been drawn."""
        return dict(self._last).get(taken)
