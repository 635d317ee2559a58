"""What can still be saved of a run that ends with an exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from typedloops._core import BatchProgress, Processed
from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.context import InRun


def innermost(root: LoopNode) -> LoopNode | None:
    """The innermost loop that is under way below `root`, or None."""
    under_way = [(path, loop) for path, loop in root.walk() if isinstance(loop, InRun) and loop.place.point]
    # Those that are under way are one below the other.
    return max(under_way, key=lambda found: len(found[0]))[1] if under_way else None


def settle(loop: LoopNode | None) -> str:
    """Count a batch that was left in its middle: as done when its step was, and otherwise as not begun.

    Returns:
        What comes of that when the run goes on.
    """
    progress: object = getattr(loop, "batch_progress", None)
    if not isinstance(progress, BatchProgress) or progress.current.ready == progress.current.completed:
        return "the hook that was called is called again"
    batch, done = progress.current.completed, progress.current.processed > progress.current.completed
    give_back = cast("Callable[[], bool] | None", getattr(loop, "give_back", None))
    given_back = done or give_back is None or give_back()
    for counters in (progress.total, progress.current):
        _settle(counters, done=done)
    left = "hooks after it are not called" if done else "it is run again from its beginning"
    lost = "its loader, which saves its place by itself, is past it: it is left out"
    return f"it was in the middle of batch {batch}: {left if given_back else lost}"


def _settle(counters: Processed, *, done: bool) -> None:
    if done:
        counters.completed = counters.processed
    counters.ready = counters.started = counters.processed = counters.completed
