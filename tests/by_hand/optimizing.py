"""What the loop that one writes does to optimize on one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from tests.by_hand.fits import TURNS
from tests.by_hand.recording import Model
from tests.modules import Batch


class Skip(Exception):
    """Leaves an optimizer's step from within its closure: there is no loss."""


@dataclass
class Window:
    """Batches whose gradients are added up for a step of one optimizer.

    Args:
        size: How many batches it has.
        losses: How many of them have been differentiated.
    """

    size: int = 1
    losses: int = 0


class Optimizing:
    """The optimization of one epoch.

    Args:
        model: What is optimized, with its optimizers made.
        epoch: Which epoch.
        size: How many batches there are to a step.
        known: How many batches the epoch has, or None when that is not known.
    """

    def __init__(self, model: Model, epoch: int, size: int, known: int | None) -> None:
        self.model = model
        self.journal = model.journal
        self.optimizers = model.made
        self.epoch = epoch
        self.size = size
        self.known = known
        self.windows = [Window() for _ in model.made]

    def __call__(self, batch: Batch, index: int, *, last: bool) -> None:
        kind = self.model.kind
        if kind in ("none", "manual"):
            self.model.training_step(batch, index)
            return
        step = self.step_by_closure if kind in ("LBFGS", "own step") else self.step
        for position in self.active(index):
            with self.toggled(position):
                step(position, batch, index, closes=(index + 1) % self.size == 0 or last)

    def active(self, index: int) -> list[int]:
        """The optimizers whose turn it is."""
        if self.model.kind != "taking turns":
            return list(range(len(self.optimizers)))
        return [0 if index // self.size % sum(TURNS) < TURNS[0] else 1]

    @contextmanager
    def toggled(self, position: int) -> Iterator[None]:
        """Let nothing learn but what belongs to one of several optimizers."""
        several = len(self.optimizers) > 1
        others = [part for index, part in enumerate(self.model.parts) if several and index != position]
        for part in others:
            part.requires_grad_(False)
        try:
            yield
        finally:
            for part in others:
                part.requires_grad_(True)

    def step(self, position: int, batch: Batch, index: int, *, closes: bool) -> None:
        self.gradients(position, batch, index)
        if closes and self.windows[position].losses:
            self.close(position)
            cast("Callable[[], None]", self.optimizers[position].step)()

    def step_by_closure(self, position: int, batch: Batch, index: int, *, closes: bool) -> None:
        optimizer: Any = self.optimizers[position]

        def closure() -> Tensor:
            loss = self.gradients(position, batch, index)
            if not self.windows[position].losses:
                raise Skip
            self.close(position)
            return torch.zeros(()) if loss is None else loss

        with suppress(Skip):
            if not closes:
                self.gradients(position, batch, index)
            elif self.model.kind == "own step":
                cast("Any", self.model).optimizer_step(self.epoch, index, optimizer, closure)
            else:
                optimizer.step(closure)

    def gradients(self, position: int, batch: Batch, index: int) -> Tensor | None:
        """Add the gradients of one batch to those of its window; returns its loss."""
        loss: Tensor | None = self.model.training_step(batch, index, position)
        if loss is None:
            return None
        window = self.windows[position]
        if not window.losses:
            window.size = self.size_of_window_at(index)
            self.journal.note("on_before_zero_grad")
            self.optimizers[position].zero_grad()
        self.journal.note("on_before_backward")
        window.losses += 1
        (loss / window.size if window.size > 1 else loss).backward()
        self.journal.note("on_after_backward")
        return loss

    def size_of_window_at(self, index: int) -> int:
        """How many batches it is going to have; the last one of an epoch may be shorter."""
        return self.size if self.known is None else min(self.size, self.known - index // self.size * self.size)

    def close(self, position: int) -> None:
        """Make the gradients those of the mean over the batches that had a loss."""
        window, optimizer = self.windows[position], self.optimizers[position]
        if window.losses != window.size:
            for parameter in parameters_of(optimizer):
                parameter.grad /= window.losses / window.size
        window.losses = 0
        self.journal.note("on_before_optimizer_step")


def parameters_of(optimizer: Optimizer) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
