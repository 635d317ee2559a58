"""What both cores do with the rarer parts of a batch, and what they ask of a tensor."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from typing import cast

from typing_extensions import Protocol, Self, TypeVar

from typedloops._core.calls import AnyCallable

T = TypeVar("T")

Move = Callable[[object], object]
"""Moves a part; what need not be moved comes back as it is."""


class Movable(Protocol):
    """What the transfer does with a tensor: a `torch.Tensor`."""

    def is_floating_point(self) -> bool: ...
    @property
    def to(self) -> AnyCallable[Self]: ...


def move_other(part: T, device: object, move: Move) -> T:
    """Move what is neither a tensor nor exactly a list, tuple or dict.

    Args:
        part: A part of a batch.
        device: Where to; None where only the type of numbers is to change.
        move: Moves a part of this part.

    Returns:
        What has a method `to`, moved by it; a container or dataclass of the same class with its parts
        moved; anything else, and whatever has nothing to move in it, as it is.
    """
    thing: object = part
    to: object = None if isinstance(thing, type) else getattr(thing, "to", None)
    if callable(to):
        return part if device is None else _moved_by_itself(part, to, device)
    if isinstance(thing, list):
        thing = _list(cast("list[object]", thing), move)
    elif isinstance(thing, tuple):
        thing = _tuple(cast("tuple[object, ...]", thing), move)
    elif isinstance(thing, Mapping):
        thing = _mapping(cast("Mapping[object, object]", thing), move)
    elif is_dataclass(thing) and not isinstance(thing, type):
        thing = _dataclass(thing, [field.name for field in fields(thing)], move)
    return cast("T", thing)


def _moved_by_itself(part: T, to: AnyCallable, device: object) -> T:
    moved = to(device)
    return part if moved is None else cast("T", moved)  # one that moves itself in place may return nothing


def _list(part: list[object], move: Move) -> object:
    items = [move(item) for item in part]
    if _same(items, part):
        return part
    copied = copy.copy(part)  # keeps what a subclass adds
    copied[:] = items
    return copied


def _tuple(part: tuple[object, ...], move: Move) -> object:
    items = [move(item) for item in part]
    if _same(items, part):
        return part
    named = cast("Callable[[Iterable[object]], object] | None", getattr(type(part), "_make", None))
    return type(part)(items) if named is None else named(items)


def _same(items: Iterable[object], before: Iterable[object]) -> bool:
    return all(map(operator.is_, items, before))


def _mapping(part: Mapping[object, object], move: Move) -> object:
    items = {key: move(value) for key, value in part.items()}
    if all(value is part[key] for key, value in items.items()):
        return part
    if isinstance(part, MutableMapping):
        copied: MutableMapping[object, object] = copy.copy(part)  # keeps a default factory, say
        copied.update(items)
        return copied
    make = cast("Callable[[Mapping[object, object]], object]", type(part))
    return make(items)


def _dataclass(part: T, names: Iterable[str], move: Move) -> T:
    changed = {
        name: moved
        for name in names
        if hasattr(part, name) and (moved := move(before := getattr(part, name))) is not before
    }
    if not changed:
        return part
    copied = copy.copy(part)
    for name, value in changed.items():
        object.__setattr__(copied, name, value)  # a frozen one as well
    return copied
