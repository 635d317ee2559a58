"""The saved position of a pass: what it has in it, and whether it fits the loader at hand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from typedloops._core.shapes import is_mapping
from typedloops.errors import LoaderError, StateError

ANEW = "Resume with a loader that is made as the one that was saved, or begin the pass anew."


@dataclass(frozen=True)
class Saved:
    """Where a pass was.

    Args:
        where: What to call its loader in an error.
        kind: The kind of its loader, in words.
        length: How many batches its loader said that it has, or None.
        taken: How many had been taken.
        ended: Whether the loader had said that there are no more.
        position: What that kind of loader keeps.
    """

    where: str
    kind: str
    length: int | None
    taken: int
    ended: bool = False
    position: Mapping[str, object] = field(default_factory=dict[str, object])

    def state_dict(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "length": self.length,
            "taken": self.taken,
            "ended": self.ended,
            "position": dict(self.position),
        }

    @classmethod
    def read(cls, where: str, state: Mapping[str, object]) -> Saved:
        """What `state_dict` gave.

        Raises:
            StateError: It is something else.
        """
        kind, length, taken = state.get("kind"), state.get("length"), state.get("taken")
        ended, position = state.get("ended"), state.get("position")
        fits = (
            isinstance(kind, str)
            and (length is None or isinstance(length, int))
            and isinstance(taken, int)
            and taken >= 0
            and isinstance(ended, bool)
            and is_mapping(position)
        )
        if not fits:
            raise StateError(where, "what was saved is no position in a pass", "Give what `state_dict` gave.")
        return cls(
            where,
            cast("str", kind),
            cast("int | None", length),
            cast("int", taken),
            cast("bool", ended),
            cast("Mapping[str, object]", position),
        )

    def check(self, kind: str, length: int | None) -> None:
        """Raise unless the loader at hand is like the one that was saved.

        Raises:
            StateError: It is of another kind or length.
        """
        if kind != self.kind:
            raise StateError(self.where, f"the saved position is one in {self.kind}, and this is {kind}", ANEW)
        if length != self.length:
            raise StateError(
                self.where,
                f"it has {_batches(length)}, and had {_batches(self.length)} when its position was saved",
                ANEW,
            )

    def mapping(self, name: str) -> Mapping[str, object]:
        """A part of the position.

        Raises:
            StateError: It is not there.
        """
        part = self.position.get(name)
        if not is_mapping(part):
            raise StateError(self.where, f"the saved position has no {name!r}", "Give what `state_dict` gave.")
        return part


def _batches(length: int | None) -> str:
    return "no length" if length is None else f"{length} batches"


def inexact(where: str, why: str, remedy: str, exact: bool) -> None:
    """Say that a resumed pass may not give the batches that the uninterrupted one would have given.

    Raises:
        LoaderError: Only what is exact is wanted.
    """
    if exact:
        raise LoaderError(where, why, remedy)
    warnings.warn(f"{where}: {why}. {remedy}", UserWarning, stacklevel=2)
