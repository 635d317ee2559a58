"""How both cores name the code that a `StopIteration` escaped from."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import cast

from typing_extensions import TypeVar

from typedloops._core.calls import AnyCallable
from typedloops.errors import EscapedStopIteration

R = TypeVar("R")


def name_of(function: object) -> str:
    """The name by which the author of `function` knows it."""
    while (inner := _inner(function)) is not None:
        function = inner
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", None)
    if isinstance(name, str) and owner is not None and not isinstance(owner, ModuleType):
        kind = owner if isinstance(owner, type) else type(owner)
        return f"{kind.__name__}.{name}"
    qualified = getattr(function, "__qualname__", None)
    return qualified if isinstance(qualified, str) else type(function).__name__


def _inner(function: object) -> object:
    """What `function` stands in front of, or None."""
    if isinstance(function, partial):
        return cast("partial[object]", function).func
    return None if hasattr(function, "__name__") else getattr(function, "__wrapped__", None)


def call(function: AnyCallable[R], *args: object) -> R:
    """Call what the user wrote: a `StopIteration` that it lets out must not end a loop.

    Raises:
        EscapedStopIteration: It did.
    """
    try:
        return function(*args)
    except StopIteration as stop:
        raise escaped_from(function) from stop


def escaped_from(function: object) -> EscapedStopIteration:
    return EscapedStopIteration(
        name_of(function),
        "StopIteration escaped from it",
        "StopIteration ends a loop only when the loop's own `on_advance_start`, `advance` or `on_advance_end` "
        "raises it; catch it here, or let the loop raise it.",
    )
