"""The step of an optimizer that calls its closure, once or many times."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops._core import Hook, ReadyCompleted
from typedloops._core.escape import name_of
from typedloops.errors import OptimizerError, StepOutputError
from typedloops.loops.fit.optimization.loss import LossFinder
from typedloops.loops.fit.optimization.progress import OptimizerProgress
from typedloops.loops.run.computing.scaling import OptimizerScaler

if TYPE_CHECKING:
    from typedloops._core.optimizing import Window

B = TypeVar("B")
O = TypeVar("O")

Closure: TypeAlias = Callable[[], Tensor]
"""Computes the gradients and returns the loss."""

OptimizerStepHook: TypeAlias = Callable[[int, int, Optimizer, Closure], object]
"""A module's `optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)`."""


class BatchSkipped(Exception):
    """Leaves an optimizer's step: the training step returned None, or gradients are not finite."""


@dataclass
class StepHooks:
    """Who is called on the way."""

    before_zero_grad: Hook
    before_backward: Hook
    after_backward: Hook
    before_optimizer_step: Hook


class ClosureStep(Generic[B, O]):
    """One step of automatic optimization, inside a closure; called with a batch and its index.

    ```
    optimizer_step(epoch, batch_idx, optimizer, closure)      # by default optimizer.step(closure)
        closure:
            output = training_step(batch, batch_idx)          # None: leaves the step
            on_before_zero_grad; zero_grad()
            on_before_backward; loss.backward(); on_after_backward
            on_before_optimizer_step; clip()
    ```

    In all batches of a window but the last the closure alone is called, without its last line.
    What is returned is the output of the closure's first call: that of the weights before the step.  Once
    the closure has given gradients the step is not left any more: later calls must have a loss as well.

    Args:
        training_step: The module's own step.
        optimizer: What takes the step.
        progress: Counts zero_grads and steps.
        steps: Counts the steps of the optimizer, whoever takes them.
        losses: Finds the loss in an output.
        hooks: Who is called on the way.
        epoch: The epoch under way.
        zero_grad: What puts the gradients away.
        window: Adds up the gradients of several batches for each step, or None.
        clip: Called at the end of the closure, or None.
        scaler: Scales losses; where their gradients are not finite, the step is left from within the
            closure.  Or None.
        optimizer_step: The module's own hook, or None.
    """

    def __init__(
        self,
        training_step: Callable[[B, int], O],
        optimizer: Optimizer,
        progress: OptimizerProgress,
        steps: ReadyCompleted,
        losses: LossFinder,
        hooks: StepHooks,
        *,
        epoch: int,
        zero_grad: Callable[[], object],
        window: Window[B] | None,
        clip: Callable[[], object] | None,
        scaler: OptimizerScaler | None,
        optimizer_step: OptimizerStepHook | None,
    ) -> None:
        self.__wrapped__ = training_step
        self._optimizer = optimizer
        self._progress = progress
        self._steps = steps
        self._losses = losses
        self._hooks = hooks
        self._epoch = epoch
        self._zero_grad = zero_grad
        self._window = window
        self._clip = clip
        self._scaler = scaler
        self._own_step = optimizer_step
        self._outputs: list[O] = []
        # Of a window that was begun in an earlier process nothing is left but its gradients.
        self._last_loss: Tensor = torch.full((), torch.nan)
        self._ready = False

    def __call__(self, batch: B, batch_idx: int) -> O:
        self._outputs = []
        with suppress(BatchSkipped):
            if self._window is None or self._window.closes_at(batch_idx):
                self._step(batch, batch_idx)
            else:
                self._gradients(batch, batch_idx, last=False)
        (output, *_), self._outputs = self._outputs, []
        return output

    def _step(self, batch: B, batch_idx: int) -> None:
        def closure() -> Tensor:
            return self._gradients(batch, batch_idx, last=True)

        self._take_step(batch_idx, closure)
        if not self._outputs:
            raise OptimizerError(
                f"{type(self._optimizer).__name__}.step",
                "it did not call its closure, which computes the gradients",
                "Pass the closure on, `optimizer.step(optimizer_closure)`, and let the optimizer call it.",
            )

    def _take_step(self, batch_idx: int, closure: Closure) -> None:
        self._ready, before = False, self._steps.completed
        if self._own_step is None:
            # torch declares the closure of `step` as one that returns a float; its optimizers take a loss.
            self._optimizer.step(cast("Callable[[], float]", closure))
        else:
            self._own_step(self._epoch, batch_idx, self._optimizer, closure)
        if self._steps.completed > before:  # a module's own `optimizer_step` may leave the step out
            self._progress.step.increment_completed()

    def _gradients(self, batch: B, batch_idx: int, *, last: bool) -> Tensor:
        self._check_window(last=last)
        output = self.__wrapped__(batch, batch_idx)
        self._outputs.append(output)
        if output is None:
            self._check_unfinished(last=last)
            return self._gradients_before(last=last)
        loss = self._last_loss = self._losses.find(output)
        if self._window is None or not self._window.is_open:
            self._put_grads_away()
        self._hooks.before_backward(loss)
        self._differentiate(loss, batch)
        self._hooks.after_backward()
        if last:
            self._finish()
        return loss

    def _gradients_before(self, *, last: bool) -> Tensor:
        """What a batch without a loss leaves to step on: the gradients of the window's earlier batches."""
        if not last or self._window is None or not self._window.is_open:
            raise BatchSkipped
        self._finish()
        return self._last_loss

    def _check_window(self, *, last: bool) -> None:
        """Refuse a second look at gradients that were added up from several batches, of which one is at hand.

        Raises:
            OptimizerError: The closure is called again within one step.
        """
        if last and self._ready and self._window is not None:
            raise OptimizerError(
                f"{type(self._optimizer).__name__}.step",
                "it calls its closure several times, and the gradients of the earlier batches of its window are gone",
                "Call it once for each step, or let there be one batch to a step.",
            )

    def _check_unfinished(self, *, last: bool) -> None:
        """Refuse to leave a step in its middle: what the optimizer keeps of it would be neither old nor new.

        Raises:
            StepOutputError: The closure has already given gradients in this step.
        """
        if last and self._ready:
            raise StepOutputError(
                name_of(self.__wrapped__),
                f"it returned None for a batch that had a loss, in the middle of a step of "
                f"{type(self._optimizer).__name__}",
                "Return the loss each time that it is called with a batch, or None at the first to skip the batch.",
            )

    def _differentiate(self, loss: Tensor, batch: B) -> None:
        share = loss if self._window is None else cast("Tensor", self._window.share(loss, batch))
        try:
            scaled = share if self._scaler is None else cast("Tensor", self._scaler.scale(share))
            scaled.backward()  # pyright: ignore[reportUnknownMemberType]  # torch leaves it open
        except RuntimeError as error:
            self._losses.explain(loss, error)
            raise

    def _put_grads_away(self) -> None:
        zero_grad = self._progress.zero_grad
        zero_grad.increment_ready()
        self._hooks.before_zero_grad(self._optimizer)
        zero_grad.increment_started()
        self._zero_grad()
        zero_grad.increment_completed()

    def _finish(self) -> None:
        if self._window is not None:
            self._window.close()
        if self._scaler is not None:
            self._scaler.unscale()
        self._hooks.before_optimizer_step(self._optimizer)
        if self._clip is not None:
            self._clip()
        if not self._ready:
            self._ready = True
            self._progress.step.increment_ready()
        if self._scaler is not None and not self._scaler.may_step():
            raise BatchSkipped
