"""The state of a tree of loops: what is saved, what is refused, and that nothing changes then."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import ClassVar, cast

import pytest

from tests.loops.base.loops import Countdown, Foreign, Leaf, Pair, Stages, StatefulForeign
from typedloops import Loop, Progress
from typedloops.errors import StateError


class Plain(Leaf):
    """Has a value of every kind that can be saved."""

    state_fields: ClassVar[tuple[str, ...]] = ("nothing", "flag", "share", "name", "items", "table")

    def __init__(self) -> None:
        super().__init__()
        self.nothing: int | None = None
        self.flag = True
        self.share = 0.5
        self.name = "x"
        self.items: list[object] = [1, [2, None]]
        self.table: dict[str, object] = {"a": {"b": [3]}}


class Shuffler:
    """Saves itself; refuses a negative seed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def state_dict(self) -> dict[str, object]:
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: Mapping[str, object], /) -> None:
        seed = cast("int", state_dict["seed"])
        if seed < 0:
            raise ValueError("negative seed")
        self.seed = seed


class Custom(Leaf):
    """Saves a value by hand; refuses an odd one."""

    state_fields: ClassVar[tuple[str, ...]] = ("shuffler",)

    def __init__(self, value: int = 0) -> None:
        super().__init__(value)
        self.shuffler = Shuffler(value)
        self.by_hand = 2 * value
        self.loaded: list[Mapping[str, object]] = []

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"by_hand": self.by_hand}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        by_hand = cast("int", state["by_hand"])
        if by_hand % 2:
            raise ValueError("odd")
        self.by_hand = by_hand
        self.loaded.append(state)


def entry(
    fields: Mapping[str, object], custom: Mapping[str, object] | None = None, iterations: int = 0
) -> dict[str, object]:
    return {
        "iterations": {"completed": iterations, "unfinished": False},
        "fields": dict(fields),
        "custom": custom or {},
    }


def leaf_entry(value: int, ready: int = 0) -> dict[str, object]:
    count = {"ready": ready, "completed": ready}
    return entry({"value": value, "progress": {"total": count, "current": count}})


def family(value: int = 0) -> Pair:
    """A tree with every kind of loop in it."""
    return Pair(Stages(Leaf(value), Custom(value), StatefulForeign(), Foreign()), Plain(), rounds=value + 1)


def changed(state: dict[str, object], path: str, change: Callable[[dict[str, object]], object]) -> dict[str, object]:
    """A copy of a tree's state in which `change` was made to the entry of `path`."""
    copied = copy.deepcopy(state)
    change(cast("dict[str, dict[str, object]]", copied["loops"])[path])
    return copied


def test_the_state_of_a_tree_is_told_by_path() -> None:
    tree = Pair(Leaf(3), Custom(4), rounds=5)
    assert tree.state_dict() == {
        "version": 1,
        "loops": {
            ".": entry({"rounds": 5}),
            "first": leaf_entry(3),
            "second": entry(
                {**cast("dict[str, object]", leaf_entry(4)["fields"]), "shuffler": {"seed": 4}}, {"by_hand": 8}
            ),
        },
    }


def test_the_state_of_a_part_has_paths_from_there() -> None:
    tree = Pair(Pair(Leaf(3)))
    assert list(cast("dict[str, object]", cast("Pair", tree.first).state_dict()["loops"])) == [".", "first"]


def test_the_fields_of_base_classes_are_saved_too_each_once() -> None:
    class Derived(Leaf):
        state_fields: ClassVar[tuple[str, ...]] = ("extra", "value")
        extra = "x"

    assert Derived(2).state_dict() == {
        "version": 1,
        "loops": {".": entry({**cast("dict[str, object]", leaf_entry(2)["fields"]), "extra": "x"})},
    }


def test_a_loop_without_fields_has_an_empty_entry() -> None:
    assert Countdown().state_dict() == {"version": 1, "loops": {".": entry({})}}


def test_a_foreign_loop_saves_itself_or_has_nothing_to_save() -> None:
    foreign = StatefulForeign()
    foreign.count = 3
    loops = cast("dict[str, object]", Stages(foreign, Foreign()).state_dict()["loops"])
    assert loops == {".": entry({}), "stages.0": {"own": {"count": 3}}, "stages.1": {}}


def test_a_state_is_a_copy() -> None:
    plain = Plain()
    state = plain.state_dict()
    plain.items.append(4)
    plain.table["a"] = None
    assert state == Plain().state_dict()


def test_custom_values_in_a_state_are_a_copy() -> None:
    class Collecting(Leaf):
        def __init__(self) -> None:
            super().__init__()
            self.collected: list[object] = []

        def on_save_checkpoint(self) -> dict[str, object]:
            return {"collected": self.collected}

    loop = Collecting()
    state = loop.state_dict()
    loop.collected.append(1)
    assert state == Collecting().state_dict()


