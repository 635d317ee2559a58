"""The place of a loop in its tree: paths, the picture, the trainer."""

from __future__ import annotations

import pytest

from tests.loops.base.loops import Foreign, Leaf, Pair, Stages, a_trainer
from typedloops import Loop
from typedloops.errors import LoopTreeError, UnattachedLoopError


def family() -> tuple[Pair, Stages, Leaf, Foreign, Leaf]:
    """A tree of three generations."""
    one, foreign, last = Leaf(), Foreign(), Leaf()
    stages = Stages(one, foreign)
    return Pair(stages, last), stages, one, foreign, last


def test_a_path_is_made_of_the_slots_from_the_root() -> None:
    root, stages, one, _, last = family()
    assert [loop.path for loop in (root, stages, one, last)] == ["", "first", "first.stages.0", "second"]


def test_a_tree_is_walked_from_the_root_with_paths_from_there() -> None:
    root, stages, one, foreign, last = family()
    assert list(root.walk()) == [
        ("", root),
        ("first", stages),
        ("first.stages.0", one),
        ("first.stages.1", foreign),
        ("second", last),
    ]
    assert list(stages.walk()) == [("", stages), ("stages.0", one), ("stages.1", foreign)]


def test_the_name_that_the_trainer_gives_is_the_first_part_of_every_path() -> None:
    root, stages, one, _, last = family()
    root.attach(a_trainer(), "fit_loop")
    assert [loop.path for loop in (root, stages, one, last)] == [
        "fit_loop",
        "fit_loop.first",
        "fit_loop.first.stages.0",
        "fit_loop.second",
    ]


def test_the_root_is_the_same_for_all() -> None:
    root, stages, one, _, last = family()
    assert {loop.root for loop in (root, stages, one, last)} == {root}


def test_a_tree_is_drawn_in_plain_text() -> None:
    root, _, _, _, _ = family()
    assert str(root.tree()) == "\n".join(
        [
            "Pair",
            "├─ first: Stages",
            "│  ├─ stages.0: Leaf",
            "│  └─ stages.1: Foreign",
            "└─ second: Leaf",
        ]
    )


def test_an_attached_tree_is_drawn_with_its_name() -> None:
    root, _, _, _, _ = family()
    root.attach(a_trainer(), "fit_loop")
    assert str(root.tree()).splitlines()[0] == "fit_loop: Pair"


def test_a_part_of_a_tree_is_drawn_with_its_path() -> None:
    _, stages, _, _, last = family()
    assert str(stages.tree()).splitlines() == ["first: Stages", "├─ stages.0: Leaf", "└─ stages.1: Foreign"]
    assert str(last.tree()) == "second: Leaf"
    assert str(Leaf().tree()) == "Leaf"


def test_siblings_that_look_alike_are_drawn_apart() -> None:
    drawn = str(Stages(Pair(Leaf()), Pair(Leaf())).tree()).splitlines()
    assert drawn == ["Stages", "├─ stages.0: Pair", "│  └─ first: Leaf", "└─ stages.1: Pair", "   └─ first: Leaf"]


def test_rich_draws_the_same_tree() -> None:
    console = pytest.importorskip("rich.console")
    text = pytest.importorskip("rich.text")
    root, _, _, _, _ = family()
    printer = console.Console(width=80, legacy_windows=False)
    with printer.capture() as capture:
        printer.print(root.tree())
    drawn = text.Text.from_ansi(capture.get()).plain
    for line in str(root.tree()).splitlines():
        assert line.lstrip("│├└─ ") in drawn
    assert len(drawn.splitlines()) == 5


def test_an_unattached_loop_has_no_trainer_and_says_what_to_do() -> None:
    _, _, one, _, _ = family()
    with pytest.raises(UnattachedLoopError) as unattached:
        _ = one.trainer
    assert str(unattached.value) == (
        "Leaf: it is not attached to a trainer, so it has no `trainer`. "
        "Give its tree to one: Trainer(fit_loop=Pair(...))."
    )


def test_every_loop_of_an_attached_tree_has_its_trainer() -> None:
    root, stages, one, _, last = family()
    trainer = a_trainer()
    root.attach(trainer, "fit_loop")
    assert [loop.trainer is trainer for loop in (root, stages, one, last)] == [True] * 4


def test_a_loop_that_joins_an_attached_tree_has_its_trainer() -> None:
    root, stages, _, _, _ = family()
    trainer, late = a_trainer(), Leaf()
    root.attach(trainer, "fit_loop")
    stages.stages.append(late)
    assert late.trainer is trainer


def test_a_loop_that_leaves_an_attached_tree_has_no_trainer() -> None:
    root, _, _, _, last = family()
    root.attach(a_trainer(), "fit_loop")
    root.second = None
    with pytest.raises(UnattachedLoopError):
        _ = last.trainer


def test_the_last_trainer_that_a_tree_is_given_to_has_it() -> None:
    root, _, one, _, _ = family()
    trainer = a_trainer()
    root.attach(a_trainer(), "fit_loop")
    root.attach(trainer, "validate_loop")
    assert one.trainer is trainer
    assert one.path == "validate_loop.first.stages.0"


def test_a_child_cannot_be_given_to_a_trainer() -> None:
    root, _, one, _, _ = family()
    with pytest.raises(LoopTreeError) as refused:
        one.attach(a_trainer(), "fit_loop")
    assert str(refused.value) == (
        "fit_loop: Leaf: it is already the child 'first.stages.0' of a Pair. "
        "A loop has one place: build another, or `copy.deepcopy` it."
    )
    with pytest.raises(UnattachedLoopError):
        _ = root.trainer


def test_a_root_that_was_a_child_for_a_while_has_no_trainer_any_more() -> None:
    leaf = Leaf()
    leaf.attach(a_trainer(), "fit_loop")
    pair = Pair(Leaf(), leaf)
    pair.second = None
    assert leaf.path == ""
    with pytest.raises(UnattachedLoopError):
        _ = leaf.trainer


def test_a_loop_is_found_in_its_tree_by_identity() -> None:
    class EqualToAll(Leaf):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Loop)

        __hash__ = Leaf.__hash__

    one, two = EqualToAll(1), EqualToAll(2)
    stages = Stages(one, two)
    assert [one.path, two.path] == [path for path, _ in stages.children()] == ["stages.0", "stages.1"]
