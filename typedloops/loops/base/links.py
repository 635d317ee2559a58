"""Changes of a tree's links that happen whole or not at all."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager

from typing_extensions import Protocol, runtime_checkable

from typedloops._core.shapes import is_list_or_tuple
from typedloops.loops.base.slot import BaseSlot


@runtime_checkable
class Linked(Protocol):
    """What is asked of a node of a tree."""

    __dict__: dict[str, object]

    @classmethod
    def slots(cls) -> Mapping[str, BaseSlot]: ...
    @property
    def root(self) -> Linked: ...
    def walk(self) -> Iterator[tuple[str, object]]: ...


PLACE = ("_parent", "_slot", "_trainer", "_root_name")


@contextmanager
def all_or_nothing(*things: object) -> Generator[None]:
    """Undo every change of links in the trees of `things` when an exception leaves the block.

    Args:
        things: Loops whose trees may be changed; anything else is left alone.
    """
    loops = [thing for thing in things if not isinstance(thing, type) and isinstance(thing, Linked)]
    nodes = [node for loop in loops for _, node in loop.root.walk()]
    before = [(node, _links(node)) for node in nodes if isinstance(node, Linked)]
    try:
        yield
    except BaseException:
        for node, links in before:
            _restore(node, links)
        raise


def _links(node: Linked) -> dict[str, object]:
    held = {name: node.__dict__[name] for name in (*node.slots(), *PLACE) if name in node.__dict__}
    return {name: list(value) if is_list_or_tuple(value) else value for name, value in held.items()}


def _restore(node: Linked, links: dict[str, object]) -> None:
    for name in (*node.slots(), *PLACE):
        node.__dict__.pop(name, None)
    node.__dict__.update(links)
