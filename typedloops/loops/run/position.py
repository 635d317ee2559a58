"""One of several loaders or optimizers, with the steps and the listeners that are told which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from typedloops._core import Hook
from typedloops._core.calls import AnyCallable
from typedloops.loops.run.asked import LOADER_INDEX, OPTIMIZER_INDEX, given_index
from typedloops.loops.run.listeners import ARGUMENTS
from typedloops.loops.run.settings.config import BatchLimit


@dataclass(frozen=True)
class LoaderPosition:
    """Which loader of how many.

    Args:
        index: From 0.
        count: How many there are.
        limit: How many of its batches to take at most.
        take: What is given the output of each step with its batch and index, before the listeners, or None.
    """

    index: int = 0
    count: int = 1
    limit: BatchLimit = 1.0
    take: AnyCallable | None = None

    def step_of(self, model: object, name: str) -> Callable[[object, int], object]:
        """The step `name` of a module, given the index of this loader if it asks for it."""
        return self._told(cast("AnyCallable", getattr(model, name)), 2)

    def listeners(self, hook: Hook) -> tuple[AnyCallable, ...]:
        """The listeners of a batch hook, each given the index of this loader if it asks for it."""
        return tuple(self._told(listener, len(ARGUMENTS[hook.name])) for listener in hook.listeners)

    def _told(self, function: AnyCallable, count: int) -> AnyCallable:
        return given_index(function, LOADER_INDEX, self.index, count, several=self.count > 1)

    def after_step(self, hook: Hook) -> tuple[AnyCallable, ...]:
        """What is called with the output of each step: what takes it, then the listeners of a hook."""
        return (*(() if self.take is None else (self.take,)), *self.listeners(hook))

    def __str__(self) -> str:
        return f"dataloader {self.index}" if self.count > 1 else "dataloader"


@dataclass(frozen=True)
class OptimizerPosition:
    """Which optimizer of how many."""

    index: int = 0
    count: int = 1

    def told(self, function: AnyCallable, count: int) -> AnyCallable:
        """`function`, called with `count` arguments, given the index of this optimizer if it asks for it."""
        return given_index(function, OPTIMIZER_INDEX, self.index, count, several=self.count > 1)

    def hook(self, hook: Hook) -> Hook:
        """The listeners of `hook`, each given the index of this optimizer if it asks for it."""
        count = len(ARGUMENTS[hook.name])
        return Hook(hook.name, [self.told(listener, count) for listener in hook.listeners])
