"""Loaders whose batches have a place: lists, tuples, ranges, and what has items but no iterator of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, cast

from typing_extensions import Protocol

from typedloops.loops.run.passes.saved import Saved
from typedloops.loops.run.passes.way import Way

ITERS: tuple[object, ...] = tuple(getattr(kind, "__iter__") for kind in (list, tuple, range))  # noqa: B009  # its type is not known


class ByPlace(Way):
    """A pass through a sequence: the place is all there is to know."""

    kind: ClassVar[str] = "a sequence"

    def __init__(self, where: str, loader: Iterable[object], exact: bool) -> None:
        super().__init__(where, exact)
        self._loader = loader

    @staticmethod
    def fits(loader: object) -> bool:
        own_iter: object = getattr(type(loader), "__iter__", None)
        return own_iter is None or own_iter in ITERS

    def begin(self) -> Iterator[object]:
        return iter(self._loader)

    def resume(self, saved: Saved) -> Iterator[object]:
        if isinstance(self._loader, range):
            return iter(self._loader[saved.taken :])
        batches = iter(self._loader)
        cast("_WithPlace", batches).__setstate__(saved.taken)
        return batches

    def position(self, taken: int, ended: bool) -> dict[str, object]:
        return {}

    def conclude(self, saved: Saved) -> None:
        pass


class _WithPlace(Protocol):
    """What the iterators of lists, tuples and of `__getitem__` have for being pickled."""

    def __setstate__(self, place: int, /) -> None: ...