def test_a_tree_gets_its_state_back_through_json() -> None:
    saved, loaded = family(4), family()
    saved.run()
    loaded.load_state_dict(json.loads(json.dumps(saved.state_dict())))
    assert loaded.state_dict() == saved.state_dict()


def test_trackers_and_other_stateful_fields_are_loaded_in_place() -> None:
    saved, loaded = Custom(3), Custom()
    saved.run()
    progress, shuffler = loaded.progress, loaded.shuffler
    loaded.load_state_dict(saved.state_dict())
    assert loaded.progress is progress
    assert loaded.shuffler is shuffler
    assert progress == saved.progress
    assert shuffler.seed == 3


def test_custom_values_are_given_back_as_a_copy() -> None:
    state = Custom(3).state_dict()
    loaded = Custom()
    loaded.load_state_dict(state)
    assert loaded.by_hand == 6
    cast("dict[str, object]", loaded.loaded[0])["by_hand"] = 0
    assert state == Custom(3).state_dict()


def test_what_is_loaded_does_not_share_lists_with_the_state() -> None:
    state = Plain().state_dict()
    loaded = Plain()
    loaded.load_state_dict(state)
    loaded.items.append("more")
    assert state == Plain().state_dict()


def test_a_tuple_becomes_a_list() -> None:
    class Sized(Leaf):
        state_fields: ClassVar[tuple[str, ...]] = ("sizes",)
        sizes: object = (1, (2, 3))

    loop = Sized()
    loop.load_state_dict(loop.state_dict())
    assert loop.sizes == [1, [2, 3]]


def test_the_root_is_restarting_after_its_state_was_loaded() -> None:
    tree = family()
    tree.load_state_dict(tree.state_dict())
    assert [loop.restarting for _, loop in tree.walk() if isinstance(loop, Loop)] == [True, *[False] * 4]


def test_below_the_root_what_was_in_the_middle_of_a_run_is_restarting() -> None:
    class Failing(Leaf):
        def advance(self) -> None:
            saved.append(tree.state_dict())
            raise OSError

    saved: list[dict[str, object]] = []
    tree = Pair(Leaf(1), Failing(2), rounds=1)
    with pytest.raises(OSError):
        tree.run()
    saved.append(tree.state_dict())  # an error has left them: they have not come to their ends
    for state in saved:
        other = Pair(Leaf(1), Failing(2), rounds=1)
        other.load_state_dict(state)
        restarting = {path for path, loop in other.walk() if isinstance(loop, Loop) and loop.restarting}
        assert restarting == {"", "second"}


def test_a_run_ends_the_restart_of_every_loop_that_ran() -> None:
    tree = family()
    tree.load_state_dict(tree.state_dict())
    tree.run()
    assert [loop.restarting for _, loop in tree.walk() if isinstance(loop, Loop)] == [False] * 5


def test_a_loop_can_tell_a_restart_from_a_new_run() -> None:
    class Resumable(Countdown):
        """Goes on where it was."""

        state_fields: ClassVar[tuple[str, ...]] = ("left", "ran")

        def reset(self) -> None:
            if not self.restarting:
                super().reset()

        def on_run_start(self, start: int) -> None:
            if not self.restarting:
                super().on_run_start(start)

        def advance(self, start: int) -> None:
            super().advance(start)
            if self.left == 2:
                saved.update(self.state_dict())

    saved: dict[str, object] = {}
    assert Resumable().run(5) == 5
    resumed = Resumable()
    resumed.load_state_dict(saved)
    assert resumed.left == 2
    assert resumed.run(5) == 5
    assert resumed.run(3) == 3


class Color(IntEnum):
    RED = 1


class Share(float):
    pass


SAVE_OTHERWISE = "Give it `state_dict` and `load_state_dict`, or save what it stands for in `on_save_checkpoint`."
BUILD = "build the tree that was saved."
UNSAVABLE: dict[str, tuple[object, str]] = {
    "an object": (object(), "Odd.thing at '.': a object cannot be saved."),
    "in a list": ([1, {2}], "Odd.thing at '.'[1]: a set cannot be saved."),
    "in a dict": ({"a": [b"x"]}, "Odd.thing at '.'['a'][0]: a bytes cannot be saved."),
    "a member of an enumeration": (Color.RED, "Odd.thing at '.': a Color cannot be saved."),
    "a number of another kind": ([Share(1)], "Odd.thing at '.'[0]: a Share cannot be saved."),
    "a key": ({1: 2}, "Odd.thing at '.': a dict cannot be saved."),
}


