"""How a checkpoint is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from typing_extensions import Protocol, runtime_checkable


@runtime_checkable
class CheckpointFormat(Protocol):
    """Writes and reads the content of checkpoints.

    A content is made of parts (`module`, `optimizers`, `loops`, ...), each of them None, booleans,
    numbers, strings, bytes, tensors, and lists, tuples and dicts of them; what is read is equal
    to what was written, to the bit.
    """

    def save(self, path: Path, content: Mapping[str, object], /) -> None:
        """Write a checkpoint: `path` is there whole when this returns, and until then as it was before."""
        ...

    def load(self, path: Path, /) -> dict[str, object]:
        """Read a checkpoint, and nothing else than data; an error for one that is not what was written."""
        ...

    def load_part(self, path: Path, part: str, /) -> object:
        """Read one part of a checkpoint and leave the rest alone."""
        ...

    def holds(self, path: Path, /) -> bool:
        """Whether there is something at `path` that calls itself a checkpoint of this format."""
        ...

    def delete(self, path: Path, /) -> None:
        """Remove a checkpoint; one that is not there is none to remove."""
        ...
