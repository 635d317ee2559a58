"""What is done to the folder of checkpoints besides writing them."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

from typing_extensions import Protocol, runtime_checkable

from typedloops.errors import CheckpointError
from typedloops.protocols.checkpoint import CheckpointFormat


@runtime_checkable
class KeepsCheckpoints(Protocol):
    """A trainer that says how checkpoints are kept."""

    @property
    def checkpoint_format(self) -> CheckpointFormat: ...


def names_in(folder: Path) -> list[str]:
    """What is in a folder, but for what is hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def holds_any(path: Path) -> bool:
    """Whether anything is there, be it a link that leads nowhere."""
    return os.path.lexists(path)


def delete(path: Path, trainer: object) -> None:
    """Remove a checkpoint; where that cannot be done the run goes on, with a warning."""
    try:
        if isinstance(trainer, KeepsCheckpoints):
            trainer.checkpoint_format.delete(path)
        else:
            _delete_anything(path)
    except (CheckpointError, OSError) as error:
        warnings.warn(f"the checkpoint {path} is left on the disk: {error}", UserWarning, stacklevel=2)


def _delete_anything(path: Path) -> None:
    """Remove a file or a folder; that of a folder begins with its name, so that it is never seen in part."""
    leaving = path.with_name(f".{path.name}.deleted")
    shutil.rmtree(leaving, ignore_errors=True)
    if path.is_dir() and not path.is_symlink():
        path.rename(leaving)
        shutil.rmtree(leaving)
    else:
        path.unlink(missing_ok=True)


def link(path: Path, target: Path) -> None:
    """Let `path` be a relative link to a checkpoint beside it; what it was before it is until then."""
    new = path.with_name(f".{path.name}.link")
    new.unlink(missing_ok=True)
    new.symlink_to(target.name)
    new.replace(path)
