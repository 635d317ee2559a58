"""`isinstance` for containers that also says of what: a type checker otherwise leaves that unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from typing_extensions import TypeGuard

Items: TypeAlias = list[object] | tuple[object, ...]


def is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether `value` is a mapping; that its keys are strings is for the caller to see to."""
    return isinstance(value, Mapping)


def is_list_or_tuple(value: object) -> TypeGuard[Items]:
    return isinstance(value, (list, tuple))
