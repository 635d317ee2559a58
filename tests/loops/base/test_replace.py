"""Replacing a child: by a loop or by a class, with its children, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.loops.base.loops import Foreign, Leaf, Pair, Stages
from typedloops import Loop, LoopProtocol, Slot, SlotList
from typedloops.errors import LoopTreeError


class SlowLeaf(Leaf):
    """Takes the old leaf's value."""


class Renamed(Pair):
    """Takes the old pair's children and rounds; its children of its own are in the way."""

    def __init__(
        self, first: LoopProtocol[[], None], second: LoopProtocol[[], None] | None = None, *, rounds: int = 7
    ) -> None:
        super().__init__(first, second or Leaf(99), rounds=rounds)


class Closed(Leaf):
    """Has no slots."""


class OnlyFirst(Loop[[], None]):
    """Has one of the slots of a pair, and insists on it."""

    first: Slot[LoopProtocol[[], None]] = Slot()
    done = True

    def __init__(self, first: LoopProtocol[[], None]) -> None:
        self.first = first

    def advance(self) -> None: ...


class Demanding(Pair):
    """Wants what a pair does not have."""

    def __init__(self, first: LoopProtocol[[], None], budget: int, *, depth: int) -> None:
        super().__init__(first)


class Failing(Pair):
    """Fails before it has taken the child."""

    def __init__(self, first: LoopProtocol[[], None]) -> None:
        raise ValueError("no room")


class FailingLate(Pair):
    """Fails when it has taken the child."""

    def __init__(self, first: LoopProtocol[[], None]) -> None:
        super().__init__(first)
        raise ValueError("no room")


class Collecting(Pair):
    """Takes any inputs at all."""

    def __init__(self, *loops: LoopProtocol[[], None], rounds: int, **rest: object) -> None:
        self.rounds = rounds


def nested() -> tuple[Pair, Pair, Leaf, Leaf]:
    """A pair within a pair, with two leaves in the inner one."""
    first, second = Leaf(1), Leaf(2)
    inner = Pair(first, second, rounds=3)
    return Pair(inner), inner, first, second


def test_a_loop_takes_the_place_of_the_old_one() -> None:
    old, new = Leaf(), Leaf()
    pair = Pair(old)
    pair.replace(first=new)
    assert pair.first is new
    assert (new.root, old.root) == (pair, old)


def test_a_class_is_built_with_the_values_of_the_old_loop() -> None:
    pair = Pair(Leaf(5))
    pair.replace(first=SlowLeaf)
    assert isinstance(pair.first, SlowLeaf)
    assert pair.first.value == 5


def test_a_class_gets_the_children_in_place_of_its_own() -> None:
    outer, inner, first, second = nested()
    outer.replace(first=Renamed)
    new = outer.first
    assert isinstance(new, Renamed)
    assert (new.first, new.second, new.rounds) == (first, second, 3)
    assert (first.path, second.path) == ("first.first", "first.second")
    assert list(inner.children()) == []
    assert inner.root is inner


def test_a_child_that_a_class_insists_on_is_given_to_its_constructor() -> None:
    outer, inner, first, _ = nested()
    inner.second = None
    outer.replace(first=OnlyFirst)
    assert isinstance(outer.first, OnlyFirst)
    assert outer.first.first is first
    assert first.root is outer


def test_a_class_that_takes_anything_is_given_what_it_names() -> None:
    outer, _, first, second = nested()
    outer.replace(first=Collecting)
    assert isinstance(outer.first, Collecting)
    assert (outer.first.rounds, outer.first.first, outer.first.second) == (3, first, second)


def test_a_loop_gets_only_the_children_that_it_has_room_for() -> None:
    outer, inner, first, second = nested()
    own = Leaf(7)
    new = Pair(own)
    outer.replace(first=new)
    assert (new.first, new.second) == (own, second)
    assert list(inner.children()) == [("first", first)]


def test_several_children_can_be_replaced_at_once() -> None:
    _, inner, _, _ = nested()
    inner.replace(first=SlowLeaf, second=SlowLeaf)
    assert [(type(child).__name__, path) for path, child in inner.children()] == [
        ("SlowLeaf", "first"),
        ("SlowLeaf", "second"),
    ]


def test_a_child_may_be_replaced_by_itself() -> None:
    outer, inner, first, second = nested()
    outer.replace(first=inner)
    assert list(outer.walk()) == [("", outer), ("first", inner), ("first.first", first), ("first.second", second)]


def test_an_optional_slot_that_is_empty_can_be_filled() -> None:
    pair, child = Pair(Leaf()), Leaf()
    pair.replace(second=child)
    assert pair.second is child


def test_a_foreign_loop_is_replaced_and_replaces() -> None:
    pair, foreign, leaf = Pair(Leaf()), Foreign(), Leaf()
    pair.replace(first=foreign)
    assert list(pair.children()) == [("first", foreign)]
    pair.replace(first=leaf)
    assert list(pair.children()) == [("first", leaf)]


def test_the_children_of_a_list_move_together() -> None:
    class OtherStages(Stages):
        def __init__(self) -> None: ...

    one, two = Leaf(1), Leaf(2)
    pair = Pair(Stages(one, two))
    pair.replace(first=OtherStages)
    assert isinstance(pair.first, OtherStages)
    assert list(pair.first.stages) == [one, two]
    assert one.path == "first.stages.0"


