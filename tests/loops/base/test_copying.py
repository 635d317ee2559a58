"""Pickling and deep-copying trees and parts of trees."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import ClassVar, TypeVar

import pytest

from tests.loops.base.loops import Countdown, Foreign, Leaf, Pair, Stages, a_trainer
from typedloops import Loop
from typedloops.errors import UnattachedLoopError

T = TypeVar("T")


def pickled(thing: T) -> T:
    copied: T = pickle.loads(pickle.dumps(thing))
    return copied


WAYS: dict[str, Callable[[Pair], Pair]] = {"pickle": pickled, "deepcopy": copy.deepcopy}
way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


class Holding(Leaf):
    """Holds something that belongs to a run and cannot be copied."""

    transient_fields: ClassVar[tuple[str, ...]] = ("handle",)

    def __init__(self, value: int = 0) -> None:
        super().__init__(value)
        self.handle = (line for line in "x")
        self.note = {"kept": [1]}


def family() -> Pair:
    return Pair(Stages(Leaf(1), Foreign()), Holding(2), rounds=3)


@way
def test_a_copy_of_a_tree_has_its_shape_and_its_state(way: Callable[[Pair], Pair]) -> None:
    tree = family()
    tree.run()
    copied = way(tree)
    assert str(copied.tree()) == str(tree.tree())
    assert copied.state_dict() == tree.state_dict()


@way
def test_a_copy_is_a_tree_of_its_own(way: Callable[[Pair], Pair]) -> None:
    tree = family()
    copied = way(tree)
    assert {id(loop) for _, loop in tree.walk()}.isdisjoint(id(loop) for _, loop in copied.walk())
    assert {loop.root for _, loop in copied.walk() if isinstance(loop, Loop)} == {copied}
    assert {loop.root for _, loop in tree.walk() if isinstance(loop, Loop)} == {tree}
    before = tree.state_dict()
    copied.run()
    assert copied.state_dict() != before
    assert tree.state_dict() == before


@way
def test_a_copy_runs_as_the_original_does(way: Callable[[Pair], Pair]) -> None:
    tree = family()
    copied = way(tree)
    tree.run()
    copied.run()
    assert copied.state_dict() == tree.state_dict()


@way
def test_a_copy_can_be_changed_as_the_original_can(way: Callable[[Pair], Pair]) -> None:
    copied = way(family())
    late = Leaf()
    copied.first = late
    copied.second = None
    assert [path for path, _ in copied.walk()] == ["", "first"]
    assert late.root is copied


@way
def test_a_copy_is_not_attached(way: Callable[[Pair], Pair]) -> None:
    tree = family()
    tree.attach(a_trainer(), "fit_loop")
    copied = way(tree)
    assert copied.path == ""
    with pytest.raises(UnattachedLoopError):
        _ = copied.trainer
    assert tree.path == "fit_loop"


@way
def test_what_belongs_to_a_run_is_left_behind(way: Callable[[Pair], Pair]) -> None:
    copied = way(family()).second
    assert isinstance(copied, Holding)
    assert copied.note == {"kept": [1]}
    assert "handle" not in vars(copied)


@way
def test_what_is_left_behind_is_the_same_in_a_subclass_with_more_of_it(way: Callable[[Pair], Pair]) -> None:
    copied = way(Pair(More())).first
    assert isinstance(copied, More)
    assert {"handle", "second_handle"}.isdisjoint(vars(copied))


class More(Holding):
    """Adds to what is left behind."""

    transient_fields: ClassVar[tuple[str, ...]] = ("second_handle",)

    def __init__(self) -> None:
        super().__init__()
        self.second_handle = (line for line in "y")


@way
def test_a_copy_of_a_part_is_a_root(way: Callable[[Pair], Pair]) -> None:
    part = Pair(Leaf(1), Leaf(2))
    tree = Pair(Leaf(), part)
    tree.attach(a_trainer(), "fit_loop")
    copied = way(part)
    assert copied.root is copied
    assert [path for path, _ in copied.walk()] == ["", "first", "second"]
    assert copied.state_dict() == part.state_dict()
    assert part.root is tree
    tree.second = None
    tree.second = copied
    assert copied.path == "fit_loop.second"


@way
def test_a_copy_is_restarting_if_the_original_is(way: Callable[[Pair], Pair]) -> None:
    tree = family()
    tree.load_state_dict(tree.state_dict())
    assert way(tree).restarting


@way
def test_a_reference_up_the_tree_is_copied_with_it(way: Callable[[Pair], Pair]) -> None:
    leaf = Holding()
    tree = Pair(leaf)
    vars(leaf)["owner"] = tree
    copied = way(tree)
    assert vars(copied.first)["owner"] is copied


def test_a_loop_that_forgets_to_call_its_base_can_be_copied() -> None:
    loop = Forgetful(4)
    assert pickled(loop).run(2) == 2
    assert copy.deepcopy(loop).size == 4


class Forgetful(Countdown):
    """Does not call its base's `__init__`."""

    def __init__(self, size: int) -> None:
        self.size = size


def test_a_shallow_copy_leaves_the_original_its_children() -> None:
    tree = family()
    copied = copy.copy(tree)
    assert copied is not tree
    assert isinstance(tree.second, Loop)
    assert tree.second.root is tree