@pytest.mark.parametrize("case", UNSAVABLE)
def test_what_cannot_be_saved_is_named_with_its_place_and_a_remedy(case: str) -> None:
    class Odd(Leaf):
        state_fields: ClassVar[tuple[str, ...]] = ("thing",)
        thing: object

    loop = Odd()
    loop.thing, message = UNSAVABLE[case]
    with pytest.raises(StateError) as refused:
        loop.state_dict()
    assert str(refused.value) == f"{message} {SAVE_OTHERWISE}"


def test_a_declared_field_that_is_not_there_is_named_with_its_place() -> None:
    class Forgetful(Leaf):
        state_fields: ClassVar[tuple[str, ...]] = ("missing",)

    with pytest.raises(StateError) as refused:
        Pair(Leaf(), Forgetful()).state_dict()
    assert str(refused.value) == (
        "Forgetful.missing at 'second': it is declared in `state_fields` but the loop has no such attribute. "
        "Set it in `__init__`."
    )


def drop(name: str) -> Callable[[dict[str, object]], object]:
    return lambda entry: entry.pop(name)


def put(name: str, value: object) -> Callable[[dict[str, object]], object]:
    return lambda entry: entry.update({name: value})


def in_fields(change: Callable[[dict[str, object]], object]) -> Callable[[dict[str, object]], object]:
    return lambda entry: change(cast("dict[str, object]", entry["fields"]))


LEAF = "first.stages.0"
CUSTOM = "first.stages.1"
OWN = "first.stages.2"
FOREIGN = "first.stages.3"

