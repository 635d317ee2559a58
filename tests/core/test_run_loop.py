"""`run_loop`: the order of the contract, inputs, StopIteration and `restarting`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import pytest

from tests.core.cores import Core
from typedloops.errors import EscapedStopIteration

REMEDY = (
    "StopIteration ends a loop only when the loop's own `on_advance_start`, `advance` or `on_advance_end` "
    "raises it; catch it here, or let the loop raise it."
)


class Base:
    """What `run_loop` may take for granted of a loop: the optional methods do nothing."""

    fused: ClassVar[bool] = False
    restarting = False
    _iterations: object = None

    @property
    def done(self) -> bool:
        raise NotImplementedError

    @property
    def skip(self) -> bool:
        return False

    def on_skip(self) -> str:
        return "skipped"

    def reset(self) -> None: ...
    def on_run_start(self, *args: object, **kwargs: object) -> None: ...
    def on_advance_start(self, *args: object, **kwargs: object) -> None: ...
    def advance(self, *args: object, **kwargs: object) -> None: ...
    def advance_all(self, *args: object, **kwargs: object) -> None: ...
    def on_advance_end(self) -> None: ...

    def on_run_end(self) -> str:
        return "ran"

    def tell_where(self, error: Exception) -> None: ...


class Traced(Base):
    """Runs `iterations` times; writes down every call, and does what `faults` says at a call."""

    def __init__(self, iterations: int = 1, faults: dict[str, Callable[[], None]] | None = None) -> None:
        self.iterations = iterations
        self.advanced = 0
        self.faults = faults or {}
        self.seen: list[str] = []

    def note(self, name: str, *inputs: object) -> None:
        self.seen.append(name + "".join(f" {value}" for value in inputs))
        self.faults.get(name, lambda: None)()

    @property
    def skip(self) -> bool:
        self.note("skip")
        return self.iterations < 0

    @property
    def done(self) -> bool:
        self.note("done")
        return self.advanced >= self.iterations

    def on_skip(self) -> str:
        self.note("on_skip")
        return "skipped"

    def reset(self) -> None:
        self.note("reset")
        self.advanced = 0

    def on_run_start(self, *args: object, **kwargs: object) -> None:
        self.note("on_run_start", *args, *kwargs.items())

    def on_advance_start(self, *args: object, **kwargs: object) -> None:
        self.note("on_advance_start", *args, *kwargs.items())

    def advance(self, *args: object, **kwargs: object) -> None:
        self.advanced += 1
        self.note("advance", *args, *kwargs.items())

    def advance_all(self, *args: object, **kwargs: object) -> None:
        self.note("advance_all", *args, *kwargs.items())

    def on_advance_end(self) -> None:
        self.note("on_advance_end")

    def on_run_end(self) -> str:
        self.note("on_run_end")
        return f"ran {self.advanced}"


class FusedTraced(Traced):
    fused = True


def raises(error: Exception) -> Callable[[], None]:
    def fault() -> None:
        raise error

    return fault


BEFORE = ["skip", "reset", "on_run_start"]
ITERATION = ["done", "on_advance_start", "advance", "on_advance_end"]
AFTER = ["done", "on_run_end"]


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_the_methods_are_called_in_the_order_of_the_contract(core: Core, iterations: int) -> None:
    loop = Traced(iterations)
    assert core.run_loop(loop, Base) == f"ran {iterations}"
    assert loop.seen == [*BEFORE, *ITERATION * iterations, *AFTER]


def test_a_skipped_loop_does_nothing_else(core: Core) -> None:
    loop = Traced(iterations=-1)
    assert core.run_loop(loop, Base) == "skipped"
    assert loop.seen == ["skip", "on_skip"]


def test_a_fused_loop_does_all_iterations_in_one_call(core: Core) -> None:
    loop = FusedTraced()
    assert core.run_loop(loop, Base, "x") == "ran 0"
    assert loop.seen == ["skip", "reset", "on_run_start x", "advance_all x", "on_run_end"]


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("names", [(), ("base",), ("key", "args")])
def test_inputs_reach_every_method_that_takes_them(core: Core, count: int, names: tuple[str, ...]) -> None:
    loop, args, kwargs = Traced(), range(count), dict.fromkeys(names, "given")
    core.run_loop(loop, Base, *args, **kwargs)
    told = "".join(f" {value}" for value in (*args, *kwargs.items()))
    takers = ["on_run_start", "on_advance_start", "advance"]
    assert [seen for seen in loop.seen if seen.startswith(tuple(takers))] == [f"{name}{told}" for name in takers]


def test_an_input_may_have_any_name(core: Core) -> None:
    loop = Traced()
    core.run_loop(loop, Base, loop=1)
    assert "advance ('loop', 1)" in loop.seen


def test_a_loop_that_overrides_nothing_optional_runs(core: Core) -> None:
    class Bare(Base):
        done = False

        def advance(self, *args: object, **kwargs: object) -> None:
            self.done = True

    assert core.run_loop(Bare(), Base, 1) == "ran"


class WithoutWayIn:
    """Called by its class's `__call__` alone, which is slower: it has no vectorcall."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function

    def __call__(self, *args: object, **kwargs: object) -> None:
        self.function(*args, **kwargs)


