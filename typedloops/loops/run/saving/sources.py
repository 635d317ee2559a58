"""Which checkpoint is meant."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from typing_extensions import Protocol, runtime_checkable

from typedloops.errors import CheckpointError
from typedloops.loops.run.saving.told import told_by
from typedloops.protocols.checkpoint import CheckpointFormat

CheckpointPath: TypeAlias = str | os.PathLike[str]
"""A path, or `last` or `best` of those that the trainer's `ModelCheckpoint` has saved."""

WORDS = ("last", "best")


@runtime_checkable
class FindsCheckpoints(Protocol):
    """A callback that knows where it saved: `ModelCheckpoint`."""

    def find(
        self, which: Literal["last", "best"], format_: CheckpointFormat, /, *, exact: bool = False
    ) -> Path | None: ...


@dataclass(frozen=True)
class ResumeFrom:
    """A checkpoint that a run is to go on from.

    Args:
        path: Where it is, or `last` or `best`.
        exact: Whether anything that cannot go on exactly is an error.
    """

    path: CheckpointPath
    exact: bool = False


def resumed_from(path: CheckpointPath | None, exact: bool = False) -> ResumeFrom | None:
    """What is meant by the arguments of a run; None is to begin anew."""
    return None if path is None else ResumeFrom(path, exact)


def found(path: CheckpointPath, callbacks: Iterable[object], format_: CheckpointFormat, *, exact: bool = False) -> Path:
    """Where a checkpoint is.

    Args:
        path: Its path, or `last` or `best`.
        callbacks: Those that may know.
        format_: How checkpoints are kept.
        exact: Whether those from which no run goes on exactly are not the last.

    Raises:
        CheckpointError: Nobody knows, or there is none.
    """
    if path not in WORDS:
        return Path(path)
    which = cast('Literal["last", "best"]', path)
    knowing = [callback for callback in callbacks if isinstance(callback, FindsCheckpoints)]
    places = [at for callback in knowing if (at := callback.find(which, format_, exact=exact)) is not None]
    if places:
        # Of several folders the first has the best, and any of them the newest.
        if which == "best" or len(places) == 1:
            return places[0]
        return max(places, key=lambda at: told_by(at, format_).age)
    where = f"ckpt_path={which!r}"
    if not knowing:
        raise CheckpointError(
            where, "no callback of the trainer knows of checkpoints", "Give it a ModelCheckpoint, or give a path."
        )
    raise CheckpointError(where, "there is no checkpoint yet", "Leave it out for the first run, or give a path.")
