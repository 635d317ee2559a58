"""One of several loaders, and a module's step for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from typedloops._core.calls import AnyCallable
from typedloops.loops.run.config import BatchLimit

LOADER_INDEX = "dataloader_idx"
"""The parameter by which a step asks which of several loaders its batch is from."""


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
    """The step `name` of a module, given the index of its loader if it asks for it.

    With one loader only a step that cannot be called without the index is given it.
    """
    step = cast("AnyCallable", getattr(model, name))
    parameter = _index_of(step)
    if parameter is None or (position.count == 1 and parameter.default is not parameter.empty):
        return step
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return lambda batch, batch_idx: step(batch, batch_idx, position.index)
    return partial(step, **{LOADER_INDEX: position.index})


def _index_of(step: AnyCallable) -> inspect.Parameter | None:
    try:
        return inspect.signature(step).parameters.get(LOADER_INDEX)
    except (TypeError, ValueError):  # written in C: it cannot be asked
        return None
