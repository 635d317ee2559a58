"""Writing checkpoints at once, or beside the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TypeAlias, final

from typedloops.checkpoint.copying import Staged, Staging
from typedloops.errors import CheckpointError, add_note
from typedloops.protocols.checkpoint import CheckpointFormat

WhenWritten: TypeAlias = Callable[[Path], object]


@dataclass(frozen=True)
class _Outcome:
    """How a write ended."""

    path: Path
    when_written: WhenWritten
    error: Exception | None = None


def nothing(path: Path) -> None:
    """What is to be done when a checkpoint is on the disk and nothing is."""


@final
class Writer:
    """Writes the checkpoints of one run, one after another.

    At most one write is under way beside the run: a further one waits for it, so that there is
    never more than one copy of the content.  A write that failed keeps no later one from being
    tried.  The thread is no daemon: a process that ends, also by an exception, first writes what
    was begun.

    `when_written` is always called in the thread of the caller of one of these methods, in the
    order in which the writes were asked for.

    Args:
        ended: Called in the worker's thread when a write beside the run has ended, well or not: there is
            something to `poll`.
    """

    def __init__(self, ended: Callable[[], object] = lambda: None) -> None:
        self._ended = ended
        self._staging = Staging()
        self._thread: Thread | None = None
        self._outcomes: deque[_Outcome] = deque()

    def write(
        self,
        form: CheckpointFormat,
        path: Path,
        content: Mapping[str, object],
        when_written: WhenWritten = nothing,
    ) -> None:
        """Write a checkpoint, and call `when_written(path)` when it is on the disk.

        Raises:
            CheckpointError: It cannot be written; or it is, and an earlier one could not be.
        """
        self._wait()
        form.save(path, content)
        self._outcomes.append(_Outcome(path, when_written))
        self.poll()

    def write_later(
        self,
        form: CheckpointFormat,
        path: Path,
        content: Mapping[str, object],
        when_written: WhenWritten = nothing,
    ) -> None:
        """Copy a content and write the copy beside the run, as soon as an earlier write has ended.

        The content is the caller's again when this returns.  What goes wrong is raised by a later
        `poll` or `finish`.
        """
        self._wait()
        staged = self._staging.copied(content)
        self._thread = Thread(
            target=self._work, args=(form, path, staged, when_written), name=f"typedloops writes {path.name}"
        )
        self._thread.start()

    def poll(self) -> None:
        """Call `when_written` for what is on the disk by now; costs next to nothing when nothing is.

        Raises:
            CheckpointError: A checkpoint could not be written.  What ended after it is for the next call.
        """
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if outcome.error is not None:
                raise _told(outcome.path, outcome.error) from outcome.error
            outcome.when_written(outcome.path)

    def finish(self) -> None:
        """Wait until everything is written, and do what `poll` does.

        Raises:
            CheckpointError: A checkpoint could not be written; for further ones it has notes.
        """
        self._wait()
        errors: list[CheckpointError] = []
        while self._outcomes:
            try:
                self.poll()
            except CheckpointError as error:
                errors.append(error)
        for further in errors[1:]:
            add_note(errors[0], f"Neither was this one: {further}")
        if errors:
            raise errors[0]

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self, form: CheckpointFormat, path: Path, staged: Staged, when_written: WhenWritten) -> None:
        try:
            form.save(path, staged.content)
            outcome = _Outcome(path, when_written)
        except Exception as error:
            outcome = _Outcome(path, when_written, error)
        staged.release()
        self._outcomes.append(outcome)
        self._ended()


def _told(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, CheckpointError) and error.where == str(path):
        return error
    problem = f"it was not written: {error}".rstrip(".")
    return CheckpointError(str(path), problem, "Those before it are as they were: a run can go on from the newest.")
