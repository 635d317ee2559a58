"""Whatever is done to trees, they stay trees; and what is refused changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import Protocol, TypeAlias

from tests.loops.base.loops import Foreign, Leaf, Pair, Stages
from typedloops import Loop, LoopProtocol, SlotList
from typedloops.errors import LoopTreeError
from typedloops.loops.base.slot import LoopList
from typedloops.protocols.loop import AnyLoop


class Empty(Pair):
    """A pair that is built without children."""

    def __init__(self) -> None: ...


class FailsLate(Pair):
    """Takes its children and fails."""

    def __init__(self, first: LoopProtocol[[], None], second: LoopProtocol[[], None] | None = None) -> None:
        super().__init__(first, second)
        raise ValueError("no room")


class EmptyStages(Stages):
    """A list of stages that is built without children."""

    def __init__(self) -> None: ...


class Parent(Protocol):
    """A pair or a list of stages, as far as its methods go."""

    def connect(self, **loops: object) -> None: ...
    def replace(self, **loops: object) -> None: ...


Change: TypeAlias = Callable[[Parent, object, object], None]


def assign(slot: str) -> Change:
    return lambda parent, one, other: setattr(parent, slot, one)


def stages_of(parent: Parent) -> LoopList[object]:
    return cast("LoopList[object]", cast("Stages", parent).stages)


CHANGES_OF_PAIRS: dict[str, Change] = {
    "first": assign("first"),
    "second": assign("second"),
    "empty second": lambda pair, one, other: assign("second")(pair, None, other),
    "connect": lambda pair, one, other: pair.connect(first=one, second=other),
    "replace first": lambda pair, one, other: pair.replace(first=one),
    "replace both": lambda pair, one, other: pair.replace(first=one, second=other),
}
CHANGES_OF_LISTS: dict[str, Change] = {
    "append": lambda stages, one, other: stages_of(stages).append(one),
    "set the last": lambda stages, one, other: stages_of(stages).__setitem__(-1, one),
    "delete the first": lambda stages, one, other: stages_of(stages).__delitem__(0),
    "clear": lambda stages, one, other: stages_of(stages).clear(),
    "assign": lambda stages, one, other: assign("stages")(stages, [one, other], other),
    "connect": lambda stages, one, other: stages.connect(stages=[one, other]),
}
CLASSES: tuple[type[object], ...] = (Empty, Pair, FailsLate, EmptyStages, Leaf, Foreign, dict)
PAIRS, LISTS, SIZE = 4, 2, 10

Operation: TypeAlias = "tuple[int, str, int, int]"
"""Which parent, what to do to it, and with which two of the loops and classes."""


def operations() -> st.SearchStrategy[Operation]:
    thing = st.integers(0, SIZE + len(CLASSES) - 1)
    of_pairs = st.tuples(st.integers(0, PAIRS - 1), st.sampled_from(sorted(CHANGES_OF_PAIRS)), thing, thing)
    of_lists = st.tuples(st.integers(PAIRS, PAIRS + LISTS - 1), st.sampled_from(sorted(CHANGES_OF_LISTS)), thing, thing)
    return of_pairs | of_lists


def pool() -> list[AnyLoop]:
    """The parents first, then loops without children."""
    pairs, lists = [Empty() for _ in range(PAIRS)], [Stages() for _ in range(LISTS)]
    return [*pairs, *lists, Leaf(), Leaf(), Foreign(), Foreign()]


def perform(loops: list[AnyLoop], operation: Operation) -> bool:
    """Whether the operation was not refused."""
    at, name, one, other = operation
    things: list[object] = [*loops, *CLASSES]
    change = (CHANGES_OF_PAIRS if at < PAIRS else CHANGES_OF_LISTS)[name]
    try:
        change(cast("Parent", loops[at]), things[one], things[other])
    except (LoopTreeError, ValueError, IndexError, TypeError):
        return False
    return True


def everybody(loops: list[AnyLoop]) -> Iterator[AnyLoop]:
    """The loops, and those that were built to replace one of them; each once."""
    found = {id(node): node for loop in loops for node in below(loop)}
    return iter(found.values())


def below(loop: AnyLoop) -> list[AnyLoop]:
    return [node for _, node in loop.walk()] if isinstance(loop, Loop) else [loop]


def links(loops: list[AnyLoop]) -> list[object]:
    """All that can be seen of where every loop is."""
    return [
        (id(loop), id(loop.root), loop.path, [(name, id(child)) for name, child in loop.children()])
        for loop in everybody(loops)
        if isinstance(loop, Loop)
    ]


def check_links(loops: list[AnyLoop]) -> None:
    """Every loop is where its parent has it, and nowhere else."""
    places: Counter[int] = Counter()
    for parent in everybody(loops):
        if not isinstance(parent, Loop):
            continue
        assert len({id(node) for node in below(parent)}) == len(below(parent))
        for name, child in parent.children():
            if isinstance(child, Loop):
                places[id(child)] += 1
                assert child.root is parent.root
                assert child.path == ".".join(filter(None, (parent.path, name)))
    assert set(places.values()) <= {1}
    for loop in everybody(loops):
        if isinstance(loop, Loop) and not places[id(loop)]:
            assert loop.root is loop
            assert loop.path == ""


@settings(deadline=None, max_examples=300)
@given(changes=st.lists(operations(), min_size=1, max_size=12))
def test_trees_stay_trees_and_what_is_refused_changes_nothing(changes: list[Operation]) -> None:
    loops = pool()
    for operation in changes:
        before = links(loops)
        accepted = perform(loops, operation)
        assert accepted or links(loops) == before
        check_links(loops)


class Folds(Loop[[], None]):
    folds: SlotList[LoopProtocol[[], None]] = SlotList()
    done = True

    def advance(self) -> None: ...


class Busy(Leaf):
    at_work = True


def test_a_list_of_loops_with_a_running_one_stays_whole() -> None:
    folds = Folds()
    children = [Busy(), Leaf(), Leaf()]
    vars(folds)["folds"] = list(children)
    changes: list[Callable[[], None]] = [
        lambda: setattr(folds, "folds", []),
        lambda: folds.folds.clear(),
        lambda: folds.folds.refill([]),
    ]
    for change in changes:
        with pytest.raises(LoopTreeError, match=r"^Folds\.folds: this Busy is running"):
            change()
        assert list(folds.folds) == children
