"""How an error names the code that a `StopIteration` escaped from."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import pytest

from typedloops._core.escape import name_of


class Model:
    def step(self) -> None: ...

    @classmethod
    def make(cls) -> None: ...

    @staticmethod
    def check() -> None: ...

    def __call__(self) -> None: ...


class Derived(Model):
    pass


class Compiled:
    """Stands in front of a function and has no name of its own."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.__wrapped__ = function

    def __call__(self) -> None:
        self.__wrapped__()


NAMES: dict[str, tuple[object, str]] = {
    "a method": (Model().step, "Model.step"),
    "an inherited method": (Derived().step, "Derived.step"),
    "a class method": (Model.make, "Model.make"),
    "an inherited class method": (Derived.make, "Derived.make"),
    "a class method of an instance": (Derived().make, "Derived.make"),
    "a static method": (Model.check, "Model.check"),
    "a builtin": (len, "len"),
    "a function in C of a module": (math.floor, "floor"),
    "a method in C": ([].append, "list.append"),
    "a class": (Model, "Model"),
    "a callable": (Model(), "Model"),
    "a partial": (functools.partial(Model().step), "Model.step"),
    "a partial of a partial": (functools.partial(functools.partial(len, [])), "len"),
    "something that wraps": (Compiled(Model().step), "Model.step"),
}


@pytest.mark.parametrize("case", NAMES)
def test_code_is_named_as_its_author_knows_it(case: str) -> None:
    code, name = NAMES[case]
    assert name_of(code) == name
