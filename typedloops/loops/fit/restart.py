"""Starting anew."""

from __future__ import annotations

from typedloops._core import Progress
from typedloops.loops.base import Loop
from typedloops.loops.fit.progress import OptimizationProgress
from typedloops.loops.node import LoopNode
from typedloops.loops.state import fields_of


def reset_progress(root: LoopNode) -> None:
    """Set every declared tracker of a tree to zero."""
    for _, loop in root.walk():
        if not isinstance(loop, Loop):
            continue
        for name in fields_of(type(loop)):
            tracker: object = getattr(loop, name, None)
            if isinstance(tracker, (Progress, OptimizationProgress)):
                tracker.reset()
