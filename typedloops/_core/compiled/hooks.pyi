from collections.abc import Iterable

from typing_extensions import disjoint_base

from typedloops._core.calls import AnyCallable

@disjoint_base
class Hook:
    """Who listens to one event, worked out once.

    Calling it calls every listener in order with the same arguments.

    Args:
        name: The event, as its listeners call it: `on_train_start`.
        listeners: What to call.

    Raises:
        EscapedStopIteration: A listener let a `StopIteration` out.
    """

    def __init__(self, name: str, listeners: Iterable[AnyCallable]) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def listeners(self) -> tuple[AnyCallable, ...]: ...
    def __call__(self, *args: object) -> None: ...
    def __len__(self) -> int: ...

@disjoint_base
class StopFlag:
    """A request to stop that the compiled drivers read as one C integer."""

    requested: bool
    def __init__(self) -> None: ...
