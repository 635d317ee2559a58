"""The checkpoints in a folder, found again by a process that has not written them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typedloops._core.shapes import is_mapping
from typedloops.errors import CheckpointError
from typedloops.loops.run.saving.told import Age, told_by
from typedloops.protocols.checkpoint import CheckpointFormat

HIDDEN = re.compile(r"\.(?P<name>.+)\.[^.]+\.[^.]+")


@dataclass(frozen=True, order=True)
class FoundCheckpoint:
    """A checkpoint in a folder.

    Args:
        age: How new it is.
        path: Where it is.
        weights_only: Whether no run can go on from it.
        exact: Whether a run that does goes on exactly: one that an exception ended may not.
    """

    age: Age
    path: Path
    weights_only: bool = field(compare=False)
    exact: bool = field(compare=False)


def checkpoints_in(folder: Path, format_: CheckpointFormat) -> list[FoundCheckpoint]:
    """Every whole checkpoint in a folder, the newest first; of a damaged one it is warned."""
    paths = (folder / name for name in sorted(_names(folder)))
    found = (_read(path, format_) for path in paths if format_.holds(path))
    return sorted((checkpoint for checkpoint in found if checkpoint is not None), reverse=True)


def states_in(folder: Path, format_: CheckpointFormat, key: str) -> Iterator[Mapping[str, object]]:
    """The states that the callback with this key has in the checkpoints of a folder, the newest first."""
    for checkpoint in checkpoints_in(folder, format_):
        if checkpoint.weights_only:
            continue
        try:
            states = format_.load_part(checkpoint.path, "callbacks")
        except (CheckpointError, OSError) as error:
            _warn(checkpoint.path, error)
            continue
        if is_mapping(states) and is_mapping(state := states.get(key)):
            yield state


def _names(folder: Path) -> set[str]:
    """What checkpoints there may be called; a link is another name of one."""
    if not folder.is_dir():
        return set()
    names: set[str] = set()
    for path in folder.iterdir():
        # What stepped aside when the machine stopped is known to its format by its own name.
        hidden = HIDDEN.fullmatch(path.name)
        if hidden is not None:
            names.add(hidden["name"])
        elif not path.name.startswith(".") and not path.is_symlink():
            names.add(path.name)
    return names


def _read(path: Path, format_: CheckpointFormat) -> FoundCheckpoint | None:
    try:
        told = told_by(path, format_)
    except (CheckpointError, OSError) as error:
        _warn(path, error)
        return None
    return FoundCheckpoint(told.age, path, told.weights_only, told.exact)


def _warn(path: Path, why: object) -> None:
    warnings.warn(f"the checkpoint {path} is passed over: {why}", UserWarning, stacklevel=2)
