"""Trackers of several optimizers, one for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic, cast

from typing_extensions import Protocol, TypeVar

from typedloops._core.counting import check_keys
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import StateError


class Tracker(Protocol):
    """What counts for one optimizer."""

    def reset_on_run(self) -> None: ...
    def reset_on_restart(self) -> None: ...
    def state_dict(self) -> dict[str, object]: ...
    def load_state_dict(self, state_dict: Mapping[str, object], /) -> None: ...


T = TypeVar("T", bound=Tracker)


class Each(Generic[T]):
    """A tracker for each of several optimizers; none while it is not known how many there are, or with one.

    Args:
        make: Makes a tracker.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.trackers: list[T] = []

    def of(self, count: int) -> Sequence[T]:
        """The trackers of `count` optimizers: new ones, or those whose state was loaded.

        Raises:
            StateError: It was loaded from a fit with another number of optimizers.
        """
        if not self.trackers and count > 1:
            self.trackers = [self._make() for _ in range(count)]
        if len(self.trackers) != (count if count > 1 else 0):
            raise StateError(
                "optimizers",
                f"the state is that of {len(self.trackers)} optimizers, and the module has {count}",
                "Return from configure_optimizers as many as there were.",
            )
        return self.trackers

    def reset(self) -> None:
        self.trackers = []

    def reset_on_run(self) -> None:
        for tracker in self.trackers:
            tracker.reset_on_run()

    def reset_on_restart(self) -> None:
        for tracker in self.trackers:
            tracker.reset_on_restart()

    def state_dict(self) -> dict[str, object]:
        return {"trackers": [tracker.state_dict() for tracker in self.trackers]}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        states = check_keys(type(self).__name__, ("trackers",), state_dict)["trackers"]
        if not is_list_or_tuple(states):
            raise StateError(
                "trackers", f"a list of states is wanted, got {states!r}", "Load what `state_dict()` returned."
            )
        loaded = [self._loaded(index, state) for index, state in enumerate(states)]
        if len(loaded) != len(self.trackers):
            self.trackers = loaded
        # In place: whoever counts with these trackers goes on counting with them.
        for tracker, state in zip(self.trackers, loaded, strict=True):
            tracker.load_state_dict(state.state_dict())

    def _loaded(self, index: int, state: object) -> T:
        if not is_mapping(state):
            raise StateError(
                f"trackers[{index}]", f"its state is a mapping, got {state!r}", "Load what `state_dict()` returned."
            )
        tracker = self._make()
        tracker.load_state_dict(state)
        return tracker

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Each) and self.state_dict() == cast("Each[T]", other).state_dict()

    # Mutable, and compared by value.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.trackers!r})"
