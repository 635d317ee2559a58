"""Hooks and the stop flag."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.cores import Core
from typedloops._core.calls import AnyCallable
from typedloops.errors import EscapedStopIteration


class Listener:
    """Writes down what it hears; raises `error` instead of returning."""

    def __init__(self, name: str, heard: list[str], error: Exception | None = None) -> None:
        self.name = name
        self.heard = heard
        self.error = error

    def on_event(self, *args: object) -> str:
        self.heard.append(f"{self.name} {args}")
        if self.error is not None:
            raise self.error
        return "ignored"

    def __call__(self, *args: object) -> None:
        self.on_event(*args)


def test_every_listener_hears_the_event_in_order(core: Core) -> None:
    heard: list[str] = []
    hook = core.Hook("on_event", (Listener(name, heard).on_event for name in "ab"))
    hook(1, "x")
    hook()
    assert heard == ["a (1, 'x')", "b (1, 'x')", "a ()", "b ()"]


def test_a_hook_returns_nothing_whatever_its_listeners_do(core: Core) -> None:
    result: object = core.Hook("on_event", [lambda: 3])()
    assert result is None


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_hook_is_as_long_as_its_listeners_are_many(core: Core, count: int) -> None:
    hook = core.Hook("on_event", [print] * count)
    assert len(hook) == len(hook.listeners) == count
    assert bool(hook) == (count > 0)
    assert repr(hook) == f"Hook('on_event', {count} listeners)"


def test_the_listeners_are_frozen_when_the_hook_is_made(core: Core) -> None:
    heard: list[str] = []
    listeners = [Listener("a", heard).on_event]
    hook = core.Hook("on_event", listeners)
    listeners.append(Listener("b", heard).on_event)
    hook()
    assert heard == ["a ()"]
    assert hook.name == "on_event"


def let_out() -> None:
    raise StopIteration


NAMED: dict[str, tuple[Callable[[Listener], AnyCallable], str]] = {
    "method": (lambda listener: listener.on_event, "Listener.on_event"),
    "callable object": (lambda listener: listener, "Listener"),
    "partial": (lambda listener: partial(listener.on_event, 1), "Listener.on_event"),
    "partial of a partial": (lambda listener: partial(partial(listener.on_event, 1), 2), "Listener.on_event"),
    "function": (lambda listener: let_out, "let_out"),
    "lambda": (lambda listener: lambda: let_out(), "<lambda>.<locals>.<lambda>"),
    "builtin": (lambda listener: iter(()).__next__, "tuple_iterator.__next__"),
}


@pytest.mark.parametrize("case", NAMED)
def test_stop_iteration_is_an_error_that_names_the_listener(core: Core, case: str) -> None:
    heard: list[str] = []
    make, name = NAMED[case]
    stopping = make(Listener("a", heard, StopIteration("x")))
    hook = core.Hook("on_event", [stopping, Listener("b", heard).on_event])
    with pytest.raises(EscapedStopIteration) as escaped:
        hook()
    assert escaped.value.where == name
    assert isinstance(escaped.value.__cause__, StopIteration)
    assert not any(event.startswith("b") for event in heard)


def test_another_error_comes_through_and_ends_the_hook(core: Core) -> None:
    heard: list[str] = []
    error = KeyError("x")
    hook = core.Hook("on_event", [Listener("a", heard, error), Listener("b", heard)])
    with pytest.raises(KeyError) as raised:
        hook()
    assert raised.value is error
    assert heard == ["a ()"]


ERRORS: dict[str, type[Exception]] = {"stop": StopIteration, "value": ValueError, "runtime": RuntimeError}


@settings(deadline=None, max_examples=100)
@given(faults=st.lists(st.sampled_from(["", "", *ERRORS]), max_size=5), args=st.lists(st.integers(), max_size=4))
def test_both_cores_call_listeners_alike(cores: tuple[Core, Core], faults: list[str], args: list[int]) -> None:
    def trace(core: Core) -> list[str]:
        heard: list[str] = []
        listeners = [Listener(str(i), heard, ERRORS[fault](i) if fault else None) for i, fault in enumerate(faults)]
        try:
            core.Hook("on_event", listeners)(*args)
        except Exception as error:
            heard.append(f"{type(error).__name__}: {error}; because of {error.__cause__!r}")
        return heard

    compiled, reference = cores
    assert trace(compiled) == trace(reference)


def test_a_stop_is_requested_when_somebody_says_so(core: Core) -> None:
    flag = core.StopFlag()
    assert not flag.requested
    assert repr(flag) == "StopFlag(requested=False)"
    flag.requested = True
    assert flag.requested
    assert repr(flag) == "StopFlag(requested=True)"
