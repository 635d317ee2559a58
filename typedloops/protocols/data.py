"""What the loops ask of a source of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from typing_extensions import Protocol, TypeVar, runtime_checkable

B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)


@runtime_checkable
class SizedLoader(Protocol[B_co]):
    """A loader that knows how many batches it has.

    A loader without `__len__` works as well: the loops then fetch one batch ahead,
    to know which is the last.
    """

    def __iter__(self) -> Iterator[B_co]: ...
    def __len__(self) -> int: ...


@runtime_checkable
class MadeOfLoaders(Protocol):
    """A loader that is made of others, which are told of the epoch as well."""

    @property
    def child_loaders(self) -> Sequence[Iterable[object]]: ...


Loaders: TypeAlias = Iterable[B] | Sequence[Iterable[B]]
"""One loader, or a list or tuple of several."""

LoaderSource: TypeAlias = Iterable[B] | Callable[[], Iterable[B]]
"""A loader, or a function that makes one: called when a run starts, and in a fit once more every
`reload_dataloaders_every_n_epochs`."""

LoadersSource: TypeAlias = Loaders[B] | Callable[[], Loaders[B]]
"""Loaders, or a function that makes them."""