BAD_ENTRIES: dict[str, tuple[str, Callable[[dict[str, object]], object], str]] = {
    "unknown field": (
        LEAF,
        in_fields(put("best", 1)),
        f"Leaf at '{LEAF}': the state has unknown fields ['best']. Here are ['progress', 'value']: {BUILD}",
    ),
    "missing field": (
        LEAF,
        in_fields(drop("value")),
        f"Leaf at '{LEAF}': the state lacks the fields ['value']. It has ['progress']: {BUILD}",
    ),
    "unknown part": (
        LEAF,
        put("own", {}),
        f"Leaf at '{LEAF}': the state has unknown parts ['own']. Here are ['custom', 'fields', 'iterations']: {BUILD}",
    ),
    "missing part": (
        LEAF,
        drop("custom"),
        f"Leaf at '{LEAF}': the state lacks the parts ['custom']. It has ['fields', 'iterations']: {BUILD}",
    ),
    "iterations that are no count": (
        LEAF,
        put("iterations", {"completed": -1, "unfinished": False}),
        (
            f"Leaf at '{LEAF}': its iterations are {{'completed': -1, 'unfinished': False}}. "
            "Load what `state_dict()` returned."
        ),
    ),
    "fields that are no mapping": (
        LEAF,
        put("fields", 3),
        f"Leaf at '{LEAF}': its state is a mapping, got 3. Load what `state_dict()` returned.",
    ),
    "custom values that are no mapping": (
        LEAF,
        put("custom", [1]),
        f"Leaf at '{LEAF}': its state is a mapping, got [1]. Load what `state_dict()` returned.",
    ),
    "a tracker that is no mapping": (
        LEAF,
        in_fields(put("progress", 3)),
        "Leaf.progress: its state is a mapping, got 3. Load what `state_dict()` returned.",
    ),
    "a tracker with a bad count": (
        LEAF,
        in_fields(put("progress", {"total": {"ready": 1, "completed": -1}, "current": {"ready": 0, "completed": 0}})),
        "Progress.total.completed: -1 is not a count. Give an int from 0 to 2**63 - 1.",
    ),
    "a stateful field that refuses": (CUSTOM, in_fields(put("shuffler", {"seed": -1})), "negative seed"),
    "custom values that are refused": (CUSTOM, put("custom", {"by_hand": 3}), "odd"),
    "a state of its own that refuses": (OWN, put("own", {}), "'count'"),
    "a foreign loop without its state": (
        OWN,
        drop("own"),
        f"StatefulForeign at '{OWN}': the state lacks the parts ['own']. It has []: {BUILD}",
    ),
    "a state for a loop that has none": (
        FOREIGN,
        put("own", {}),
        f"Foreign at '{FOREIGN}': the state has unknown parts ['own']. Here are []: {BUILD}",
    ),
    "a value that is none": (
        "second",
        in_fields(put("table", {"a": {1, 2}})),
        f"Plain.table['a']: a set cannot be saved. {SAVE_OTHERWISE}",
    ),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_a_bad_entry_is_refused_with_its_place_and_nothing_changes(case: str) -> None:
    path, change, message = BAD_ENTRIES[case]
    tree, saved = family(2), family(4)
    saved.run()
    before = tree.state_dict()
    with pytest.raises((StateError, ValueError, KeyError)) as refused:
        tree.load_state_dict(changed(saved.state_dict(), path, change))
    assert str(refused.value) == message
    assert tree.state_dict() == before
    assert [loop.restarting for _, loop in tree.walk() if isinstance(loop, Loop)] == [False] * 5


NOT_A_STATE = "Pair: this is not the state of a tree of loops. Load what `state_dict()` returned."
BAD_STATES: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "no mapping": (lambda state: 3, NOT_A_STATE),
    "nothing": (lambda state: {}, NOT_A_STATE),
    "no version": (lambda state: {"loops": state["loops"]}, NOT_A_STATE),
    "something else": (lambda state: {**state, "model": {}}, NOT_A_STATE),
    "another version": (
        lambda state: {**state, "version": 2},
        "Pair: the state has version 2, this release reads version 1. Load it with the release that saved it.",
    ),
    "loops that are no mapping": (
        lambda state: {**state, "loops": []},
        "Pair: its state is a mapping, got []. Load what `state_dict()` returned.",
    ),
    "an unknown loop": (
        lambda state: {**state, "loops": {**cast("dict[str, object]", state["loops"]), "third": {}}},
        f"Pair: the state has unknown loops ['third']. Here are ['.', 'first', 'second']: {BUILD}",
    ),
    "a missing loop": (
        lambda state: {**state, "loops": {".": {}, "first": {}}},
        "Pair: the state lacks the loops ['second']. It has ['.', 'first']: build the tree that was saved.",
    ),
    "a loop that is no mapping": (
        lambda state: {**state, "loops": {**cast("dict[str, object]", state["loops"]), "second": 3}},
        "Pair at 'second': its state is a mapping, got 3. Load what `state_dict()` returned.",
    ),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_a_state_of_another_tree_or_kind_is_refused_and_nothing_changes(case: str) -> None:
    make, message = BAD_STATES[case]
    tree = Pair(Leaf(1), Leaf(2))
    before = tree.state_dict()
    with pytest.raises(StateError) as refused:
        tree.load_state_dict(make(Pair(Leaf(3), Leaf(4)).state_dict()))  # type: ignore[arg-type]
    assert str(refused.value) == message
    assert tree.state_dict() == before
    assert not tree.restarting


def refused_late(tree: Pair) -> None:
    """Load a state into `tree` whose last loop refuses its own."""
    saved = copy.deepcopy(tree)
    saved.rounds += 1
    state = changed(saved.state_dict(), "second", put("custom", {"by_hand": 3}))
    with pytest.raises(ValueError, match="odd"):
        tree.load_state_dict(state)


def test_a_loop_that_was_restarting_stays_so_when_a_state_is_refused() -> None:
    tree = Pair(Leaf(1), Custom(1))
    tree.load_state_dict(tree.state_dict())
    refused_late(tree)
    assert tree.restarting


class Sized(Leaf):
    """Has a tuple."""

    state_fields: ClassVar[tuple[str, ...]] = ("sizes",)

    def __init__(self) -> None:
        super().__init__()
        self.sizes: object = (1, 2)


def test_a_refused_state_leaves_the_very_values_that_were_there() -> None:
    sized = Sized()
    refused_late(Pair(sized, Custom(1)))
    assert sized.sizes == (1, 2)


class Collecting(Leaf):
    """Takes its custom values back into the list that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.collected: list[object] = [1, 2]

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"collected": self.collected}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        self.collected.clear()
        self.collected.extend(cast("list[object]", state["collected"]))


def test_a_refused_state_leaves_custom_values_that_are_loaded_in_place() -> None:
    collecting = Collecting()
    tree = Pair(collecting, Custom(1))
    state = changed(tree.state_dict(), "second", put("custom", {"by_hand": 3}))
    cast("dict[str, dict[str, object]]", state["loops"])["first"]["custom"] = {"collected": [7]}
    with pytest.raises(ValueError, match="odd"):
        tree.load_state_dict(state)
    assert collecting.collected == [1, 2]


class Refusing(Leaf):
    """Cannot be given back what it saved."""

    saves = 1

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"saves": self.saves}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        raise ValueError(f"refused {state['saves']}")


def test_the_error_is_that_of_the_state_that_was_refused() -> None:
    tree = Pair(Leaf(1), Refusing(1))
    state = changed(Pair(Leaf(5), Refusing(5)).state_dict(), "second", put("custom", {"saves": 2}))
    before = tree.state_dict()
    with pytest.raises(ValueError, match="refused") as refused:
        tree.load_state_dict(state)
    assert tree.state_dict() == before
    assert str(refused.value) == "refused 2"


def test_a_tracker_of_the_other_kind_is_refused() -> None:
    class Other(Leaf):
        def __init__(self) -> None:
            super().__init__()
            self.progress = Progress()

    with pytest.raises(StateError, match=r"Progress\.total: the state lacks the keys \['processed', 'started'\]"):
        Other().load_state_dict(Leaf().state_dict())
