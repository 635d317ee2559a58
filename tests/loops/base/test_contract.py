"""The contract of a loop of one's own: order, inputs, output, StopIteration, restarting, fusing."""

from __future__ import annotations

import inspect

import pytest

from tests.loops.base.loops import Countdown
from typedloops import Loop, LoopProtocol
from typedloops.errors import EscapedStopIteration
from typedloops.protocols.loop import AnyLoop


class Traced(Loop[[int, str], list[str]]):
    """Iterates twice and writes down what is called; raises `fault` at the method of that name."""

    fault = ""
    skipped = False

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.advanced = 0

    def note(self, name: str, *inputs: object) -> None:
        self.seen.append(" ".join(map(str, (name, *inputs))))
        if self.fault == name:
            raise StopIteration(name)

    @property
    def skip(self) -> bool:
        self.note("skip")
        return self.skipped

    @property
    def done(self) -> bool:
        self.note("done")
        return self.advanced >= 2

    def on_skip(self) -> list[str]:
        self.note("on_skip")
        return ["skipped"]

    def reset(self) -> None:
        self.note("reset")
        self.advanced = 0

    def on_run_start(self, number: int, text: str) -> None:
        self.note("on_run_start", number, text)

    def on_advance_start(self, number: int, text: str) -> None:
        self.note("on_advance_start", number, text)

    def advance(self, number: int, text: str) -> None:
        self.advanced += 1
        self.note("advance", number, text)

    def on_advance_end(self) -> None:
        self.note("on_advance_end")

    def on_run_end(self) -> list[str]:
        self.note("on_run_end")
        return list(self.seen)


ITERATION = ["done", "on_advance_start 1 x", "advance 1 x", "on_advance_end"]


def test_a_run_calls_the_methods_of_the_contract_in_order() -> None:
    assert Traced().run(1, "x") == [
        *["skip", "reset", "on_run_start 1 x"],
        *ITERATION,
        *ITERATION,
        *["done", "on_run_end"],
    ]


def test_inputs_may_be_given_by_name() -> None:
    def run_by_name(loop: AnyLoop) -> object:
        return loop.run(text="x", number=1)

    assert run_by_name(Traced()) == Traced().run(1, "x")


def test_a_skipped_run_returns_what_on_skip_does() -> None:
    loop = Traced()
    loop.skipped = True
    assert loop.run(1, "x") == ["skipped"]
    assert loop.seen == ["skip", "on_skip"]


def test_a_loop_needs_only_done_and_advance() -> None:
    class Once(Loop[[], None]):
        done = False

        def advance(self) -> None:
            self.done = True

    loop = Once()
    result: object = loop.run()
    assert result is None
    assert loop.done


@pytest.mark.parametrize("missing", ["done", "advance"])
def test_a_loop_without_one_of_those_cannot_be_built(missing: str) -> None:
    body = {"done": True, "advance": lambda self: None}
    del body[missing]
    with pytest.raises(TypeError, match=f"abstract method '?{missing}"):
        type("Unfinished", (Loop,), body)()


def test_the_optional_parts_do_nothing_by_themselves() -> None:
    loop = Countdown()
    assert not loop.skip
    assert not loop.fused
    assert not loop.restarting
    assert loop.on_save_checkpoint() == {}
    for part in (loop.on_skip, loop.on_advance_end, loop.teardown):
        result: object = part()
        assert result is None
    assert vars(loop) == {}


def test_a_second_run_begins_anew() -> None:
    loop = Countdown()
    assert [loop.run(3), loop.run(2)] == [3, 2]


@pytest.mark.parametrize(
    ("method", "seen"),
    [("on_advance_start 1 x", 1), ("advance 1 x", 2), ("on_advance_end", 3)],
)
def test_stop_iteration_in_an_iteration_ends_the_run(method: str, seen: int) -> None:
    loop = Traced()
    loop.fault = method.split()[0]
    assert loop.run(1, "x")[3:] == [*ITERATION[: seen + 1], "on_run_end"]


@pytest.mark.parametrize("method", ["skip", "reset", "on_run_start", "done", "on_run_end"])
def test_stop_iteration_elsewhere_is_an_error_with_culprit_and_remedy(method: str) -> None:
    loop = Traced()
    loop.fault = method
    with pytest.raises(EscapedStopIteration) as escaped:
        loop.run(1, "x")
    assert escaped.value.where == f"Traced.{method}"
    assert escaped.value.problem == "StopIteration escaped from it"
    assert "`on_advance_start`, `advance` or `on_advance_end`" in escaped.value.remedy
    assert str(escaped.value.__cause__) == method


