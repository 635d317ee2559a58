"""Who listens to what, worked out once at the start of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from typedloops._core import Hook
from typedloops._core.calls import AnyCallable
from typedloops.errors import HookError

FRAMEWORK_PLACEHOLDERS = (
    "lightning.pytorch.core.",
    "lightning.pytorch.callbacks.callback",
    "pytorch_lightning.core.",
    "pytorch_lightning.callbacks.callback",
)
"""Modules whose classes define hooks that do nothing until they are overridden."""


def defining_class(kind: type[object], name: str) -> type[object] | None:
    """The class that `kind` has the attribute `name` from, or None."""
    return next((base for base in kind.__mro__ if name in vars(base)), None)


def is_placeholder(kind: type[object]) -> bool:
    """Whether what the class itself defines is there to be overridden and does nothing."""
    return bool(vars(kind).get("placeholder_hooks")) or f"{kind.__module__}.".startswith(FRAMEWORK_PLACEHOLDERS)


def listener(thing: object, name: str) -> AnyCallable | None:
    """The method `name` of `thing`, unless it has none or a base class's that does nothing."""
    if name not in getattr(thing, "__dict__", {}):
        kind = defining_class(type(thing), name)
        if kind is None or is_placeholder(kind):
            return None
    method: object = getattr(thing, name)
    return method if callable(method) else None


class Listeners:
    """The callbacks and the module of a run, asked once for each event.

    Args:
        callbacks: Called with the trainer, the module and the event's arguments.
        module: Called after them, with the event's arguments.
        trainer: What callbacks get as their trainer.

    Raises:
        HookError: A callback is a class.
    """

    def __init__(self, callbacks: Sequence[object], module: object, trainer: object) -> None:
        self._callbacks = _instances(callbacks)
        self._module = module
        self._trainer = trainer
        self._hooks: dict[str, Hook] = {}

    def add_callbacks(self, callbacks: Iterable[object]) -> None:
        """Add callbacks of the module's own; events that were asked for before are asked for anew."""
        self._callbacks += _instances(callbacks)
        self._hooks.clear()

    def of_callbacks(self, event: str) -> tuple[AnyCallable, ...]:
        found = (listener(callback, event) for callback in self._callbacks)
        return tuple(partial(method, self._trainer, self._module) for method in found if method is not None)

    def of_module(self, event: str) -> AnyCallable | None:
        return listener(self._module, event)

    def hook(self, event: str) -> Hook:
        """The callbacks' listeners, then the module's."""
        hook = self._hooks.get(event)
        if hook is None:
            own = self.of_module(event)
            hook = self._hooks[event] = Hook(event, [*self.of_callbacks(event), *([own] if own else [])])
        return hook


def _instances(callbacks: Iterable[object]) -> tuple[object, ...]:
    callbacks = tuple(callbacks)
    for callback in callbacks:
        if isinstance(callback, type):
            raise HookError(
                f"callbacks: {callback.__name__}", "it is a class", f"Give an instance: {callback.__name__}()."
            )
    return callbacks
