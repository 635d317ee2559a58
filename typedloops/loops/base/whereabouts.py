"""Where in a tree an error came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from typing_extensions import Protocol, runtime_checkable

from typedloops.errors import add_note

MARK = "_loops_are_told"


@runtime_checkable
class LocatedLoop(Protocol):
    """What is asked of a loop that an error came through."""

    @property
    def path(self) -> str: ...
    @property
    def parent(self) -> object: ...
    @property
    def under_way(self) -> bool: ...
    @property
    def whereabouts(self) -> str: ...


def add_whereabouts(error: Exception, loop: LocatedLoop) -> None:
    """Add a note of the loops under way, the innermost first; once, for the first loop that an error leaves.

    Args:
        error: What is on its way.
        loop: The loop that it leaves.
    """
    if getattr(error, MARK, False):
        return
    with suppress(Exception):
        setattr(error, MARK, True)
    with suppress(Exception):  # the error that is on its way is the one to tell
        under_way = [loop, *(node for node in _around(loop) if node.under_way)]
        add_note(error, "\n".join(f"in {_told(node)}" for node in under_way))


def _told(loop: LocatedLoop) -> str:
    kind = type(loop).__name__
    named = f"{loop.path} ({kind})" if loop.path else kind
    with suppress(Exception):
        named += loop.whereabouts
    return named


def _around(loop: LocatedLoop) -> Iterator[LocatedLoop]:
    above = loop.parent
    while isinstance(above, LocatedLoop):
        yield above
        above = above.parent