def test_no_stop_iteration_gets_into_a_generator_around_the_run() -> None:
    loop = Traced()
    loop.fault = "on_run_end"
    with pytest.raises(EscapedStopIteration):
        next(result for result in (run.run(1, "x") for run in [loop]))


def test_restarting_is_over_after_the_first_iteration() -> None:
    class Watching(Traced):
        def note(self, name: str, *inputs: object) -> None:
            super().note(name, self.restarting)

    loop = Watching()
    loop.restarting = True
    assert loop.run(1, "x") == [
        *(f"{name} True" for name in ["skip", "reset", "on_run_start", "done", "on_advance_start", "advance"]),
        "on_advance_end True",
        *(f"{name} False" for name in ["done", "on_advance_start", "advance", "on_advance_end", "done", "on_run_end"]),
    ]


class Fused(Countdown):
    """Counts down in one go."""

    at_once = 0

    def advance_all(self, start: int) -> None:
        self.at_once += 1
        self.ran, self.left = self.left, 0


def run_of(cls: type[Fused]) -> tuple[int, int]:
    """The result of counting down from 3, and how often that was done in one go."""
    loop = cls()
    return loop.run(3), loop.at_once


def test_a_loop_with_advance_all_is_fused() -> None:
    assert Fused.fused
    assert run_of(Fused) == (3, 1)


def test_a_subclass_that_changes_no_iteration_stays_fused() -> None:
    class Doubled(Fused):
        def on_run_end(self) -> int:
            return 2 * super().on_run_end()

    assert run_of(Doubled) == (6, 1)


class Mixin:
    """Changes an iteration without being a loop."""

    def on_advance_end(self) -> None: ...


class ChangesDone(Fused):
    @property
    def done(self) -> bool:
        return self.left <= 1


class ChangesStart(Fused):
    def on_advance_start(self, start: int) -> None: ...


class ChangesAdvance(Fused):
    def advance(self, start: int) -> None:
        super().advance(start)


class ChangesEnd(Fused):
    def on_advance_end(self) -> None: ...


class MixedInBefore(Mixin, Fused):
    pass


class InheritsTheChange(ChangesEnd):
    pass


@pytest.mark.parametrize(
    "cls", [ChangesDone, ChangesStart, ChangesAdvance, ChangesEnd, MixedInBefore, InheritsTheChange]
)
def test_a_subclass_that_changes_an_iteration_is_run_step_by_step(cls: type[Fused]) -> None:
    assert not cls.fused
    assert run_of(cls) == (2 if cls is ChangesDone else 3, 0)


def test_a_mixin_behind_the_fused_class_changes_nothing() -> None:
    class MixedInBehind(Fused, Mixin):
        pass

    assert run_of(MixedInBehind) == (3, 1)


def test_advance_all_defined_again_is_fused_again() -> None:
    class Again(ChangesEnd):
        def advance_all(self, start: int) -> None:
            super().advance_all(start)

    assert run_of(Again) == (3, 1)


def test_advance_all_and_an_iteration_defined_together_are_fused() -> None:
    class Together(Countdown):
        at_once = 0

        def advance(self, start: int) -> None: ...
        def advance_all(self, start: int) -> None:
            self.at_once += 1

    assert Together.fused


def test_advance_all_is_there_only_for_those_who_define_it() -> None:
    with pytest.raises(NotImplementedError):
        Countdown().advance_all(1)


def test_every_loop_has_the_shape_that_slots_ask_for() -> None:
    assert isinstance(Countdown(), LoopProtocol)


def test_whether_something_is_a_loop_evaluates_nothing_of_it() -> None:
    class Refusing(Countdown):
        @property
        def done(self) -> bool:
            raise AssertionError("it was evaluated")

    assert isinstance(Refusing(), LoopProtocol)


def test_a_loop_that_forgets_to_call_its_base_is_sound() -> None:
    class Forgetful(Countdown):
        def __init__(self, note: str) -> None:
            self.note = note

    loop = Forgetful("x")
    assert loop.run(2) == 2
    assert loop.path == ""
    assert loop.state_dict() == {
        "version": 1,
        "loops": {".": {"iterations": {"completed": 2, "unfinished": False}, "fields": {}, "custom": {}}},
    }


def test_run_takes_the_inputs_that_the_loop_declares() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        Countdown().run()  # type: ignore[call-arg]


def test_the_public_methods_say_what_they_do() -> None:
    methods = [value for name, value in vars(Loop).items() if not name.startswith("_") and callable(value)]
    assert methods
    assert [method.__name__ for method in methods if not inspect.getdoc(method)] == []
