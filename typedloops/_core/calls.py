# mypy: disable-error-code=explicit-any
"""The type of a function with any parameters: the one thing that has no other name than `...`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from typing_extensions import TypeVar

R = TypeVar("R", default=object)

AnyCallable: TypeAlias = Callable[..., R]
