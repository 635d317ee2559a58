"""The part of pytest-benchmark's fixture that is used here, which has no types of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Benchmark(Protocol):
    def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def pedantic(self, target: Callable[[], R], *, rounds: int) -> R: ...
