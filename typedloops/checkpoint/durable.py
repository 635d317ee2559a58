"""Folders that are there whole or not at all, whenever the machine stops."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from typedloops.errors import CheckpointError


@contextmanager
def written_whole(target: Path) -> Generator[Path]:
    """A new folder to write into, which becomes `target` when the block ends without an error.

    Every file and the folders themselves are on the disk before `target` is there.  An older
    folder in its place is there until then, and is removed afterwards.

    Raises:
        CheckpointError: It cannot be written.
    """
    partial = target.with_name(f".{target.name}.{uuid4().hex}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        for file in sorted(partial.iterdir()):
            flush(file)
        flush(partial)
        _put_in_place(partial, target)
        flush(target.parent)
    except OSError as error:
        raise CheckpointError(
            str(target), f"it cannot be written: {error}", "Give a folder with room that may be written to."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, target: Path) -> None:
    """Rename; a folder that is not empty cannot be renamed over, so an older one steps aside first."""
    if not target.exists():
        partial.rename(target)
        return
    older = target.with_name(f".{target.name}.{uuid4().hex}.older")
    target.rename(older)
    try:
        partial.rename(target)
    except OSError:
        older.rename(target)
        raise
    shutil.rmtree(older, ignore_errors=True)


def flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settled(target: Path) -> Path:
    """`target`, or what was there before when the machine stopped between taking it away and putting the new one there."""
    if not target.exists():
        for older in target.parent.glob(f".{target.name}.*.older"):
            return older
    return target
