"""A loop that promises a result must produce one: said when the class is defined."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic

import pytest
from typing_extensions import ParamSpec, TypeVar

from typedloops import Loop
from typedloops.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class Score:
    pass


class Once(Loop[P, R], Generic[P, R]):
    """Generic in both: it promises nothing in particular yet."""

    done = True

    def advance(self, *args: P.args, **kwargs: P.kwargs) -> None: ...


class Scored(Loop[[int], R], Generic[R]):
    """Generic in its result."""

    done = True

    def advance(self, number: int) -> None: ...


class Swapped(Once[[T], R], Generic[R, T]):
    """Its parameters come in another order than its base's."""


def test_a_broken_promise_is_an_error_that_says_what_to_define() -> None:
    with pytest.raises(ConfigurationError) as refused:

        class Silent(Loop[[int], float]):
            done = True

            def advance(self, number: int) -> None: ...

    assert str(refused.value) == (
        "Silent: it promises a result of type float and never produces one. "
        "Define `on_run_end(self) -> float`, or declare a Loop[..., None]."
    )


def test_the_promise_of_a_generic_base_is_filled_in() -> None:
    with pytest.raises(ConfigurationError, match="Silent: it promises a result of type Score"):

        class Silent(Scored[Score]): ...


def test_the_promise_is_followed_through_several_bases() -> None:
    with pytest.raises(ConfigurationError, match="Silent: it promises a result of type Score"):

        class Silent(Swapped[Score, int]): ...


def test_the_promise_is_followed_to_a_base_that_is_not_generic_any_more() -> None:
    class Promising(Scored[Score]):
        def on_run_end(self) -> Score:
            return Score()

    with pytest.raises(ConfigurationError, match="Silent: it promises a result of type Score"):

        class Silent(Promising):
            on_run_end = Loop.on_run_end


def test_a_promise_with_parameters_of_its_own_is_shown_whole() -> None:
    with pytest.raises(ConfigurationError, match=r"type int \| str"):

        class Silent(Scored[int | str]): ...


@pytest.mark.parametrize("promised", [None, type(None), object])
def test_a_promise_that_none_keeps_needs_nothing(promised: type) -> None:
    class Silent(Scored[promised]): ...  # type: ignore[valid-type]

    result: object = Silent().run(1)
    assert result is None


def test_a_loop_that_names_no_result_promises_none() -> None:
    class Plain(Loop):  # type: ignore[type-arg]
        done = True

        def advance(self, *args: object, **kwargs: object) -> None: ...

    result: object = Plain().run()
    assert result is None


def test_a_class_that_leaves_its_result_open_promises_nothing_yet() -> None:
    class StillOpen(Swapped[R, int], Generic[R]): ...

    assert not getattr(StillOpen, "__abstractmethods__", None)


class WithoutAdvance(Loop[[], Score]):
    done = True


class WithoutDone(Loop[[], Score]):
    def advance(self) -> None: ...


@pytest.mark.parametrize(("abstract", "missing"), [(WithoutAdvance, "advance"), (WithoutDone, "done")])
def test_an_abstract_class_may_leave_its_promise_to_others(abstract: type, missing: str) -> None:
    with pytest.raises(ConfigurationError, match="Finished: it promises a result of type Score"):
        type("Finished", (abstract,), {missing: None})


def test_an_abstract_on_run_end_keeps_the_promise_for_others() -> None:
    class Abstract(Scored[Score]):
        @abstractmethod
        def on_run_end(self) -> Score: ...

    class Finished(Abstract):
        def on_run_end(self) -> Score:
            return Score()

    assert isinstance(Finished().run(1), Score)


def test_a_class_that_is_abstract_in_another_method_may_leave_its_promise_to_others() -> None:
    class Abstract(Scored[Score]):
        @abstractmethod
        def evaluate(self) -> None: ...

    assert Abstract.__abstractmethods__ == {"evaluate"}


def test_a_mixin_may_keep_the_promise() -> None:
    class Answer:
        def on_run_end(self) -> Score:
            return Score()

    class Kept(Answer, Scored[Score]): ...

    assert isinstance(Kept().run(1), Score)


def test_a_generic_promise_is_told_whole() -> None:
    with pytest.raises(ConfigurationError, match=r"Define `on_run_end\(self\) -> list\[int\]`"):

        class Silent(Scored[list[int]]): ...


def test_a_promise_that_is_written_as_a_string_is_told_as_it_is_written() -> None:
    with pytest.raises(ConfigurationError, match=r"Define `on_run_end\(self\) -> Later`"):

        class Silent(Scored["Later"]): ...


class Later:
    pass


def test_a_promise_that_none_keeps_among_others_needs_nothing() -> None:
    class Silent(Scored[int | None]): ...

    assert Silent().run(1) is None


def test_a_result_may_come_from_an_overridden_run() -> None:
    class Doubling(Loop[[int], int]):
        done = True

        def advance(self, number: int) -> None: ...

        def run(self, number: int) -> int:
            super().run(number)
            return 2 * number

    assert Doubling().run(4) == 8


@pytest.mark.parametrize("name", ["state_fields", "transient_fields"])
@pytest.mark.parametrize("fields", ["count", ["count"], (1,)])
def test_declared_fields_are_a_tuple_of_names(name: str, fields: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        type("Misdeclared", (Loop,), {name: fields})
    assert str(refused.value) == (f'Misdeclared.{name}: {fields!r} is no tuple of names. Write `{name} = ("...",)`.')


def test_done_is_no_method() -> None:
    with pytest.raises(ConfigurationError) as refused:

        class Unfinished(Loop[[], None]):
            def done(self) -> bool:  # type: ignore[override]
                return True

            def advance(self) -> None: ...

    assert str(refused.value) == ("Unfinished.done: it is a method, which is always true. Write `@property` above it.")


@pytest.mark.parametrize("promised", ["int | None", "None", "Optional[int]"])
def test_a_quoted_promise_of_maybe_nothing_is_kept_by_nothing(promised: str) -> None:
    class Quoted(Loop[[int], promised]):  # type: ignore[valid-type]
        done = True

        def advance(self, number: int) -> None: ...

    assert Quoted().run(1) is None
