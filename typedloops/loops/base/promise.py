"""What a loop class promises to return, read from its bases."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, ForwardRef, TypeVar, Union, get_args, get_origin

from typing_extensions import get_original_bases


def promised_result(cls: type, base: type) -> object:
    """The `R` that `cls` gives to the generic `base`; None when it gives none.

    Args:
        cls: A subclass of `base[P, R]`, at any distance.
        base: The generic class, whose last parameter is the result.
    """
    for original in get_original_bases(cls):
        origin = get_origin(original) or original
        arguments = get_args(original)
        if origin is base:
            return arguments[1] if len(arguments) > 1 else None
        if isinstance(origin, type) and issubclass(origin, base):
            promised = promised_result(origin, base)
            if isinstance(promised, TypeVar):
                parameters: tuple[object, ...] = getattr(origin, "__parameters__", ())
                return dict(zip(parameters, arguments, strict=False)).get(promised, promised)
            return promised
    return None


def may_be_none(promised: object) -> bool:
    """Whether None keeps the promise, or nothing definite is promised."""
    if get_origin(promised) in (Union, UnionType):
        return any(may_be_none(part) for part in get_args(promised))
    if isinstance(promised, ForwardRef):
        written = promised.__forward_arg__
        return written.startswith(("Optional[", "typing.Optional[")) or "None" in written.replace(" ", "").split("|")
    return promised in (None, NoneType, object, Any) or isinstance(promised, TypeVar)


def name_of_type(promised: object) -> str:
    """The type as its author wrote it, or nearly so."""
    if isinstance(promised, ForwardRef):
        return promised.__forward_arg__
    plain = isinstance(promised, type) and get_origin(promised) is None
    return promised.__name__ if isinstance(promised, type) and plain else str(promised)