@pytest.mark.parametrize(
    "wrap", [WithoutWayIn, partial, lambda method: lambda *args, **kwargs: method(*args, **kwargs)]
)
@pytest.mark.parametrize("inputs", [{}, {"key": 2}])
def test_an_iteration_may_be_made_of_functions_of_any_kind(
    core: Core, wrap: Callable[[Callable[..., None]], Callable[..., None]], inputs: dict[str, int]
) -> None:
    loop = Traced(2)
    for name in ("on_advance_start", "advance", "on_advance_end"):
        setattr(loop, name, wrap(getattr(loop, name)))
    core.run_loop(loop, Base, 1, **inputs)
    told = " 1" + "".join(f" {item}" for item in inputs.items())
    iteration = ["done", f"on_advance_start{told}", f"advance{told}", "on_advance_end"]
    assert [seen for seen in loop.seen if not seen.startswith(("skip", "reset", "on_run"))] == [*iteration * 2, "done"]


@pytest.mark.parametrize(
    ("method", "seen"),
    [
        ("on_advance_start", ["done", "on_advance_start"]),
        ("advance", ["done", "on_advance_start", "advance"]),
        ("on_advance_end", ITERATION),
    ],
)
def test_stop_iteration_in_an_iteration_ends_the_loop(core: Core, method: str, seen: list[str]) -> None:
    loop = Traced(3, {method: raises(StopIteration())})
    core.run_loop(loop, Base)
    assert loop.seen == [*BEFORE, *seen, "on_run_end"]


@pytest.mark.parametrize("method", ["skip", "reset", "on_run_start", "done", "on_run_end"])
def test_stop_iteration_anywhere_else_is_an_error_that_names_the_method(core: Core, method: str) -> None:
    stop = StopIteration("over")
    with pytest.raises(EscapedStopIteration) as escaped:
        core.run_loop(Traced(faults={method: raises(stop)}), Base)
    assert str(escaped.value) == f"Traced.{method}: StopIteration escaped from it. {REMEDY}"
    assert escaped.value.__cause__ is stop
    assert isinstance(escaped.value, RuntimeError)


def test_stop_iteration_of_a_later_done_is_an_error_too(core: Core) -> None:
    def stop_later() -> None:
        if loop.advanced == 2:
            raise StopIteration

    loop = Traced(3, {"done": stop_later})
    with pytest.raises(EscapedStopIteration, match=r"^Traced\.done: "):
        core.run_loop(loop, Base)


@pytest.mark.parametrize(("kind", "iterations", "method"), [(Traced, -1, "on_skip"), (FusedTraced, 1, "advance_all")])
def test_stop_iteration_out_of_what_replaces_the_iterations_is_an_error(
    core: Core, kind: type[Traced], iterations: int, method: str
) -> None:
    loop = kind(iterations, {method: raises(StopIteration())})
    with pytest.raises(EscapedStopIteration, match=rf"^{kind.__name__}\.{method}: StopIteration escaped"):
        core.run_loop(loop, Base)


def test_the_end_of_an_inner_loop_does_not_end_the_outer_one(core: Core) -> None:
    inner = Traced(5, {"advance": raises(StopIteration())})
    outer = Traced(2, {"advance": lambda: ignore(core.run_loop(inner, Base))})
    assert core.run_loop(outer, Base) == "ran 2"
    assert inner.seen.count("on_run_end") == 2


def ignore(_: object) -> None: ...


def test_an_escape_of_an_inner_loop_is_an_error_of_the_outer_one(core: Core) -> None:
    inner = Traced(faults={"reset": raises(StopIteration())})
    outer = Traced(2, {"advance": lambda: ignore(core.run_loop(inner, Base))})
    with pytest.raises(EscapedStopIteration, match=r"^Traced\.reset: "):
        core.run_loop(outer, Base)
    assert "on_run_end" not in outer.seen


@pytest.mark.parametrize(
    "method", ["skip", "reset", "on_run_start", "done", "on_advance_start", "advance", "on_advance_end", "on_run_end"]
)
def test_other_errors_come_through_as_they_are(core: Core, method: str) -> None:
    error = KeyError(method)
    loop = Traced(faults={method: raises(error)})
    with pytest.raises(KeyError) as raised:
        core.run_loop(loop, Base)
    assert raised.value is error
    assert loop.seen[-1] == method


