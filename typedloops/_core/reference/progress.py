"""Progress trackers: how far something has come, counted at four points.

A thing (a batch, an epoch, a step) is *ready* when it has been fetched, *started*
when the hooks before it have run, *processed* when its work is done and *completed*
when the hooks after it have run.

A counter is a plain attribute here and a C integer in the compiled core, which
therefore also refuses to have anything but an integer assigned.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import GenericAlias
from typing import ClassVar

from typing_extensions import Self

from typedloops._core.counting import (
    check_distinct,
    checked_counters,
    missing_counter,
    mixed_trackers,
    total_and_current,
    without_last_batch,
)


class ReadyCompleted:
    """Counts what only begins and ends: `ready` and `completed`."""

    fields: ClassVar[tuple[str, ...]] = ("ready", "completed")
    ready: int = 0
    completed: int = 0

    def __init__(self, ready: int = 0, completed: int = 0) -> None:
        self._assign({"ready": ready, "completed": completed})

    def _assign(self, values: object) -> None:
        for name, value in checked_counters(type(self).__name__, self.fields, values).items():
            setattr(self, name, value)

    def reset(self) -> None:
        """Set every counter to 0."""
        for name in self.fields:
            setattr(self, name, 0)

    def reset_on_restart(self) -> None:
        """Set every counter back to `completed`: what was under way will be done again."""
        for name in self.fields:
            setattr(self, name, self.completed)

    def state_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.fields}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Take the counters from `state_dict`.

        Raises:
            StateError: A key is unknown or missing, or a value is not a count.
        """
        self._assign(state_dict)

    def __eq__(self, value: object, /) -> bool:
        if type(value) is not type(self):
            return NotImplemented
        return self.state_dict() == value.state_dict()

    # Mutable, and compared by value.
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        counters = ", ".join(f"{name}={getattr(self, name)}" for name in self.fields)
        return f"{type(self).__name__}({counters})"


class Started(ReadyCompleted):
    """Adds `started`: the hooks before it have run."""

    fields: ClassVar[tuple[str, ...]] = ("ready", "started", "completed")
    started: int = 0

    def __init__(self, ready: int = 0, started: int = 0, completed: int = 0) -> None:
        self._assign({"ready": ready, "started": started, "completed": completed})


class Processed(Started):
    """Adds `processed`: the work is done, the hooks after it have not run yet."""

    fields: ClassVar[tuple[str, ...]] = ("ready", "started", "processed", "completed")
    processed: int = 0

    def __init__(self, ready: int = 0, started: int = 0, processed: int = 0, completed: int = 0) -> None:
        self._assign({"ready": ready, "started": started, "processed": processed, "completed": completed})


class Progress:
    """Two trackers of one class: `total` over everything, `current` since the last run began."""

    default_tracker: ClassVar[type[ReadyCompleted]] = Processed
    __class_getitem__: ClassVar[object] = classmethod(GenericAlias)  # pyright: ignore[reportUnknownVariableType]

    total: ReadyCompleted
    current: ReadyCompleted

    # Takes what the `__init__` of any subclass takes.
    def __new__(cls, *args: object, **kwargs: object) -> Self:
        progress = super().__new__(cls)
        progress._set(cls.default_tracker(), cls.default_tracker())
        return progress

    def __init__(  # pyright: ignore[reportInconsistentConstructor]
        self, total: ReadyCompleted | None = None, current: ReadyCompleted | None = None
    ) -> None:
        if total is None and current is not None:
            total = type(current)()
        if total is not None and current is None:
            current = type(total)()
        if total is not None and current is not None:
            if type(total) is not type(current) or not isinstance(total, ReadyCompleted):
                raise mixed_trackers(type(self).__name__, total, current)
            check_distinct(type(self).__name__, total, current)
            self._set(total, current)

    def _set(self, total: ReadyCompleted, current: ReadyCompleted) -> None:
        self.total = total
        self.current = current

    def increment_ready(self) -> None:
        self.total.ready += 1
        self.current.ready += 1

    def increment_started(self) -> None:
        if not isinstance(self.total, Started) or not isinstance(self.current, Started):
            raise missing_counter(self, self.total, "started")
        self.total.started += 1
        self.current.started += 1

    def increment_processed(self) -> None:
        if not isinstance(self.total, Processed) or not isinstance(self.current, Processed):
            raise missing_counter(self, self.total, "processed")
        self.total.processed += 1
        self.current.processed += 1

    def increment_completed(self) -> None:
        self.total.completed += 1
        self.current.completed += 1

    def reset(self) -> None:
        """Set both trackers to 0: a new beginning."""
        self.total.reset()
        self.current.reset()

    def reset_on_run(self) -> None:
        """Set `current` to 0: a new run of something that has run before."""
        self.current.reset()

    def reset_on_restart(self) -> None:
        """Set `current` back to what it had completed: a saved run goes on."""
        self.current.reset_on_restart()

    def state_dict(self) -> dict[str, object]:
        return {"total": self.total.state_dict(), "current": self.current.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Take both trackers from `state_dict`; nothing changes when it does not fit.

        Raises:
            StateError: A key is unknown or missing, or a value is not a count.
        """
        total, current = total_and_current(type(self).__name__, type(self.total), state_dict)
        # In place: whoever counts with these trackers goes on counting with them.
        self.total.load_state_dict(total.state_dict())
        self.current.load_state_dict(current.state_dict())

    def __eq__(self, value: object, /) -> bool:
        if type(value) is not type(self):
            return NotImplemented
        return self.total == value.total and self.current == value.current

    # Mutable, and compared by value.
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(total={self.total!r}, current={self.current!r})"


class BatchProgress(Progress):
    """The batches of a loader, and whether the one under way is its last."""

    # As `Progress[Processed]` has them.
    total: Processed  # pyright: ignore[reportIncompatibleVariableOverride]
    current: Processed  # pyright: ignore[reportIncompatibleVariableOverride]
    is_last_batch: bool = False

    def __init__(  # pyright: ignore[reportInconsistentConstructor]
        self, total: Processed | None = None, current: Processed | None = None, is_last_batch: bool = False
    ) -> None:
        super().__init__(total, current)
        if not isinstance(self.total, Processed):
            raise missing_counter(self, self.total, "processed")
        self.is_last_batch = is_last_batch

    def reset(self) -> None:
        super().reset()
        self.is_last_batch = False

    def reset_on_run(self) -> None:
        super().reset_on_run()
        self.is_last_batch = False

    def state_dict(self) -> dict[str, object]:
        return {**super().state_dict(), "is_last_batch": self.is_last_batch}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        trackers, is_last_batch = without_last_batch(type(self).__name__, state_dict)
        super().load_state_dict(trackers)
        self.is_last_batch = is_last_batch

    def __eq__(self, value: object, /) -> bool:
        return super().__eq__(value) and isinstance(value, BatchProgress) and self.is_last_batch == value.is_last_batch

    def __repr__(self) -> str:
        return super().__repr__()[:-1] + f", is_last_batch={self.is_last_batch})"


class DataLoaderProgress(Progress):
    """The loaders of an evaluation or a prediction."""

    default_tracker = ReadyCompleted


class SchedulerProgress(Progress):
    """The steps of a learning-rate scheduler."""

    default_tracker = ReadyCompleted


class CallCounter:
    """Counts its calls, whatever they are given: as something that is ready, or that is completed."""

    def __init__(self, progress: Progress, completed: bool) -> None:
        self._increment = progress.increment_completed if completed else progress.increment_ready

    def __call__(self, *args: object) -> None:
        self._increment()
