"""One pass through a loader, which can be begun again in the middle."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Generic, TypeAlias, cast
from weakref import WeakKeyDictionary

import torch
from torch import Generator, Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, get_worker_info
from typing_extensions import TypeVar

from typedloops.loops.run.loaders import iterate
from typedloops.protocols.anything import Anything

B = TypeVar("B")
I = TypeVar("I")

Loader: TypeAlias = "DataLoader[Anything]"

GENERATORS = ("generator", "sampler.generator", "batch_sampler.generator", "batch_sampler.sampler.generator")
"""Where a loader may keep what its order is drawn from, besides torch's own generator."""


class PassStart:
    """What the order of a pass was drawn from: the states of the generators when it began.

    Args:
        states: The state of torch's own generator under "", those of the loader's by their place.
        reused: Whether the pass is given by persistent workers that an earlier pass has started:
            starting them draws a number.
    """

    def __init__(self, states: dict[str, Tensor], reused: bool = False) -> None:
        self.states = states
        self.reused = reused

    @classmethod
    def of(cls, loader: object) -> PassStart:
        """The states of now."""
        states = {place: generator.get_state() for place, generator in _generators(loader).items()}
        return cls({"": torch.get_rng_state(), **states}, _has_started(loader))

    def restore(self, loader: object) -> None:
        """Put the generators back to where the pass began."""
        torch.set_rng_state(self.states[""])
        for place, generator in _generators(loader).items():
            generator.set_state(self.states[place])

    @property
    def seed(self) -> int:
        """A number that is the same for the same start."""
        digest = hashlib.sha256()
        for state in self.states.values():
            digest.update(state.numpy().tobytes())
        return int.from_bytes(digest.digest()[:8], "little")


def _generators(loader: object) -> dict[str, Generator]:
    found: dict[str, Generator] = {}
    for place in GENERATORS:
        thing: object = loader
        for name in place.split("."):
            thing = getattr(thing, name, None)
        if isinstance(thing, Generator) and all(thing is not other for other in found.values()):
            found[place] = thing
    return found


def begin(loader: Iterable[B], start: PassStart, skip: int = 0) -> Iterator[B]:
    """Begin a pass.

    A torch `DataLoader` over a dataset with indices skips indices and no data, and its workers
    draw their random numbers anew for each batch, from the start of the pass and the index of the
    batch: so batches are the same wherever the pass is begun.  Of any other iterable the first
    batches are taken and let go.

    Args:
        loader: What to go through.
        start: The states of its generators, which must be as they are now.
        skip: How many batches to leave out at the beginning.
    """
    if not isinstance(loader, DataLoader) or isinstance(cast("Loader", loader).dataset, IterableDataset):
        batches = iter(loader)
        for _ in islice(batches, skip):
            pass  # now, under the random numbers of then
        return batches
    if skip == 0 and loader.num_workers == 0:
        return iter(loader)
    _start_workers(cast("Loader", loader), start)
    return cast("Iterator[B]", _begin_by_indices(cast("Loader", loader), start, skip))


def _has_started(loader: object) -> bool:
    return getattr(loader, "_iterator", None) is not None


def _start_workers(loader: Loader, start: PassStart) -> None:
    """Let persistent workers be started or not, as they were when the pass began."""
    if start.reused and not _has_started(loader):
        _begin_by_indices(loader, start, skip=None)
        start.restore(loader)
    elif not start.reused and _has_started(loader):
        loader._iterator = None


def _begin_by_indices(loader: Loader, start: PassStart, skip: int | None) -> Iterator[object]:
    # What the loader draws its indices from is looked up once, when the iterator is made: a DataLoader lets nobody
    # exchange it, and persistent workers keep the first one for all later passes.
    name = "sampler" if loader.batch_sampler is None else "batch_sampler"
    original: object = getattr(loader, name)
    indices = _INDICES.setdefault(loader, _Indices(cast("Iterable[object]", original)))
    indices.aim(start.seed if loader.num_workers else None, skip)
    object.__setattr__(loader, name, indices)
    try:
        batches = iter(loader)
        if skip:
            indices.draw()
        return batches
    finally:
        indices.aim(None, 0)
        object.__setattr__(loader, name, original)


class _Indices(Generic[I]):
    """Stands in for the sampler of a loader: leaves out the first of its batches, and sends a seed with each other."""

    def __init__(self, sampler: Iterable[I]) -> None:
        self._sampler = sampler
        self._seed: int | None = None
        self._skip: int | None = 0
        self._rest: _Ahead[I] = _Ahead(iter(()))

    def aim(self, seed: int | None, skip: int | None) -> None:
        """Say what the next pass is to be; `skip` is None for one without batches."""
        self._seed, self._skip = seed, skip

    def __iter__(self) -> Iterator[object]:
        seed, skip = self._seed, self._skip
        if skip is None:
            return iter(())
        self._rest = _Ahead(_without_first(self._sampler, skip))
        if seed is None:
            return self._rest
        return (_Seeded(indices, (seed + number) % 2**63) for number, indices in enumerate(self._rest, skip))

    def draw(self) -> None:
        """Let the sampler draw its order now, of which some batches had been given when the pass was left."""
        self._rest.look()

    def __len__(self) -> int:
        return len(self._sampler)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportUnknownVariableType]  # as the loader asks


class _Ahead(Iterator[I]):
    """An iterator that can be made to get its next item before it is asked for it."""

    def __init__(self, items: Iterator[I]) -> None:
        self._items = items
        self._got: list[I] = []

    def look(self) -> None:
        self._got += self._got or islice(self._items, 1)

    def __next__(self) -> I:
        return self._got.pop() if self._got else next(self._items)


def _without_first(sampler: Iterable[I], batches: int) -> Iterator[I]:
    if type(sampler) is BatchSampler and batches:
        # The indices of what is left out are not even put into lists.
        samples = islice(sampler.sampler, batches * sampler.batch_size, None)
        return cast("Iterator[I]", iter(BatchSampler(samples, sampler.batch_size, sampler.drop_last)))
    return islice(sampler, batches, None)


class _Seeded:
    """The indices of a batch on their way to a worker, where they arrive as they were and seed its generators."""

    def __init__(self, indices: object, seed: int) -> None:
        self._indices = indices
        self._seed = seed

    def __reduce__(self) -> tuple[object, tuple[object, int]]:
        return _arrive, (self._indices, self._seed)


def _arrive(indices: object, seed: int) -> object:
    if get_worker_info() is not None:
        random.seed(seed)
        torch.manual_seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed % 2**32)
    return indices


_INDICES: WeakKeyDictionary[Loader, _Indices[object]] = WeakKeyDictionary()


class LoaderPass(Generic[B]):
    """One pass through a loader, whose position can be saved, and which can be begun again there."""

    def __init__(
        self, where: str, loader: Iterable[B], *, resumed: Mapping[str, object] | None = None, exact: bool = False
    ) -> None:
        self._where = where
        self._loader = loader
        self._resumed = resumed
        self._start: PassStart | None = None

    def __iter__(self) -> Iterator[B]:
        if self._resumed is None:
            self._start = PassStart.of(self._loader)
            if isinstance(self._loader, DataLoader):
                return begin(self._loader, self._start)
            return iterate(self._where, self._loader)
        self._start = PassStart(cast("dict[str, Tensor]", self._resumed["states"]), bool(self._resumed["reused"]))
        self._start.restore(self._loader)
        return begin(self._loader, self._start, cast("int", self._resumed["taken"]))

    def state_dict(self, taken: int) -> dict[str, object]:
        assert self._start is not None
        return {"states": self._start.states, "reused": self._start.reused, "taken": taken}
