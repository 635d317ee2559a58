"""Which checkpoint is meant."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from typing_extensions import Protocol, runtime_checkable

from typedloops.errors import CheckpointError, ConfigurationError
from typedloops.loops.run.saving.told import told_by
from typedloops.protocols.checkpoint import CheckpointFormat

CheckpointPath: TypeAlias = str | os.PathLike[str]
"""A path, or a word: `last` or `best` of those that the trainer's `ModelCheckpoint` has saved, or `last_if_any`."""

IF_ANY: Final = "last_if_any"
WORDS: Final = ("last", "best", IF_ANY)


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
        path: Where it is, or `last`, `best` or `last_if_any`.
        exact: Whether anything that cannot go on exactly is an error.
        weights: Whether it begins anew with the weights, and takes nothing else.
    """

    path: CheckpointPath
    exact: bool = False
    weights: bool = False


def resumed_from(path: CheckpointPath | None, exact: bool = False) -> ResumeFrom | None:
    """What is meant by the arguments of a fit; None is to begin anew.

    Raises:
        ConfigurationError: It is no path.
    """
    return None if path is None else ResumeFrom(_checked(path), exact)


def weights_from(path: CheckpointPath | None) -> ResumeFrom | None:
    """What is meant by the argument of an evaluation; None is the weights that the module has."""
    return None if path is None else ResumeFrom(_checked(path), weights=True)


def _checked(path: object) -> CheckpointPath:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(cast("CheckpointPath", path)):
        raise ConfigurationError("ckpt_path", f"{path!r} is no path", f"Give a path, or one of {', '.join(WORDS)}.")
    return cast("CheckpointPath", path)


def found(
    path: CheckpointPath, callbacks: Iterable[object], format_: CheckpointFormat, *, exact: bool = False
) -> Path | None:
    """Where a checkpoint is; None where there is none yet and a fit may begin anew.

    Args:
        path: Its path, or `last`, `best` or `last_if_any`.
        callbacks: Those that may know.
        format_: How checkpoints are kept.
        exact: Whether those from which no run goes on exactly are not the last.

    Raises:
        CheckpointError: Nobody knows, or there is none.
    """
    if path not in WORDS:
        return Path(path)
    which: Literal["last", "best"] = "best" if path == "best" else "last"
    knowing = [callback for callback in callbacks if isinstance(callback, FindsCheckpoints)]
    places = [at for callback in knowing if (at := callback.find(which, format_, exact=exact)) is not None]
    if places:
        # Of several folders the first has the best, and any of them the newest.
        if which == "best" or len(places) == 1:
            return places[0]
        return max(places, key=lambda at: told_by(at, format_).age)
    where = f"ckpt_path={path!r}"
    if not knowing:
        raise CheckpointError(
            where, "no callback of the trainer knows of checkpoints", "Give it a ModelCheckpoint, or give a path."
        )
    if path == IF_ANY:
        return None
    raise CheckpointError(
        where, "there is no checkpoint yet", f"Give {IF_ANY!r} to begin anew where there is none, or give a path."
    )
