"""What a loop class promises to return, read from its bases."""

from __future__ import annotations

from typing import TypeVar, get_args, get_origin

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
