"""Saves a run when it is at a boundary."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.context import InRun, RunContext, contexts_of
from typedloops.loops.run.saving.failure import innermost, settle
from typedloops.loops.run.saving.requests import SaveRequest, SaveRequests
from typedloops.protocols.checkpoint import CheckpointFormat

if TYPE_CHECKING:
    from typedloops.checkpoint import Writer


class Saver:
    """Saves a run, and the runs within it, where one of its loops is at one of its points.

    Args:
        root: The loop at the top of the run.
        requests: What is to be saved.
        format_of: Says how it is written; asked when something is.
        loads: Whether there is a checkpoint to be loaded first.
    """

    def __init__(
        self, root: LoopNode, requests: SaveRequests, format_of: Callable[[], CheckpointFormat], *, loads: bool
    ) -> None:
        self.root = root
        self._requests = requests
        self._format_of = format_of
        self._writer: Writer | None = None
        self._failure: BaseException | None = None
        self._note = ""
        self.begun: bool = False
        """Whether everything is set up, and loops may have run."""
        self.loads: bool = loads
        """Whether there is a checkpoint that is not loaded yet."""
        self.order: int = 0
        """How many checkpoints the run has had, those of earlier processes included."""

    @property
    def under_way(self) -> bool:
        """Whether a loop is in the middle of its work, so that a save has to wait until it is at a point."""
        return any(isinstance(loop, InRun) and loop.place.point for _, loop in self.root.walk())

    @property
    def arrives(self) -> bool:
        """Whether the run is still on its way to where it goes on, so that what would be saved is not what it is."""
        return self.loads or any(
            isinstance(loop, InRun) and loop.place.resumed is not None for _, loop in self.root.walk()
        )

    def ask(self, request: SaveRequest, context: RunContext) -> None:
        """Save at the next boundary: now, if no loop that could be resumed is under way.

        Args:
            request: What is asked for.
            context: The run in which it is; one within another has its next boundary in that.
        """
        if self.under_way or self.arrives or context.opened_by is not self.root:
            self._requests.add(request)
        else:
            self.save(request, None)

    def serve(self, loop: LoopNode | None) -> None:
        """Save what was asked for; `loop` is at one of its points."""
        waiting, calls = self._requests.take()
        self._save(waiting, loop)
        for call in calls:
            call(loop, "")
        if self._writer is not None:
            self._writer.poll()

    def save(self, request: SaveRequest, at: LoopNode | None, note: str = "") -> None:
        """Save now.

        Args:
            request: What was asked for.
            at: The innermost loop that is under way; None when none is.
            note: Why the run does not go on exactly from here; empty when it does.
        """
        self._save([request], at, note)

    def after_exception(self, error: BaseException, paths: Iterable[Path]) -> None:
        """Save a run that ends with `error`, as it is now.

        Args:
            error: What ends it.
            paths: Where, besides what was asked for and is still waiting.
        """
        waiting, calls = self._requests.take()
        if not self.begun or self.arrives:  # nothing has run; or what it goes on from has come further
            return
        at = innermost(self.root)
        if error is not self._failure:  # otherwise a run within this one, or what told of the error, was here before
            self._failure, self._note = error, ""
            waiting += map(SaveRequest, paths)
        if not self._note and (waiting or calls):
            self._note = f"it was saved when {type(error).__name__} ended the run, and {settle(at)}"
        for call in calls:
            call(at, self._note)
        self._save(waiting, at, self._note)

    def finish(self) -> None:
        """Wait until everything is written.

        Raises:
            CheckpointError: Something could not be written.
        """
        self.serve(innermost(self.root))
        if self._writer is not None:
            self._writer.finish()

    def _save(self, requests: Collection[SaveRequest], at: LoopNode | None, note: str = "") -> None:
        """Save the same in each place: listeners are asked once, and what there is has one number."""
        if not requests:
            return
        self.order += 1
        made: dict[bool, dict[str, object]] = {}
        for request in requests:
            if request.weights_only not in made:
                made[request.weights_only] = self._content(at, note, weights_only=request.weights_only)
            self._write(request, made[request.weights_only])

    def _content(self, at: LoopNode | None, note: str, *, weights_only: bool) -> dict[str, object]:
        from typedloops.loops.run.saving.content import content_of, weights_content

        if weights_only:
            return weights_content(contexts_of(self.root if at is None else at)[-1], self.order)
        return content_of(self.root, at, self.order, note)

    def _write(self, request: SaveRequest, content: dict[str, object]) -> None:
        from typedloops.checkpoint import Writer  # only now: a run that is not saved needs none of it
        from typedloops.checkpoint.writer import nothing

        if self._writer is None:
            self._writer = Writer(self._requests.wake)
        write = self._writer.write_later if request.asynchronous else self._writer.write
        write(self._format_of(), request.path, content, request.when_written or nothing)
