"""Who listens to an event, and the request to stop."""

from __future__ import annotations

from collections.abc import Iterable

from typedloops._core.calls import AnyCallable
from typedloops._core.escape import escaped_from


class Hook:
    """Who listens to one event, worked out once: calling it calls every listener in order."""

    def __init__(self, name: str, listeners: Iterable[AnyCallable]) -> None:
        self.name = name
        self.listeners = tuple(listeners)

    def __call__(self, *args: object) -> None:
        for listener in self.listeners:
            try:
                listener(*args)
            except StopIteration as stop:
                raise escaped_from(listener) from stop

    def __len__(self) -> int:
        return len(self.listeners)

    def __repr__(self) -> str:
        return f"Hook({self.name!r}, {len(self.listeners)} listeners)"


class StopFlag:
    """A request to stop."""

    def __init__(self) -> None:
        self.requested = False

    def __repr__(self) -> str:
        return f"StopFlag(requested={self.requested})"
