"""What a checkpoint says of itself, read without the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from typedloops._core.shapes import is_mapping
from typedloops.errors import CheckpointError
from typedloops.protocols.checkpoint import CheckpointFormat


@dataclass(frozen=True, order=True)
class Age:
    """How new a checkpoint is, whichever run it is of.

    Args:
        written: When it was saved, in nanoseconds, by the clock of the machine.
        order: How many its run had with it.
    """

    written: int
    order: int


@dataclass(frozen=True)
class Told:
    """What a checkpoint says of itself.

    Args:
        age: How new it is.
        weights_only: Whether no run can go on from it.
        exact: Whether a run that does goes on exactly.
    """

    age: Age
    weights_only: bool
    exact: bool


def told_by(path: Path, format_: CheckpointFormat) -> Told:
    """What the checkpoint at `path` says of itself.

    Raises:
        CheckpointError: It cannot be read, or does not say how old it is.
    """
    part = format_.load_part(path, "about")
    about: Mapping[str, object] = part if is_mapping(part) else {}
    written, order = about.get("written", 0), about.get("order")
    if not isinstance(written, int) or not isinstance(order, int):
        raise CheckpointError(str(path), "it does not say how old it is", "Load it by its path.")
    return Told(Age(written, order), bool(about.get("weights_only")), not about.get("note"))
