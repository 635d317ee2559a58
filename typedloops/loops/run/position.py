"""One of several loaders, and a module's step for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from typedloops._core.calls import AnyCallable
from typedloops.loops.run.config import BatchLimit


@dataclass(frozen=True)
class LoaderPosition:
    """Which loader of how many, and how many of its batches to take at most."""

    index: int = 0
    count: int = 1
    limit: BatchLimit = 1.0

    @property
    def arguments(self) -> tuple[int, ...]:
        """What hooks are given besides: the index, when there are several loaders."""
        return (self.index,) if self.count > 1 else ()

    def __str__(self) -> str:
        return f"dataloader {self.index}" if self.count > 1 else "dataloader"


def step_of(model: object, name: str, position: LoaderPosition) -> Callable[[object, int], object]:
    """The step `name` of a module, given the index of its loader if there are several and it asks for it."""
    step = cast("AnyCallable", getattr(model, name))
    if position.count > 1 and "dataloader_idx" in inspect.signature(step).parameters:
        return partial(step, dataloader_idx=position.index)
    return step
