"""Forgetting that a tree was to go on."""

from __future__ import annotations

from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.state import SavableLoop
from typedloops.loops.run.context import InRun


def begin_anew(root: object) -> None:
    """Let the next run of a tree begin anew, whatever was loaded into it before or came of a run that failed.

    Args:
        root: A loop; what has only the shape of one has nothing to forget.
    """
    for _, loop in root.walk() if isinstance(root, LoopNode) else ():
        if isinstance(loop, InRun):
            loop.place.leave()
        if isinstance(loop, SavableLoop):
            loop.restarting = False
