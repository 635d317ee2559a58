"""Children: slots, lists of slots, one parent, no cycles, and connecting."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from typing_extensions import Protocol

from tests.loops.base.loops import Countdown, Foreign, Leaf, Pair, Stages, a_trainer
from typedloops import LoopProtocol, Slot, typed_connect
from typedloops.errors import LoopTreeError, UnattachedLoopError
from typedloops.protocols.loop import AnyLoop


class Empty(Pair):
    """A pair that is built without children."""

    def __init__(self) -> None: ...


class Connects(Protocol):
    """The `connect` that every loop has; a type checker sees only those that a class types by itself."""

    def connect(self, **loops: object) -> None: ...


def untyped(loop: AnyLoop) -> Connects:
    return cast("Connects", loop)


def test_a_child_knows_its_parent_and_its_place() -> None:
    child = Leaf()
    pair = Pair(child)
    assert pair.first is child
    assert child.root is pair
    assert child.path == "first"


def test_an_empty_slot_is_an_error_that_says_how_to_fill_it() -> None:
    with pytest.raises(LoopTreeError) as empty:
        _ = Empty().first
    assert str(empty.value) == "Empty.first: no loop is connected. Assign one to `first`."


def test_an_empty_slot_that_is_not_required_is_none() -> None:
    assert Pair(Leaf()).second is None


def test_a_slot_is_read_from_the_class_as_itself() -> None:
    assert isinstance(Pair.first, Slot)
    assert Pair.first.required
    assert not Pair.second.required


def test_another_child_takes_the_place_and_the_old_one_has_none() -> None:
    old, new = Leaf(), Leaf()
    pair = Pair(old)
    pair.attach(a_trainer(), "fit_loop")
    pair.first = new
    assert pair.first is new
    assert (new.root, new.path) == (pair, "fit_loop.first")
    assert (old.root, old.path) == (old, "")
    with pytest.raises(UnattachedLoopError):
        _ = old.trainer


def test_a_child_may_be_assigned_again() -> None:
    child = Leaf()
    pair = Pair(child)
    pair.first = child
    assert pair.first is child
    assert child.path == "first"


def test_none_empties_a_slot_that_is_not_required() -> None:
    child = Leaf()
    pair = Pair(Leaf(), child)
    pair.second = None
    assert pair.second is None
    assert child.root is child
    pair.second = None
    assert pair.second is None


def test_a_child_that_left_can_go_elsewhere() -> None:
    child = Leaf()
    pair, other = Pair(Leaf(), child), Pair(Leaf())
    pair.second = None
    other.second = child
    assert child.root is other


def test_the_slots_of_a_class_are_its_bases_first() -> None:
    class Triple(Pair):
        third: Slot[LoopProtocol[[], None]] = Slot()

    assert list(Triple.slots()) == ["first", "second", "third"]


def test_children_are_those_connected_in_the_order_of_the_slots() -> None:
    second, first = Leaf(), Leaf()
    pair = Empty()
    pair.second = second
    pair.first = first
    assert list(pair.children()) == [("first", first), ("second", second)]
    assert list(Empty().children()) == []


NOT_LOOPS: dict[str, tuple[Callable[[], object], str, str]] = {
    "a class": (lambda: Leaf, "it needs a loop, got the class Leaf", "Build one: Leaf(...)."),
    "no loop": (
        lambda: 3,
        "it needs a loop, got int",
        "A loop has `done`, `reset`, `advance` and `run`: subclass typedloops.Loop.",
    ),
    "none": (
        lambda: None,
        "it needs a loop, got NoneType",
        "A loop has `done`, `reset`, `advance` and `run`: subclass typedloops.Loop.",
    ),
    "a loop with another parent": (
        lambda: Pair(Leaf()).first,
        "this Leaf is already connected as 'first' of a Pair",
        "A loop has one parent: build another, or `copy.deepcopy` it.",
    ),
}


@pytest.mark.parametrize("case", NOT_LOOPS)
def test_what_cannot_be_a_child_is_refused_and_nothing_changes(case: str) -> None:
    make, problem, remedy = NOT_LOOPS[case]
    child = Leaf()
    pair = Pair(child)
    with pytest.raises(LoopTreeError) as refused:
        pair.first = make()  # type: ignore[assignment]
    assert str(refused.value) == f"Pair.first: {problem}. {remedy}"
    assert pair.first is child
    assert child.root is pair


def test_a_loop_has_one_place_in_a_tree() -> None:
    child = Leaf()
    with pytest.raises(LoopTreeError, match="this Leaf is already connected as 'first' of a Pair"):
        Pair(child, child)


def test_a_foreign_loop_is_a_child_by_its_shape() -> None:
    foreign = Foreign()
    pair = Pair(foreign)
    assert pair.first is foreign
    assert list(pair.children()) == [("first", foreign)]
    pair.run()
    assert foreign.done


def test_a_foreign_loop_has_one_place_in_a_tree_too() -> None:
    foreign = Foreign()
    with pytest.raises(LoopTreeError) as refused:
        Pair(Pair(foreign), foreign)
    assert str(refused.value) == (
        "Pair.second: this Foreign is already in the tree. A loop has one place: build another, or `copy.deepcopy` it."
    )


def test_two_trees_with_the_same_foreign_loop_cannot_be_joined() -> None:
    foreign = Foreign()
    pair = Pair(foreign)
    with pytest.raises(LoopTreeError):
        pair.second = Pair(foreign)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_loop_cannot_be_its_own_descendant(depth: int) -> None:
    top = Pair(Leaf())
    bottom = top
    for _ in range(depth):
        bottom.second = Pair(Leaf())
        bottom = bottom.second
    with pytest.raises(LoopTreeError) as refused:
        bottom.second = top
    assert str(refused.value) == (
        "Pair.second: connecting this Pair would make it its own descendant. "
        "Connect another loop: a tree has no cycles."
    )
    assert bottom.second is None


def test_connect_fills_slots_by_name_and_leaves_the_rest() -> None:
    first, second, third = Leaf(), Leaf(), Leaf()
    pair = Empty()
    untyped(pair).connect(first=first, second=second)
    untyped(pair).connect(first=third)
    untyped(pair).connect(second=None)
    assert (pair.first, pair.second) == (third, second)


def test_connect_knows_the_slots_that_there_are() -> None:
    with pytest.raises(LoopTreeError) as unknown:
        untyped(Pair(Leaf())).connect(third=Leaf(), fourth=Leaf())
    assert str(unknown.value) == "Pair.connect: it has no slot 'fourth', 'third'. Its slots are: first, second."
    with pytest.raises(LoopTreeError, match="Its slots are: none"):
        untyped(Countdown()).connect(first=Leaf())


def test_a_typed_connect_knows_them_as_well() -> None:
    class Typed(Pair):
        @typed_connect
        def connect(self, *, first: LoopProtocol[[], None] | None = None) -> None:
            """Of one slot only."""

    typed, leaf = Typed(Leaf()), Leaf()
    typed.connect(first=leaf)
    assert typed.first is leaf
    assert leaf.root is typed
    with pytest.raises(LoopTreeError, match=r"^Typed\.connect: it has no slot 'frist'. Its slots are: first, second"):
        untyped(typed).connect(frist=Leaf())
    assert Typed.connect.__doc__ == "Of one slot only."


def test_connect_refuses_a_class() -> None:
    with pytest.raises(LoopTreeError, match="it needs a loop, got the class Leaf"):
        untyped(Pair(Leaf())).connect(second=Leaf)


def test_connect_connects_all_or_none() -> None:
    first = Leaf()
    pair = Pair(first)
    with pytest.raises(LoopTreeError):
        untyped(pair).connect(first=Leaf(), second=3)
    assert pair.first is first


def test_a_list_of_children_reads_as_a_sequence() -> None:
    one, two, three = Leaf(1), Leaf(2), Leaf(3)
    stages = Stages(one, two, three)
    assert list(stages.stages) == [one, two, three]
    assert len(stages.stages) == 3
    assert stages.stages[1] is two
    assert stages.stages[-1] is three
    assert repr(stages.stages) == repr([one, two, three])


def test_every_child_of_a_list_has_its_number_in_its_path() -> None:
    stages = Stages(Leaf(), Leaf())
    assert [path for path, _ in stages.children()] == ["stages.0", "stages.1"]
    assert [child.path for child in stages.stages if isinstance(child, Leaf)] == ["stages.0", "stages.1"]


def test_an_empty_list_is_empty() -> None:
    assert len(Stages().stages) == 0
    assert list(Stages().children()) == []


def test_a_list_can_be_changed_and_its_children_follow() -> None:
    one, two, three, four = Leaf(1), Leaf(2), Leaf(3), Leaf(4)
    stages = Stages(one, two)
    stages.stages.append(three)
    stages.stages[0] = four
    del stages.stages[1]
    assert list(stages.stages) == [four, three]
    assert [child.root is stages for child in (one, two, three, four)] == [False, False, True, True]
    assert (four.path, three.path) == ("stages.0", "stages.1")


def test_a_cleared_list_releases_its_children() -> None:
    one, two = Leaf(), Leaf()
    stages = Stages(one, two)
    stages.stages.clear()
    assert len(stages.stages) == 0
    assert (one.root, two.root) == (one, two)


def test_an_assigned_list_takes_the_place_of_the_old_one() -> None:
    old, new = Leaf(), Leaf()
    stages = Stages(old)
    stages.stages = [new]
    assert list(stages.stages) == [new]
    assert (old.root, new.root) == (old, stages)


def test_the_children_of_a_list_can_be_assigned_in_another_order() -> None:
    one, two = Leaf(1), Leaf(2)
    stages = Stages(one, two)
    stages.stages = reversed(list(stages.stages))
    assert list(stages.stages) == [two, one]
    assert two.path == "stages.0"


def test_a_list_refuses_what_is_no_loop_and_nothing_changes() -> None:
    one = Leaf()
    stages = Stages(one)
    with pytest.raises(LoopTreeError, match=r"^Stages\.stages: it needs a loop, got int"):
        stages.stages.append(3)  # type: ignore[arg-type]
    with pytest.raises(LoopTreeError, match=r"^Stages\.stages: it needs a loop, got the class Leaf"):
        stages.stages[0] = Leaf  # type: ignore[assignment]
    assert list(stages.stages) == [one]
    assert one.root is stages


def test_a_list_refuses_a_loop_that_is_in_it() -> None:
    one, two = Leaf(), Leaf()
    stages = Stages(one, two)
    with pytest.raises(LoopTreeError, match=r"already connected as 'stages\.0' of a Stages"):
        stages.stages.append(one)
    with pytest.raises(LoopTreeError, match=r"already connected as 'stages\.1' of a Stages"):
        stages.stages[0] = two
    stages.stages[0] = one
    assert list(stages.stages) == [one, two]


def test_an_assigned_list_is_taken_whole_or_not_at_all() -> None:
    one, two = Leaf(), Leaf()
    stages = Stages(one)
    with pytest.raises(LoopTreeError):
        stages.stages = [two, 3]  # type: ignore[list-item]
    assert list(stages.stages) == [one]
    assert one.root is stages
    assert two.root is two


def test_a_list_and_its_owner_may_forget_to_be_initialized() -> None:
    class Forgetful(Stages):
        def __init__(self) -> None: ...

    stages = Forgetful()
    stages.stages.append(Leaf(1))
    stages.run()
    assert [leaf.value for leaf in stages.stages if isinstance(leaf, Leaf)] == [2]


def test_a_list_that_somebody_holds_is_that_of_the_loop_after_a_refused_change() -> None:
    one, two = Leaf(), Leaf()
    stages = Stages(one)
    held = stages.stages
    with pytest.raises(LoopTreeError):
        untyped(stages).connect(stages=[two, 3])
    held.append(two)
    assert list(stages.stages) == [one, two]
    assert two.path == "stages.1"


def test_a_list_that_somebody_holds_is_that_of_the_loop_after_its_children_moved() -> None:
    late = Leaf()
    pair, stages = Pair(old := Stages(Leaf())), Stages()
    held = old.stages
    pair.replace(first=stages)
    held.append(late)
    assert list(old.children()) == [("stages.0", late)]
    assert len(stages.stages) == 1
