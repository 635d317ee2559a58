"""Where a run may be saved, and at which of these places it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typedloops.errors import ConfigurationError
from typedloops.loops.base.node import LoopNode
from typedloops.loops.fit import FitLoopOf
from typedloops.loops.run.context import InRun, find_context
from typedloops.loops.run.over_batches import BatchesLoop


@dataclass(frozen=True)
class Place:
    """A boundary of a run, at which it is saved and left.

    Args:
        index: Its number among all boundaries of the run, from 0.
        loop: The path of the loop that is there.
        point: Which of its points that is.
        epoch: The epoch under way.
        batch: How many batches that loop has completed; None where it is no loop over batches.
    """

    index: int
    loop: str = ""
    point: str = ""
    epoch: int = 0
    batch: int | None = None

    def __str__(self) -> str:
        batches = "" if self.batch is None else f" {self.batch}"
        return f"epoch {self.epoch}, {self.loop}: {self.point}{batches}" if self.loop else ""

    @classmethod
    def of(cls, index: int, loop: LoopNode) -> Place:
        """The place where a loop is now."""
        run, path = find_context(loop), loop.path or type(loop).__name__
        point = loop.place.point if isinstance(loop, InRun) else ""
        batch = loop.batch_progress.current.completed if isinstance(loop, BatchesLoop) else None
        return cls(index, path, point, 0 if run is None else run.epoch, batch)


def is_over(loop: LoopNode) -> bool:
    """Whether this is a fit that has come to its end: it can still be saved, which is no boundary any more."""
    run = find_context(loop)
    return isinstance(loop, FitLoopOf) and run is not None and not run.fitting


def chosen(at: Sequence[int] | int, count: int) -> list[int]:
    """Which boundaries are meant.

    Args:
        at: How many, spread evenly; or which, from 0, or from the last with -1.
        count: How many there are.

    Raises:
        ConfigurationError: There are none, or not these.
    """
    if count == 0:
        raise ConfigurationError(
            "verify_resume", "the run has no boundary at which it could be saved", "Build it of the library's loops."
        )
    if isinstance(at, int):
        if isinstance(at, bool) or at < 1:
            raise ConfigurationError("verify_resume: at", f"{at!r} places are none", "Give 1 or more.")
        number = min(at, count)
        return [count // 2] if number == 1 else [i * (count - 1) // (number - 1) for i in range(number)]
    wrong = [index for index in at if not -count <= index < count]
    if wrong or not at:
        raise ConfigurationError(
            "verify_resume: at",
            f"there are {count} boundaries, and {list(at)} are asked for",
            f"Give numbers from 0 to {count - 1}, or how many places are to be tried.",
        )
    return sorted({index % count for index in at})
