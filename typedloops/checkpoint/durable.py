"""Folders that are there whole or not at all, whenever the machine stops."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import uuid4

from typedloops.errors import CheckpointError

Kind: TypeAlias = Literal["partial", "older", "deleted"]


@contextmanager
def written_whole(target: Path) -> Generator[Path]:
    """A new folder to write into, which becomes `target` when the block ends without an error.

    Every file and the folders themselves are on the disk before `target` is there.  An older
    folder in its place is there until then, and is removed afterwards.  Of several writers of
    the same target, the last to end has it.

    Raises:
        CheckpointError: It cannot be written.
    """
    partial = _hidden(target, "partial")
    try:
        _make(target.parent)
        with ExitStack() as held:
            with locked(target.parent):
                partial.mkdir()
                held.enter_context(locked(partial))
            yield partial
            for file in sorted(partial.iterdir()):
                flush(file)
            flush(partial)
            with locked(target.parent):
                _put_in_place(partial, target)
    except OSError as error:
        raise CheckpointError(
            str(target), f"it cannot be written: {error}", "Give a folder with room that may be written to."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, target: Path) -> None:
    """Rename; a folder that is not empty cannot be renamed over, so an older one steps aside first."""
    if not os.path.lexists(target):
        partial.rename(target)
    else:
        older = _hidden(target, "older")
        target.rename(older)
        try:
            partial.rename(target)
        except OSError:
            older.rename(target)
            raise
    try:
        flush(target.parent)
    finally:
        _remove_leftovers(target)


def removed(target: Path) -> None:
    """Take a folder away at once, so that it is never seen in part, with what is left of earlier ones of its name.

    Raises:
        CheckpointError: It cannot be deleted.
    """
    if not target.parent.is_dir():
        return
    try:
        with locked(target.parent):
            # Before the folder itself: with that gone, an older one would be taken for it.
            _remove_leftovers(target)
            if target.is_symlink():
                target.unlink()
            elif target.exists():
                target.rename(_hidden(target, "deleted"))
            flush(target.parent)
            _remove_leftovers(target)
    except OSError as error:
        raise CheckpointError(
            str(target), f"it cannot be deleted: {error}", "See to it that its folder may be written to."
        ) from error


def settled(target: Path) -> Path:
    """`target`, or what was there when the machine stopped between taking it away and putting the new one there."""
    if not target.exists():
        older = [path for path, kind in _leftovers(target) if kind == "older"]
        return max(older, key=_written_at, default=target)
    return target


def _written_at(folder: Path) -> int:
    found = stat_of(folder)
    return 0 if found is None else found.st_mtime_ns


def stat_of(folder: Path) -> os.stat_result | None:
    """What the system says of a folder that may go at any time."""
    try:
        return folder.stat()
    except FileNotFoundError:
        return None


def flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Generator[bool]:
    """Hold a folder's lock, which threads and processes heed and which ends with its holder.

    Yields:
        Whether it is held: not where the file system has no locks, nor if another has it and
        `wait` is false.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        held = _lock(descriptor, wait)
        yield held
        if held:
            # A child process may have the descriptor as well: closing alone would leave the lock to it.
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: bool) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _make(folder: Path) -> None:
    """Make a folder and those above it, and see to it that their names are on the disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        flush(path.parent)


def _hidden(target: Path, kind: Kind) -> Path:
    return target.with_name(f".{target.name}.{uuid4().hex}.{kind}")


def _leftovers(target: Path) -> Iterator[tuple[Path, str]]:
    """What writers and deleters of `target` have beside it just now, or left there when they were stopped."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.(partial|older|deleted)")
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in target.parent.iterdir():
            if found := pattern.fullmatch(path.name):
                yield path, found[1]


def _remove_leftovers(target: Path) -> None:
    """Remove what nobody works on any more; only for who holds the lock of the folder they are in."""
    for path, kind in list(_leftovers(target)):
        with suppress(FileNotFoundError), locked(path, wait=False) as alone:
            if alone or kind != "partial":
                shutil.rmtree(path, ignore_errors=True)
