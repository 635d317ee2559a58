"""Loaders that save and load where they are by themselves: torchdata's `StatefulDataLoader`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import ClassVar, TypeGuard

from torch.utils.data import DataLoader
from typing_extensions import Protocol

from typedloops.loops.run.passes.generators import own, packed, restore, states_of, unpacked
from typedloops.loops.run.passes.saved import Saved
from typedloops.loops.run.passes.way import Way


class HasState(Protocol):
    def state_dict(self) -> Mapping[str, object]: ...
    def load_state_dict(self, state_dict: Mapping[str, object], /) -> object: ...


class StatefulLoader(HasState, Protocol):
    def __iter__(self) -> Iterator[object]: ...


def has_state(thing: object) -> TypeGuard[HasState]:
    return callable(getattr(thing, "state_dict", None)) and callable(getattr(thing, "load_state_dict", None))


def is_stateful_loader(loader: object) -> TypeGuard[StatefulLoader]:
    return has_state(loader)


class ByItself(Way):
    """A pass through a loader that is asked for its state, and given it back before it is iterated."""

    kind: ClassVar[str] = "a loader with a state of its own"
    watched: ClassVar[bool] = True

    def __init__(self, where: str, loader: StatefulLoader, exact: bool) -> None:
        super().__init__(where, exact)
        self._loader = loader

    @property
    def goes_back(self) -> bool:
        return False

    def begin(self) -> Iterator[object]:
        return iter(self._loader)

    def resume(self, saved: Saved) -> Iterator[object]:
        self._load(saved)
        batches = iter(self._loader)
        restore(self.where, own(self._loader), unpacked(saved.mapping("now")))
        return batches

    def position(self, taken: int, ended: bool) -> dict[str, object]:
        # A state may be made of what the loader goes on changing.
        state = copy.deepcopy(dict(self._loader.state_dict()))
        return {"state": state, "now": packed(states_of(own(self._loader)))}

    def conclude(self, saved: Saved) -> None:
        self._load(saved)
        if isinstance(self._loader, DataLoader):
            # torchdata's takes its state when it is iterated, draws for that, and then begins the next pass.
            iter(self._loader)
        restore(self.where, own(self._loader), unpacked(saved.mapping("now")))

    def _load(self, saved: Saved) -> None:
        self._loader.load_state_dict(copy.deepcopy(dict(saved.mapping("state"))))
