"""The samplers of a `DataLoader`: what they draw from, and what they must be told before a pass is begun again."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TypeAlias, cast

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler
from typing_extensions import Protocol

from typedloops.loops.run.passes.own_state import HasState, has_state
from typedloops.protocols.anything import Anything

Loader: TypeAlias = DataLoader[Anything]

KNOWN = (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    list,
    tuple,
    range,
    type(None),
)
"""Samplers that draw from torch's generator only, and no more of it once they have given an index."""

SAMPLERS = ("batch_sampler.sampler", "batch_sampler", "sampler")
WITH_EPOCH = ("dataset", *SAMPLERS)
"""The parts of a loader that may have been told of an epoch."""

NOTHING = object()


class HasEpoch(Protocol):
    def set_epoch(self, epoch: int, /) -> object: ...


class Samplers:
    """What a loader draws its indices from."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        parts = [_part(loader, place) for place in SAMPLERS]
        self.known: bool = all(type(part) in KNOWN for part in parts)
        self.stateful: HasState | None = None if self.known else next(filter(has_state, parts), None)

    def state(self) -> dict[str, object] | None:
        """The state of the sampler that has one."""
        # It may be made of what the sampler goes on changing.
        return None if self.stateful is None else copy.deepcopy(dict(self.stateful.state_dict()))

    def load(self, state: Mapping[str, object]) -> bool:
        """Give it back to it, and say whether there is one."""
        if self.stateful is None:
            return False
        self.stateful.load_state_dict(copy.deepcopy(dict(state)))
        return True

    def load_end(self, state: Mapping[str, object]) -> None:
        """Give it back the state of the end of a pass, so that its next one is whole."""
        # Some go on where they are told to once, and are then at the end of that pass; others begin the next one.
        if self.load(state) and next(iter(indices_of(self._loader)), NOTHING) is not NOTHING:
            self.load(state)

    def epochs(self) -> dict[str, int]:
        """The epoch that each part of the loader was told, by its place."""
        found: dict[str, int] = {}
        for place in WITH_EPOCH:
            part = _part(self._loader, place)
            epoch: object = getattr(part, "epoch", None)
            if isinstance(epoch, int) and callable(getattr(part, "set_epoch", None)):
                found[place] = epoch
        return found

    def tell(self, epochs: Mapping[str, object]) -> None:
        """Tell the parts of the loader what they had been told."""
        for place, epoch in self.epochs().items():
            if epochs.get(place, epoch) != epoch:
                cast("HasEpoch", _part(self._loader, place)).set_epoch(cast("int", epochs[place]))


def indices_of(loader: Loader) -> Iterable[object]:
    """What gives the indices of each batch, or of each item where there are no batches."""
    return cast("Iterable[object]", getattr(loader, name_of_indices(loader)))


def name_of_indices(loader: object) -> str:
    return "sampler" if getattr(loader, "batch_sampler", None) is None else "batch_sampler"


def _part(loader: object, place: str) -> object:
    part = loader
    for name in place.split("."):
        part = getattr(part, name, None)
    return part
