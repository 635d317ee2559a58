"""What a loop tells of its run without a word of its own: how far it has come, and where an error came from."""

from __future__ import annotations

import copy
import pickle
from typing import ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedloops import Loop, LoopProtocol, Slot
from typedloops.loops.base.run_progress import RunProgress


class Rounds(Loop[[int], int]):
    """Comes round so many times; counts nothing itself."""

    iteration_unit: ClassVar[str] = "rounds"

    def __init__(self, rounds: int = 3, leaves_at: int = -1, fails_at: int = -1) -> None:
        self.total_iterations = rounds
        self.rounds = rounds
        self.leaves_at = leaves_at
        self.fails_at = fails_at
        self.seen: list[int] = []

    @property
    def done(self) -> bool:
        return self.completed_iterations == self.rounds

    def reset(self) -> None:
        self.seen.append(self.completed_iterations)

    def advance(self, n: int) -> None:
        if self.completed_iterations == self.leaves_at:
            raise StopIteration
        if self.completed_iterations == self.fails_at:
            raise ValueError("no more")

    def on_run_end(self) -> int:
        return self.completed_iterations


class Around(Loop[[int], int]):
    """Runs another loop twice."""

    inner: Slot[LoopProtocol[[int], int]] = Slot()

    def __init__(self, inner: LoopProtocol[[int], int]) -> None:
        self.inner = inner
        self.total = 0

    @property
    def done(self) -> bool:
        return self.completed_iterations == 2

    def advance(self, n: int) -> None:
        self.total += self.inner.run(n)

    def on_run_end(self) -> int:
        return self.total


class AllAtOnce(Rounds):
    """Does in one call what the iterations do."""

    def advance_all(self, n: int) -> None:
        assert n


@given(st.integers(0, 9), st.integers(-1, 9))
def test_completed_iterations_are_counted_and_begin_at_0(rounds: int, leaves_at: int) -> None:
    loop = Rounds(rounds, leaves_at)
    expected = min(rounds, leaves_at) if leaves_at >= 0 else rounds
    assert [loop.run(1), loop.run(1)] == [expected, expected]
    assert loop.seen == [0, 0]
    assert loop.run_progress == RunProgress(expected, rounds, "rounds")


def test_a_loop_inside_another_counts_its_own() -> None:
    tree = Around(Rounds(3))
    assert tree.run(1) == 6
    assert str(tree.tree()) == "Around  2 iterations\n└─ inner: Rounds  3/3 rounds"


def test_before_its_first_run_a_tree_shows_no_progress() -> None:
    assert str(Around(Rounds(3)).tree()) == "Around\n└─ inner: Rounds"


def test_the_count_is_state() -> None:
    loop = Rounds(5, leaves_at=2)
    loop.run(1)
    other = Rounds(5)
    other.load_state_dict(loop.state_dict())
    assert other.restarting
    assert other.run(1) == 5
    assert other.seen == [2], "it goes on where the other one was"
    assert other.run(1) == 5
    assert other.seen == [2, 0], "and the next run begins anew"


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda loop: pickle.loads(pickle.dumps(loop))])
def test_a_copy_has_a_count_of_its_own(way: object) -> None:
    loop = Rounds(2)
    loop.run(1)
    twin = cast("Rounds", way(loop)) if callable(way) else loop
    assert twin.completed_iterations == 2
    twin.rounds = 4
    assert twin.run(1) == 4
    assert loop.completed_iterations == 2


def test_it_is_under_way_while_it_runs_and_not_after_an_error() -> None:
    class Looking(Rounds):
        def advance(self, n: int) -> None:
            super().advance(n)
            self.seen.append(self.under_way)

    loop = Looking(1)
    assert not loop.under_way
    loop.run(1)
    assert loop.seen == [0, True]
    assert not loop.under_way
    failing = Rounds(3, fails_at=1)
    with pytest.raises(ValueError, match="no more"):
        failing.run(1)
    assert not failing.under_way
    assert failing.completed_iterations == 1


def test_a_loop_that_does_all_at_once_counts_by_itself() -> None:
    loop = AllAtOnce()
    loop.run(1)
    assert loop.completed_iterations == 0
    assert str(loop.tree()) == "AllAtOnce"


def test_the_count_cannot_be_taken_for_a_setting() -> None:
    with pytest.raises(AttributeError, match="completed_iterations"):
        Rounds().completed_iterations = 3  # type: ignore[misc]  # on purpose


def notes_of(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def test_an_error_says_which_loops_were_under_way() -> None:
    with pytest.raises(ValueError, match="no more") as caught:
        Around(Around(Rounds(3, fails_at=2))).run(1)
    assert notes_of(caught.value) == [
        (
            "in inner.inner (Rounds): 2/3 rounds completed\n"
            "in inner (Around): 0 iterations completed\n"
            "in Around: 0 iterations completed"
        )
    ]


def test_an_escaped_stop_says_so_too() -> None:
    class Escapes(Rounds):
        def reset(self) -> None:
            raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration escaped") as caught:
        Around(Escapes()).run(1)
    assert notes_of(caught.value) == ["in inner (Escapes): 0/3 rounds completed\nin Around: 0 iterations completed"]


def test_an_error_that_takes_no_notes_stays_what_it_is() -> None:
    class Closed(ValueError):
        __slots__ = ()

        def add_note(self, note: str, /) -> None:
            raise RuntimeError

    class Raises(Rounds):
        def advance(self, n: int) -> None:
            raise Closed

    with pytest.raises(Closed):
        Raises().run(1)


def test_progress_that_cannot_be_told_hides_no_error() -> None:
    class Untold(Rounds):
        @property
        def run_progress(self) -> RunProgress:
            raise KeyError

    with pytest.raises(ValueError, match="no more"):
        Untold(fails_at=0).run(1)
