"""Where the generators of loaders are before several runs, so that each of them begins with the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from typedloops.loops.run.loaders import as_loaders
from typedloops.loops.run.passes.generators import Source, own, packed, restore, states_of, unpacked
from typedloops.loops.run.sources import is_factory
from typedloops.protocols.data import Loaders, LoaderSource, LoadersSource


class LoaderStart:
    """The states of the generators that loaders have for themselves; of functions that make loaders there are none."""

    def __init__(self) -> None:
        self._generators: list[dict[str, Source]] = []
        self._states: Sequence[Mapping[str, object]] | None = None

    def see(self, train_dataloaders: LoaderSource[object], val_dataloaders: LoadersSource[object] | None) -> None:
        """These are the loaders; where they are now is where each run begins, unless a state was loaded."""
        loaders: list[object] = [] if is_factory(train_dataloaders) else [train_dataloaders]
        if val_dataloaders is not None and not is_factory(val_dataloaders):
            loaders += as_loaders("validation dataloaders", cast("Loaders[object]", val_dataloaders))
        self._generators = [own(loader) for loader in loaders]
        if self._states is None:
            self._states = [packed(states_of(generators)) for generators in self._generators]

    def restore(self) -> None:
        """Put the generators back there."""
        for generators, states in zip(self._generators, self._states or (), strict=False):
            restore("a loader", generators, unpacked(states))

    def forget(self) -> None:
        """Another run of the whole begins."""
        self._generators, self._states = [], None

    def state_dict(self) -> dict[str, object]:
        return {"generators": self._states}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        self._states = cast("Sequence[Mapping[str, object]] | None", state_dict["generators"])
