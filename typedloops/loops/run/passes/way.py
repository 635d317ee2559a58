"""How a pass through one kind of loader is begun, saved and begun again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from typedloops.loops.run.passes.saved import Saved


class Way(ABC):
    """One pass through a loader of a kind.

    Args:
        where: What to call the loader in an error.
        exact: Whether to refuse what may not give the batches that the pass would have given.
    """

    kind: ClassVar[str]
    """The kind of loader, in words."""

    watched: ClassVar[bool] = False
    """Whether what it gives must be counted, and its end seen."""

    def __init__(self, where: str, exact: bool) -> None:
        self.where = where
        self.exact = exact

    @abstractmethod
    def begin(self) -> Iterator[object]:
        """Begin the pass."""

    @abstractmethod
    def resume(self, saved: Saved) -> Iterator[object]:
        """Begin it where it was saved."""

    @abstractmethod
    def position(self, taken: int, ended: bool) -> dict[str, object]:
        """What to save, when `taken` batches have been given."""

    @property
    def goes_back(self) -> bool:
        """Whether `position` can be asked for before the last batch that was given."""
        return True

    @abstractmethod
    def conclude(self, saved: Saved) -> None:
        """Leave the loader as it was at the end of a pass that was saved there."""

    def has_ended(self, taken: int) -> bool:
        """Whether the loader is known to have nothing more after so many batches, and to know it itself."""
        return False
