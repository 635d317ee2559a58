"""Reading and writing many pieces of memory with few calls.

Each call lets go of the interpreter's lock and has to get it again, for which a run that is busy
meanwhile may let it wait; so small pieces go together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from io import FileIO
from typing import Final

from typing_extensions import Protocol, TypeVar

from typedloops.checkpoint.threads import Beside

AT_ONCE: Final = 512
"""Pieces; systems take 1024 at most."""

BATCH: Final = 2**22
"""Bytes that are worth a call of their own."""

FLUSH: Final = 2**26
"""Bytes after which the disk begins to write them."""


class Flushes(Beside[int, OSError | None]):
    """Has the disk write a file from its beginning while the rest of it is still to come.

    Otherwise the disk would have nothing to do until all of the file is in the system's memory.

    Args:
        stream: The file.
    """

    def __init__(self, stream: FileIO) -> None:
        super().__init__(_flush)
        self._stream = stream
        self._waiting_bytes = 0

    def after(self, nbytes: int) -> None:
        """Tell of further bytes of the file."""
        self._waiting_bytes += nbytes
        if self._waiting_bytes >= FLUSH:
            self._waiting_bytes = 0
            self.put(self._stream.fileno())

    def check(self) -> None:
        """Raise the error that the disk gave; the system tells of it once."""
        for error in self.results:
            if error is not None:
                raise error


def _flush(descriptor: int) -> OSError | None:
    try:
        if hasattr(os, "fdatasync"):
            os.fdatasync(descriptor)
    except OSError as error:
        return error
    return None


class Sized(Protocol):
    """Something of a number of bytes, as tensors are."""

    @property
    def nbytes(self) -> int: ...


S = TypeVar("S", bound=Sized)


def batches(pieces: Mapping[str, S]) -> Iterator[dict[str, S]]:
    """Pieces in their order, as many at once as should be read or written together."""
    batch: dict[str, S] = {}
    nbytes = 0
    for name, piece in pieces.items():
        batch[name] = piece
        nbytes += piece.nbytes
        if nbytes >= BATCH or len(batch) == AT_ONCE:
            yield batch
            batch, nbytes = {}, 0
    if batch:
        yield batch


def write_all(stream: FileIO, pieces: list[memoryview]) -> None:
    """Write pieces of memory one after another, at most `AT_ONCE`.

    Raises:
        OSError: They cannot be written.
    """
    while pieces := [piece for piece in pieces if piece]:
        pieces = _rest(pieces, _write(stream, pieces))


def read_all(stream: FileIO, pieces: list[memoryview]) -> None:
    """Fill pieces of memory one after another, at most `AT_ONCE`.

    Raises:
        OSError: They cannot be read.
        ValueError: The file ends before.
    """
    while pieces := [piece for piece in pieces if piece]:
        read = _read(stream, pieces)
        if not read:
            raise ValueError("it ends too early")
        pieces = _rest(pieces, read)


def _write(stream: FileIO, pieces: list[memoryview]) -> int:
    return os.writev(stream.fileno(), pieces) if hasattr(os, "writev") else stream.write(pieces[0])


def _read(stream: FileIO, pieces: list[memoryview]) -> int:
    return os.readv(stream.fileno(), pieces) if hasattr(os, "readv") else stream.readinto(pieces[0]) or 0


def _rest(pieces: list[memoryview], done: int) -> list[memoryview]:
    """What is left of pieces when some bytes are done: one call does at most 2 GiB, and may do less."""
    for number, piece in enumerate(pieces):
        if done < len(piece):
            return [piece[done:], *pieces[number + 1 :]]
        done -= len(piece)
    return []
