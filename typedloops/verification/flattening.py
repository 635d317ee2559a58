"""Nested values, taken apart into leaves under their paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from typedloops._core.shapes import is_list_or_tuple, is_mapping


def leaves_of(value: object, path: str = "", joint: str = "/") -> Iterator[tuple[str, object]]:
    """What a value is made of, by path: mappings, lists, tuples and dataclasses are taken apart; empty ones are leaves.

    Args:
        value: What to take apart.
        path: Where it is.
        joint: What stands between the parts of a path.
    """
    parts = list(_parts_of(value))
    if not parts:
        yield path, value
    for name, part in parts:
        yield from leaves_of(part, f"{path}{joint}{name}" if path else name, joint)


def _parts_of(value: object) -> Iterator[tuple[str, object]]:
    if is_mapping(value):
        yield from ((str(key), part) for key, part in value.items())
    elif is_list_or_tuple(value):
        yield from ((str(index), part) for index, part in enumerate(value))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((field.name, getattr(value, field.name)) for field in fields(value))
