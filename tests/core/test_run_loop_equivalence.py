"""Whatever tree of loops is run, with whatever faults, both cores leave the same trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAlias

from tests.core.cores import Core
from typedloops._core.calls import AnyCallable

CALLED = ("skip", "on_skip", "reset", "on_run_start", "done", "on_run_end")
ITERATED = ("on_advance_start", "advance", "on_advance_end")
OPTIONAL = ("skip", "on_advance_start", "on_advance_end")
"""What a loop may leave to its base: the compiled core does not call it then."""

FAULTS: dict[str, type[Exception]] = {
    "StopIteration": StopIteration,
    "ValueError": ValueError,
    "AttributeError": AttributeError,
    "RuntimeError": RuntimeError,
}

RESTART = "restart"

Fault: TypeAlias = "tuple[str, int, str]"
"""A method, which of its calls, and what it raises then; or `RESTART`, as if state were loaded."""


@dataclass(frozen=True)
class Shape:
    """A loop to build.

    Args:
        iterations: After how many iterations it is done; below 0 it is skipped.
        done: How it says so: with a property, or an attribute of the class or of the instance.
        overrides: Which optional methods it has of its own.
        patches: Which methods of an iteration are replaced on the instance.
        fused: Whether it does its iterations in one call.
        restarting: Whether it starts as if state had been loaded.
        faults: What goes wrong.
        children: What it runs in each iteration.
    """

    iterations: int
    done: str
    overrides: frozenset[str]
    patches: frozenset[str]
    fused: bool
    restarting: bool
    faults: tuple[Fault, ...]
    children: tuple[Shape, ...] = ()


def shapes() -> st.SearchStrategy[Shape]:
    places = (*CALLED, *ITERATED, *ITERATED, "advance_all")
    fault = st.tuples(st.sampled_from(places), st.integers(0, 3), st.sampled_from([*sorted(FAULTS), RESTART]))

    def shape(children: st.SearchStrategy[tuple[Shape, ...]]) -> st.SearchStrategy[Shape]:
        return st.builds(
            Shape,
            iterations=st.sampled_from([3, 2, 1, 0, -1]),
            done=st.sampled_from(["property", "class", "instance"]),
            overrides=st.frozensets(st.sampled_from(OPTIONAL)),
            patches=st.just(frozenset[str]()) | st.frozensets(st.sampled_from(ITERATED)),
            fused=st.sampled_from([False, False, False, True]),
            restarting=st.booleans(),
            faults=st.just(()) | st.lists(fault, min_size=1, max_size=3).map(tuple),
            children=children,
        )

    leaves = shape(st.just(()))
    return st.recursive(leaves, lambda below: shape(st.lists(below, max_size=2).map(tuple)), max_leaves=5)


class Base:
    """What the optional methods are compared with."""

    fused: ClassVar[bool] = False
    restarting = False
    _iterations: object = None

    def __init__(self, name: str, shape: Shape, children: list[AnyCallable[str]], trace: list[str]) -> None:
        self.name = name
        self.shape = shape
        self.children = children
        self.trace = trace
        self.advanced = 0
        self.calls: dict[str, int] = {}
        if shape.restarting:
            self.restarting = True
        for method in shape.patches:
            setattr(self, method, self.patched(method, getattr(self, method)))

    def visit(self, method: str, args: tuple[object, ...] = (), kwargs: dict[str, object] | None = None) -> None:
        """Write the call down, and let go wrong what is to go wrong."""
        call = self.calls[method] = self.calls.get(method, -1) + 1
        self.trace.append(f"{self.name}.{method} {args} {kwargs or {}} {self.restarting} {self.counted}")
        assert len(self.trace) < 5000, "the loop does not end"
        for place, when, fault in self.shape.faults:
            if place == method and when == call:
                if fault == RESTART:
                    self.restarting = True
                    continue
                raise FAULTS[fault](f"{self.name}.{method}")

    def patched(self, method: str, original: AnyCallable) -> AnyCallable:
        def patch(*args: object, **kwargs: object) -> object:
            self.trace.append(f"{self.name}.{method} is patched")
            return original(*args, **kwargs)

        return patch

    @property
    def done(self) -> bool:
        raise NotImplementedError

    @property
    def skip(self) -> bool:
        return False

    def on_skip(self) -> str:
        self.visit("on_skip")
        return f"{self.name} skipped"

    def reset(self) -> None:
        self.visit("reset")
        self.advanced = 0

    def on_run_start(self, *args: object, **kwargs: object) -> None:
        self.visit("on_run_start", args, kwargs)

    def on_advance_start(self, *args: object, **kwargs: object) -> None: ...

    def advance(self, *args: object, **kwargs: object) -> None:
        self.advanced += 1
        self.visit("advance", args, kwargs)
        for child in self.children:
            self.trace.append(f"{self.name} got {child(*args, **kwargs)}")

    def advance_all(self, *args: object, **kwargs: object) -> None:
        self.visit("advance_all", args, kwargs)
        while self.advanced < self.shape.iterations:
            self.advance(*args, **kwargs)

    def on_advance_end(self) -> None: ...

    def on_run_end(self) -> str:
        self.visit("on_run_end")
        return f"{self.name} ran {self.advanced}"

    def tell_where(self, error: Exception) -> None:
        self.trace.append(f"{self.name}: {type(error).__name__} {self.counted}")

    @property
    def counted(self) -> tuple[object, ...]:
        """What the driver has counted."""
        return tuple(getattr(self._iterations, name, None) for name in ("completed", "running", "unfinished"))


def members(shape: Shape) -> dict[str, object]:
    """What the class of a loop of this shape defines."""

    def skip(self: Base) -> bool:
        self.visit("skip")
        return shape.iterations < 0

    def on_advance_start(self: Base, *args: object, **kwargs: object) -> None:
        self.visit("on_advance_start", args, kwargs)

    def on_advance_end(self: Base) -> None:
        self.visit("on_advance_end")

    optional = {"skip": property(skip), "on_advance_start": on_advance_start, "on_advance_end": on_advance_end}
    return {
        "fused": shape.fused,
        **(said_by_property if shape.done == "property" else said_by_attribute)(shape),
        **{name: method for name, method in optional.items() if name in shape.overrides},
    }


def said_by_property(shape: Shape) -> dict[str, object]:
    def done(self: Base) -> bool:
        self.visit("done")
        return self.advanced >= shape.iterations

    return {"done": property(done)}


def said_by_attribute(shape: Shape) -> dict[str, object]:
    """An attribute of the class never changes, so there the last `advance` is left with `StopIteration`."""

    def advance(self: Base, *args: object, **kwargs: object) -> None:
        Base.advance(self, *args, **kwargs)
        if self.advanced >= shape.iterations:
            if shape.done == "class":
                raise StopIteration
            vars(self)["done"] = True

    def reset(self: Base) -> None:
        Base.reset(self)
        vars(self).pop("done", None)

    return {"done": shape.iterations <= 0, "advance": advance, "reset": reset}


def build(core: Core, shape: Shape, trace: list[str], name: str = "Loop") -> AnyCallable[str]:
    """A function that runs a loop of this shape."""
    children = [build(core, child, trace, f"{name}{i}") for i, child in enumerate(shape.children)]
    loop = type(name, (Base,), members(shape))(name, shape, children, trace)

    def run(*args: object, **kwargs: object) -> str:
        result: str = core.run_loop(loop, Base, *args, **kwargs)
        trace.append(f"{name} ends {loop.restarting}")
        return result

    return run


def traced(core: Core, shape: Shape, args: list[int], kwargs: dict[str, str]) -> list[str]:
    """What is called in two runs of the loop, one after the other, and what comes of them."""
    trace: list[str] = []
    run = build(core, shape, trace)
    for _ in range(2):
        try:
            trace.append(f"result: {run(*args, **kwargs)}")
        except Exception as error:
            trace.append(f"{type(error).__name__}: {error}; because of {error.__cause__!r}")
    return trace


INPUTS = {
    "args": st.lists(st.integers(0, 9), max_size=4),
    "kwargs": st.dictionaries(st.sampled_from(["x", "loop", "base", "kwargs"]), st.sampled_from("ab"), max_size=2),
}


@settings(deadline=None, max_examples=600)
@given(shape=shapes(), **INPUTS)
def test_both_cores_leave_the_same_trace(
    cores: tuple[Core, Core], shape: Shape, args: list[int], kwargs: dict[str, str]
) -> None:
    compiled, reference = cores
    assert traced(compiled, shape, args, kwargs) == traced(reference, shape, args, kwargs)


@settings(deadline=None, max_examples=200)
@given(shape=shapes(), **INPUTS)
def test_no_stop_iteration_leaves_a_run(core: Core, shape: Shape, args: list[int], kwargs: dict[str, str]) -> None:
    assert not any(event.startswith("StopIteration") for event in traced(core, shape, args, kwargs))


@pytest.mark.parametrize("place", [*CALLED, *ITERATED, "advance_all"])
@pytest.mark.parametrize("done", ["property", "class", "instance"])
@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("children", [0, 1])
def test_stop_iteration_at_every_place_leaves_the_same_trace(
    cores: tuple[Core, Core], place: str, done: str, call: int, children: int
) -> None:
    shape = Shape(
        iterations=-1 if place == "on_skip" else 2,
        done=done,
        overrides=frozenset(OPTIONAL),
        patches=frozenset(),
        fused=place == "advance_all",
        restarting=True,
        faults=((place, call, "StopIteration"),),
    )
    if children:
        shape = Shape(2, "property", frozenset(OPTIONAL), frozenset(), False, True, (), (shape,))
    compiled, reference = cores
    trace = traced(compiled, shape, [1], {})
    assert trace == traced(reference, shape, [1], {})
    assert any(f".{place} " in event for event in trace) or (place == "done" and done != "property")
