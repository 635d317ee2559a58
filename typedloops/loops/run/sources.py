"""Functions that make loaders, where loaders are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from typing_extensions import TypeVar

from typedloops._core.escape import call, name_of
from typedloops.errors import LoaderError
from typedloops.protocols.data import Loaders, LoaderSource, LoadersSource

B = TypeVar("B")


def is_factory(source: object) -> bool:
    """Whether this makes loaders: a loader that can also be called is a loader."""
    return callable(source) and (isinstance(source, type) or not _can_be_iterated(source))


def _can_be_iterated(thing: object) -> bool:
    return isinstance(thing, Iterable) or hasattr(thing, "__getitem__")


def made_one(where: str, source: LoaderSource[B]) -> Iterable[B]:
    """The loader that a function makes, or that was given in place of one.

    Raises:
        LoaderError: It makes nothing.
    """
    return cast("Iterable[B]", _made(where, source))


def made_several(where: str, source: LoadersSource[B]) -> Loaders[B]:
    """The loaders that a function makes, or that were given in place of one; see `made_one`."""
    return cast("Loaders[B]", _made(where, source))


def _made(where: str, source: object) -> object:
    if not is_factory(source):
        return source
    factory = cast("Callable[[], object]", source)
    loader = call(factory)
    if loader is None:
        raise LoaderError(where, f"{name_of(factory)} returned None", "Return the loader that it made.")
    return loader
