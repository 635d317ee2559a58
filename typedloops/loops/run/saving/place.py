"""Where in its work a loop is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SavedPlace:
    """Where a loop was when the run was saved.

    Args:
        point: The last of its points that it had passed.
        state: What there was of the run under way, besides what the loop declares.
    """

    point: str
    state: Mapping[str, object] = field(default_factory=dict[str, object])


class Place:
    """Which points of its work a loop has passed, in this process or in the one that saved it.

    Args:
        points: Their names, in the order in which they are passed.
    """

    def __init__(self, points: tuple[str, ...]) -> None:
        self._points = points
        self.point: str = ""
        """The last one that was passed; empty while the loop is not under way."""
        self.resumed: SavedPlace | None = None
        """Where the loop goes on, until it is there."""

    def skips(self, point: str) -> bool:
        """Whether this point was passed before the run was resumed."""
        resumed = self.resumed
        return resumed is not None and self._points.index(point) <= self._points.index(resumed.point)

    def arrives(self, point: str) -> bool:
        """Whether the loop is now where it was saved; from here on it goes on as ever."""
        if self.resumed is None or self.resumed.point != point:
            return False
        self.point, self.resumed = point, None
        return True

    @property
    def ends(self) -> bool:
        """Whether the run goes on at the last point, after which there may be nothing left to do."""
        return self.resumed is not None and self.resumed.point == self._points[-1]

    def leave(self) -> None:
        """The loop is not under way any more."""
        self.point, self.resumed = "", None
