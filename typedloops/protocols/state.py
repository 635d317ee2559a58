"""What can be saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import Protocol, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """An object whose state is a mapping: trackers, loops, schedulers, samplers."""

    def state_dict(self) -> Mapping[str, object]: ...
    def load_state_dict(self, state_dict: Mapping[str, object], /) -> object: ...
