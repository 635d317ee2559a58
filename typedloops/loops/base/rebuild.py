"""Building a loop of another class with the values of the loop that it replaces."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import cast

from typing_extensions import Protocol, TypeVar, runtime_checkable

from typedloops.errors import LoopTreeError
from typedloops.loops.base.slot import BaseSlot, SlotOwner

L = TypeVar("L")


@runtime_checkable
class HasSlots(Protocol):
    """A loop with children; a loop that has only the shape of one has none to tell of."""

    @classmethod
    def slots(cls) -> Mapping[str, BaseSlot]: ...


def rebuild(where: str, old: object, new_class: type[L]) -> L:
    """A `new_class` whose `__init__` is given the attributes of `old` with its parameters' names.

    A child that `__init__` insists on is taken from `old`, for good; the others stay there.

    Raises:
        LoopTreeError: A parameter has no default and `old` no attribute of that name.
    """
    values: dict[str, object] = {}
    missing: list[str] = []
    slots: Mapping[str, BaseSlot] = old.slots() if isinstance(old, HasSlots) else {}
    held: dict[str, object] = getattr(old, "__dict__", {})
    for name, parameter in inspect.signature(new_class).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is not parameter.empty and name in slots:
            continue
        if name in held:
            value = held[name]
            values[name] = [*value] if name in slots and isinstance(value, list) else value
        elif parameter.default is parameter.empty:
            missing.append(name)
    if missing:
        raise LoopTreeError(
            where,
            f"a {new_class.__name__} cannot be built from the {type(old).__name__} that it replaces: "
            f"the old loop has no value for {', '.join(missing)} of {new_class.__name__}.__init__",
            f"Build it yourself and give the loop: replace(...={new_class.__name__}(...)).",
        )
    for name in values.keys() & slots.keys():
        slots[name].take(cast("SlotOwner", old))
    return new_class(**values)
