"""Batches on their way from a loader whose end must be seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic

from typing_extensions import TypeVar

B = TypeVar("B")


class Watched(Iterator[B], Generic[B]):
    """Counts the batches that a loader gives, and sees when it ends.

    Args:
        batches: The loader's own iterator.
        given: How many batches of the pass have been given before.
    """

    def __init__(self, batches: Iterator[B], given: int) -> None:
        self._batches = batches
        self.given: int = given
        self.ended: bool = False

    def __next__(self) -> B:
        try:
            batch = next(self._batches)
        except StopIteration:
            self.ended = True
            raise
        self.given += 1
        return batch
