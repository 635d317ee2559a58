"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TypeAlias

Homes: TypeAlias = Mapping[str, Sequence[str]]
"""By the module below the package, the names that it has."""


def lazily(
    package: str, homes: Homes, also: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """What a package is to have as its `__getattr__`, `__dir__` and `__all__`.

    Args:
        package: Its name.
        homes: Where its names come from.
        also: Names that it has already.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{home_of[name]}"), name)
        vars(sys.modules[package])[name] = value
        return value

    def names() -> list[str]:
        return sorted((*also, *home_of))

    return get, names, [*also, *home_of]