class Restarting(Traced):
    """Writes down `restarting` beside each call."""

    def note(self, name: str, *inputs: object) -> None:
        super().note(f"{name} {self.restarting}")
        self.faults.get(name, lambda: None)()


def test_restarting_ends_with_the_first_completed_iteration(core: Core) -> None:
    loop = Restarting(2)
    loop.restarting = True
    core.run_loop(loop, Base)
    assert loop.seen == [
        *(f"{name} True" for name in [*BEFORE, *ITERATION]),
        *(f"{name} False" for name in [*ITERATION, *AFTER]),
    ]


@pytest.mark.parametrize("iterations", [0, 1])
def test_restarting_is_over_when_the_run_ends_however_it_iterated(core: Core, iterations: int) -> None:
    loop = Restarting(iterations, {"advance": raises(StopIteration())})
    loop.restarting = True
    core.run_loop(loop, Base)
    assert loop.seen[-1] == "on_run_end False"
    assert not loop.restarting


def test_restarting_stays_when_the_first_iteration_fails(core: Core) -> None:
    loop = Restarting(2, {"on_advance_end": raises(ValueError())})
    loop.restarting = True
    with pytest.raises(ValueError):
        core.run_loop(loop, Base)
    assert loop.restarting


def test_restarting_stays_when_the_run_is_skipped(core: Core) -> None:
    loop = Restarting(-1)
    loop.restarting = True
    core.run_loop(loop, Base)
    assert loop.restarting


def test_a_fused_loop_is_restarting_until_all_is_done(core: Core) -> None:
    class Fused(Restarting):
        fused = True

    loop = Fused()
    loop.restarting = True
    core.run_loop(loop, Base)
    assert loop.seen[-2:] == ["advance_all True", "on_run_end False"]


def test_done_may_be_an_attribute_of_the_class(core: Core) -> None:
    class Endless(Traced):
        done = False

    loop = Endless(faults={"on_advance_end": lambda: setattr(loop, "faults", {"advance": raises(StopIteration())})})
    assert core.run_loop(loop, Base) == "ran 2"


def test_done_may_be_an_attribute_of_the_instance(core: Core) -> None:
    class Flagged(Traced):
        done = False

    loop = Flagged(faults={"advance": lambda: setattr(loop, "done", True)})
    assert core.run_loop(loop, Base) == "ran 1"


def test_done_may_be_any_descriptor(core: Core) -> None:
    class Answer:
        def __get__(self, loop: Traced | None, kind: type[Traced]) -> bool:
            return loop is not None and loop.advanced >= 2

    class Described(Traced):
        done = Answer()

    assert core.run_loop(Described(), Base) == "ran 2"


@pytest.mark.parametrize("method", ["on_advance_start", "advance", "on_advance_end"])
def test_a_method_set_on_the_instance_is_the_one_that_is_called(core: Core, method: str) -> None:
    class Optional(Base):
        done = False

        def advance(self, *args: object, **kwargs: object) -> None:
            self.done = True

    loop, called = Optional(), list[str]()
    original = loop.advance

    def patched(*args: object) -> None:
        called.append(method)
        original()

    setattr(loop, method, patched)
    core.run_loop(loop, Base)
    assert called == [method]


@pytest.mark.parametrize("method", ["on_advance_start", "advance", "on_advance_end"])
def test_a_fused_loop_with_a_method_of_its_own_on_the_instance_is_iterated(core: Core, method: str) -> None:
    loop = FusedTraced(1)
    setattr(loop, method, getattr(loop, method))
    core.run_loop(loop, Base)
    assert loop.seen == [*BEFORE, *ITERATION, *AFTER]


def test_a_fused_loop_may_have_done_as_an_attribute_of_the_instance(core: Core) -> None:
    class Flagged(FusedTraced):
        done = False

    loop = Flagged(
        faults={"reset": lambda: setattr(loop, "done", False), "advance": lambda: setattr(loop, "done", True)}
    )
    core.run_loop(loop, Base)
    assert loop.seen == ["skip", "reset", "on_run_start", "advance_all", "on_run_end"]


def test_a_state_loaded_in_a_later_iteration_is_restarting_until_the_run_ends(core: Core) -> None:
    loop = Restarting(3, {"advance False": lambda: setattr(loop, "restarting", loop.advanced == 2)})
    core.run_loop(loop, Base)
    assert [seen for seen in loop.seen if seen.startswith(("done", "on_run_end"))] == [
        "done False",
        "done False",
        "done True",
        "done True",
        "on_run_end False",
    ]
