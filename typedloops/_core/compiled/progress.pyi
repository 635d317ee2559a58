from collections.abc import Mapping
from types import GenericAlias
from typing import ClassVar, Generic

from typing_extensions import TypeVar, disjoint_base

_T_co = TypeVar("_T_co", bound=ReadyCompleted, covariant=True, default=Processed)

@disjoint_base
class ReadyCompleted:
    """Counts what only begins and ends: `ready` and `completed`."""

    fields: ClassVar[tuple[str, ...]]
    ready: int
    completed: int
    def __init__(self, ready: int = 0, completed: int = 0) -> None: ...
    def reset(self) -> None:
        """Set every counter to 0."""

    def reset_on_restart(self) -> None:
        """Set every counter back to `completed`: what was under way will be done again."""

    def state_dict(self) -> dict[str, int]: ...
    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Take the counters from `state_dict`.

        Raises:
            StateError: A key is unknown or missing, or a value is not a count.
        """

    def __eq__(self, value: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

@disjoint_base
class Started(ReadyCompleted):
    """Adds `started`: the hooks before it have run."""

    started: int
    def __init__(self, ready: int = 0, started: int = 0, completed: int = 0) -> None: ...

@disjoint_base
class Processed(Started):
    """Adds `processed`: the work is done, the hooks after it have not run yet."""

    processed: int
    def __init__(self, ready: int = 0, started: int = 0, processed: int = 0, completed: int = 0) -> None: ...

@disjoint_base
class Progress(Generic[_T_co]):
    """Two trackers of one class: `total` over everything, `current` since the last run began.

    Args:
        total: Where to begin in all; by default a tracker of `default_tracker` at 0.
        current: Where to begin in this run; of the same class as `total`.

    Raises:
        ConfigurationError: The two are not trackers of one class.
    """

    default_tracker: ClassVar[type[ReadyCompleted]]
    def __class_getitem__(cls, item: object, /) -> GenericAlias: ...
    @property
    def total(self) -> _T_co: ...
    @property
    def current(self) -> _T_co: ...
    def __init__(self, total: _T_co | None = None, current: _T_co | None = None) -> None: ...
    def increment_ready(self) -> None: ...
    def increment_started(self: Progress[Started]) -> None: ...
    def increment_processed(self: Progress[Processed]) -> None: ...
    def increment_completed(self) -> None: ...
    def reset(self) -> None:
        """Set both trackers to 0: a new beginning."""

    def reset_on_run(self) -> None:
        """Set `current` to 0: a new run of something that has run before."""

    def reset_on_restart(self) -> None:
        """Set `current` back to what it had completed: a saved run goes on."""

    def state_dict(self) -> dict[str, object]: ...
    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Take both trackers from `state_dict`; nothing changes when it does not fit.

        Raises:
            StateError: A key is unknown or missing, or a value is not a count.
        """

    def __eq__(self, value: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

@disjoint_base
class BatchProgress(Progress[Processed]):
    """The batches of a loader, and whether the one under way is its last."""

    is_last_batch: bool
    def __init__(
        self, total: Processed | None = None, current: Processed | None = None, is_last_batch: bool = False
    ) -> None: ...

class DataLoaderProgress(Progress[ReadyCompleted]):
    """The loaders of an evaluation or a prediction."""

    def __init__(self, total: ReadyCompleted | None = None, current: ReadyCompleted | None = None) -> None: ...

class SchedulerProgress(Progress[ReadyCompleted]):
    """The steps of a learning-rate scheduler."""

    def __init__(self, total: ReadyCompleted | None = None, current: ReadyCompleted | None = None) -> None: ...
@disjoint_base
class CallCounter:
    """Counts its calls, whatever they are given: as something that is ready, or that is completed.

    Args:
        progress: Where to count.
        completed: Which of the two.
    """

    def __init__(self, progress: Progress[ReadyCompleted], completed: bool) -> None: ...
    def __call__(self, *args: object) -> None: ...

def restored(
    cls: type[Progress[ReadyCompleted]],
    total: ReadyCompleted,
    current: ReadyCompleted,
    is_last_batch: bool | None = None,
) -> Progress[ReadyCompleted]:
    """What a pickle or a copy of a progress is built with, past any `__init__` of a subclass."""

def restored_tracker(cls: type[ReadyCompleted], values: Mapping[str, int]) -> ReadyCompleted:
    """What a pickle or a copy of a tracker is built with, past any `__init__` of a subclass."""
