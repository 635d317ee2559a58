"""Starting anew."""

from __future__ import annotations

from typedloops._core import Progress
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.state import fields_of
from typedloops.loops.fit.progress import OptimizationProgress


def reset_progress(root: LoopNode) -> None:
    """Set every declared tracker of a tree to zero."""
    for _, loop in root.walk():
        if not isinstance(loop, Loop):
            continue
        for name in fields_of(type(loop)):
            tracker: object = getattr(loop, name, None)
            if isinstance(tracker, (Progress, OptimizationProgress)):
                tracker.reset()