def test_a_list_that_a_class_insists_on_is_given_to_its_constructor() -> None:
    class Insisting(Loop[[], None]):
        stages: SlotList[LoopProtocol[[], None]] = SlotList()
        done = True

        def __init__(self, stages: list[LoopProtocol[[], None]]) -> None:
            self.stages = stages

        def advance(self) -> None: ...

    one, two = Leaf(1), Leaf(2)
    pair = Pair(Stages(one, two))
    pair.replace(first=Insisting)
    assert isinstance(pair.first, Insisting)
    assert list(pair.first.stages) == [one, two]


NO_VALUE = (
    "a Demanding cannot be built from the Pair that it replaces: the old loop has no value for "
    "budget, depth of Demanding.__init__. Build it yourself and give the loop: replace(...=Demanding(...))."
)
NO_SLOT = "{} has no slot for first, second of Pair. Declare the slot, or disconnect the child first."
NO_LOOP = "it needs a loop, got int. A loop has `done`, `reset`, `advance` and `run`: subclass typedloops.Loop."
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no value": (lambda: Demanding, f"Pair.first: {NO_VALUE}"),
    "no slot": (Closed, f"Pair.first: {NO_SLOT.format('Closed')}"),
    "no slot, foreign": (Foreign, f"Pair.first: {NO_SLOT.format('Foreign')}"),
    "no slot, class": (lambda: Closed, f"Pair.first: {NO_SLOT.format('Closed')}"),
    "no loop": (lambda: 3, f"Pair.first: {NO_LOOP}"),
    "constructor fails": (lambda: Failing, "no room"),
}


def refuse(outer: Pair, new: object, message: str) -> None:
    """Replace the first child by `new`, which must be refused and change nothing."""
    before = list(outer.walk())
    paths = [loop.path for _, loop in before if isinstance(loop, Loop)]
    with pytest.raises(ValueError) as refused:
        outer.replace(first=new)  # type: ignore[arg-type]
    assert str(refused.value) == message
    assert list(outer.walk()) == before
    assert [loop.path for _, loop in before if isinstance(loop, Loop)] == paths


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_replace_is_refused_and_nothing_changes(case: str) -> None:
    make, message = REFUSED[case]
    refuse(nested()[0], make(), message)


def test_only_slots_can_be_replaced() -> None:
    with pytest.raises(LoopTreeError) as unknown:
        Pair(Leaf()).replace(rounds=Leaf())
    assert str(unknown.value) == "Pair.replace: it has no slot 'rounds'. Its slots are: first, second."


def test_a_required_slot_that_is_empty_is_to_be_connected_instead() -> None:
    class Empty(Pair):
        def __init__(self) -> None: ...

    with pytest.raises(LoopTreeError, match=r"^Empty\.first: no loop is connected\. Assign one to `first`\."):
        Empty().replace(first=Leaf())


def test_nothing_changes_when_a_class_has_room_for_some_children_only() -> None:
    refuse(
        nested()[0],
        OnlyFirst,
        "Pair.first: OnlyFirst has no slot for second of Pair. Declare the slot, or disconnect the child first.",
    )


def test_nothing_changes_when_a_constructor_fails_after_it_took_a_child() -> None:
    refuse(nested()[0], FailingLate, "no room")


def test_nothing_changes_when_the_new_loop_has_another_parent() -> None:
    class Roomy(Pair):
        def __init__(self) -> None: ...

    elsewhere = Pair(Roomy())
    refuse(
        nested()[0],
        elsewhere.first,
        "Pair.first: this Roomy is already connected as 'first' of a Pair. "
        "A loop has one parent: build another, or `copy.deepcopy` it.",
    )


def test_nothing_changes_when_the_new_loop_is_below_the_old_one() -> None:
    outer, inner, _, _ = nested()
    below = Pair(Leaf())
    inner.second = below
    refuse(
        outer,
        below,
        "Pair.first: this Pair is already connected as 'first.second' of a Pair. "
        "A loop has one parent: build another, or `copy.deepcopy` it.",
    )


def test_all_are_replaced_or_none() -> None:
    _, inner, first, second = nested()
    with pytest.raises(LoopTreeError):
        inner.replace(first=SlowLeaf, second=Demanding)
    assert (inner.first, inner.second) == (first, second)


def test_a_class_that_is_no_loop_is_refused() -> None:
    with pytest.raises(LoopTreeError, match="it needs a loop"):
        Pair(Leaf()).replace(first=dict)  # type: ignore[arg-type]


def test_a_list_is_not_replaced_by_a_loop() -> None:
    with pytest.raises(LoopTreeError):
        Stages(Leaf()).replace(stages=Leaf())


@pytest.mark.parametrize("old", [None, Foreign()], ids=["nothing", "a foreign loop"])
def test_a_class_that_needs_values_cannot_replace_what_has_none(old: Foreign | None) -> None:
    pair = Pair(Leaf(), old)
    with pytest.raises(LoopTreeError, match="Demanding"):
        pair.replace(second=Demanding)
    assert pair.second is old
