"""torch's `DataLoader` over a dataset with indices: indices are left out, and nothing is fetched for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import ClassVar, TypeGuard, cast

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from typedloops.loops.run.computing.seeding import Workers, rank
from typedloops.loops.run.passes.generators import (
    Source,
    own,
    packed,
    restore,
    shared,
    states_of,
    torch_alone,
    unpacked,
)
from typedloops.loops.run.passes.samplers import Loader, Samplers, indices_of
from typedloops.loops.run.passes.saved import Saved, inexact
from typedloops.loops.run.passes.skipping import Watch, from_batch
from typedloops.loops.run.passes.way import Way
from typedloops.loops.run.passes.workers import Drawn, Indices, begin_with


class ByIndices(Way):
    """A pass through a `DataLoader`, begun anywhere in constant time.

    The order of a pass is drawn from generators, whose states of its beginning are kept.  It is
    begun again under these, and the indices of what had been taken are left out.  A sampler with
    `state_dict` and `load_state_dict` is asked for its own state instead.

    Workers seed the generators of Python, NumPy and torch for each batch, by where the generators
    were when the pass began and the number of the batch: so its random numbers are the same
    whichever worker makes it, and wherever the pass was begun.  A `worker_init_fn` is called
    before that; what it seeds besides these three is not touched.
    """

    kind: ClassVar[str] = "a DataLoader over indices"

    def __init__(self, where: str, loader: Loader, exact: bool) -> None:
        super().__init__(where, exact)
        self._loader = loader
        self._samplers = Samplers(loader)
        self._first = 0
        self._first_state: object = None
        self._drawn: Drawn | None = None
        self._indices: Indices | None = None
        self._at_end = False

    @staticmethod
    def fits(loader: object) -> TypeGuard[Loader]:
        """Whether it is one whose iterator is torch's: another one may be made of it in any way."""
        return (
            isinstance(loader, DataLoader)
            and not isinstance(getattr(loader, "dataset", None), IterableDataset)
            and _as_torch_has_it(type(loader), "__iter__")
            and _as_torch_has_it(type(loader), "_get_iterator")
        )

    @property
    def goes_back(self) -> bool:
        return self._samplers.stateful is None or self._drawn is not None

    def begin(self) -> Iterator[object]:
        self._start = states_of(self._sources())
        return self._iterate(0)

    def resume(self, saved: Saved) -> Iterator[object]:
        self._check_workers(saved)
        self._first, self._first_state = saved.taken, saved.position.get("sampler")
        self._start = unpacked(saved.mapping("start"))
        restore(self.where, self._sources(), self._start)
        batches = self._iterate(self._prepare(saved))
        # Its own generators are there already, unless others draw from them too, or indices are drawn further ahead.
        if saved.position.get("ahead") == _most_ahead(self._loader):
            restore(self.where, own(self._loader), unpacked(saved.mapping("now")))
        return batches

    def position(self, taken: int, ended: bool) -> dict[str, object]:
        return {
            "ahead": _most_ahead(self._loader),
            "start": packed(self._start),
            "now": packed(states_of(own(self._loader))),
            "epochs": self._samplers.epochs(),
            "sampler": self._state_of_sampler(taken),
        }

    def conclude(self, saved: Saved) -> None:
        self._start = unpacked(saved.mapping("start"))
        self._samplers.tell(saved.mapping("epochs"))
        if saved.position.get("sampler") is not None:
            self._samplers.load_end(saved.mapping("sampler"))
        restore(self.where, own(self._loader), unpacked(saved.mapping("now")))

    def has_ended(self, taken: int) -> bool:
        if self._indices is None:
            return self._at_end
        return self._indices.total is not None and taken >= self._indices.total

    def _state_of_sampler(self, taken: int) -> object:
        # Before its first batch of this pass a sampler may not know yet that there is one.
        if taken == self._first:
            return self._first_state
        return self._samplers.state() if self._drawn is None else self._drawn.after(taken)

    def _sources(self) -> dict[str, Source]:
        return (torch_alone() if self._samplers.known else shared()) | own(self._loader)

    def _prepare(self, saved: Saved) -> int:
        """Tell the samplers what they are to know, and say how many of their batches are left to leave out."""
        self._samplers.tell(saved.mapping("epochs"))
        if saved.position.get("sampler") is not None and self._samplers.load(saved.mapping("sampler")):
            return 0
        return saved.taken

    def _iterate(self, skipped: int) -> Iterator[object]:
        watch = Watch(on=not self._samplers.known)
        if self._loader.num_workers:
            self._indices = self._indices_from(skipped, watch)
            batches = begin_with(self._loader, self._indices)
        else:
            batches = cast("Iterator[object]", iter(self._loader))
            vars(batches)["_sampler_iter"] = self._rest(vars(batches)["_sampler_iter"], skipped, watch)
        if watch.drawn_from():
            inexact(
                self.where,
                "its sampler draws from the generators that everybody draws from as it goes, so the indices of a "
                "resumed pass may be others than those of the whole one",
                "Let it draw all at once when a pass begins, or from a generator of its own.",
                self.exact,
            )
        return batches

    def _rest(self, items: Iterator[object], skipped: int, watch: Watch) -> Iterator[object]:
        indices = from_batch(indices_of(self._loader), items, skipped, watch)
        # The order is drawn with the first index.  That is done here: were it done when the first batch is asked
        # for, something else might have been drawn in between.
        looked = () if skipped or self._samplers.stateful is not None else tuple(islice(indices, 1))
        return chain(looked, indices, self._end())

    def _end(self) -> Iterator[object]:
        self._at_end = True
        yield from ()

    def _indices_from(self, skipped: int, watch: Watch) -> Indices:
        note = None
        if self._samplers.stateful is not None:
            self._drawn = Drawn(self._samplers.state, _most_ahead(self._loader))
            note = self._drawn.note
        return Indices(indices_of(self._loader), _seed(self._start), self._first, skipped, watch, note)

    def _check_workers(self, saved: Saved) -> None:
        workers = self._loader.num_workers > 0
        if not saved.taken:
            return
        if workers and not self._loader.in_order:
            inexact(
                self.where,
                "its batches come in the order in which workers finish, so which of them were taken is not known",
                "Leave out in_order=False.",
                self.exact,
            )
        if bool(saved.position.get("ahead")) is not workers:
            inexact(
                self.where,
                "its batches are loaded by workers now and were not when its position was saved, or the other way "
                "round: what is random in them is drawn from other generators",
                "Resume with workers where there were some, in any number.",
                self.exact,
            )


def _as_torch_has_it(kind: type[object], name: str) -> bool:
    return getattr(kind, name) is getattr(DataLoader, name)


def _most_ahead(loader: Loader) -> int:
    """How many batches of indices are drawn before they are needed; 0 without workers."""
    return (loader.prefetch_factor or 0) * loader.num_workers


def _seed(start: Mapping[str, object]) -> int:
    """A number that is the same for the same start, and another one in each process that is to draw others."""
    digest = hashlib.blake2b(digest_size=8)
    for _, state in sorted(start.items()):
        if isinstance(state, Tensor):
            digest.update(state.numpy().tobytes())
    if Workers.seeded and rank():
        digest.update(f"/{rank()}".encode())
    return int.from_bytes(digest.digest(), "little")
