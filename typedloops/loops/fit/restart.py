"""Starting anew."""

from __future__ import annotations

from typedloops._core import Progress, ReadyCompleted
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.state import fields_of
from typedloops.loops.fit.optimization.progress import OptimizationProgress, OptimizerProgress
from typedloops.loops.run.each import Each

TRACKERS = (Progress, ReadyCompleted, OptimizerProgress, OptimizationProgress, Each)


def reset_progress(root: LoopNode) -> None:
    """Set every declared tracker of a tree to zero, but for those of loops whose state was just loaded."""
    for _, loop in root.walk():
        if isinstance(loop, Loop) and not loop.restarting:
            for name in fields_of(type(loop)):
                tracker: object = getattr(loop, name, None)
                if isinstance(tracker, TRACKERS):
                    tracker.reset()
