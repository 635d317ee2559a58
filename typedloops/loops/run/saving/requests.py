"""What is to be saved at the next boundary of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from typedloops._core import StopFlag
from typedloops.loops.base.node import LoopNode


@dataclass(frozen=True)
class SaveRequest:
    """A checkpoint that was asked for.

    Args:
        path: Where it is to be.
        weights_only: Whether it is the module's weights alone.
        asynchronous: Whether it is written while the run goes on.
        when_written: Called with the path when it is on the disk, or None.
    """

    path: Path
    weights_only: bool = False
    asynchronous: bool = False
    when_written: Callable[[Path], object] | None = None


class SaveRequests:
    """What was asked for and is not saved yet.

    Its flag lets the loops over batches pause after the batch under way.
    """

    def __init__(self) -> None:
        self.flag: StopFlag = StopFlag()
        self._waiting: list[SaveRequest] = []
        self._calls: list[Callable[[LoopNode | None, str], object]] = []
        self.ended_by: int | None = None
        """A signal that ends the run, which is saved; delivered once more when it is over, but for SIGINT."""

    def add(self, request: SaveRequest) -> None:
        """Save at the next boundary."""
        self._waiting.append(request)
        self.flag.requested = True

    def call(self, function: Callable[[LoopNode | None, str], object]) -> None:
        """Call this at the next boundary, with the loop that is there; from a signal's handler, too.

        After an exception it is also given what makes that no exact place.
        """
        self._calls.append(function)
        self.flag.requested = True

    def wake(self) -> None:
        """Let the run come to its next boundary soon."""
        self.flag.requested = True

    def take(self) -> tuple[list[SaveRequest], list[Callable[[LoopNode | None, str], object]]]:
        """What is waiting now; it is not waiting any more."""
        self.flag.requested = False  # before the lists are taken: a signal may add to them at any time
        waiting, self._waiting = self._waiting, []
        calls, self._calls = self._calls, []
        return waiting, calls
