"""Automatic optimization."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops._core import OptimizerStep
from typedloops._core.calls import AnyCallable
from typedloops._core.escape import call, name_of
from typedloops.errors import ConfigurationError, OptimizerError
from typedloops.loops.fit.accumulation import GradientWindow, window_size
from typedloops.loops.fit.clipping import clip_gradients
from typedloops.loops.fit.closure_step import ClosureStep, OptimizerStepHook, StepHooks
from typedloops.loops.fit.loss import LossFinder
from typedloops.loops.fit.progress import OptimizationProgress
from typedloops.loops.fit.step_loop import StepLoop, keeps_contract
from typedloops.loops.run.config import Weigh, check_clipping, check_schedule
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.durations import Count, Unit, counted
from typedloops.protocols.module import StepOutput, TrainingModule
from typedloops.protocols.trainer import ClipAlgorithm

B = TypeVar("B", default=object)
O = TypeVar("O", bound=StepOutput, default=StepOutput)

TORCH = str(Path(torch.__file__).parent)
MANUALLY = (
    "Set `automatic_optimization = False` on the module and step in training_step, "
    "or connect an optimizer loop of your own."
)


class OptimizerLoop(StepLoop[TrainingModule[B, O], B, O], Generic[B, O]):
    """Optimizes the module on one batch, with the one optimizer that the module configured.

    ```
    advance:
        output = M.training_step(batch, batch_idx)        # None: this batch has no gradients
        C/M.on_before_zero_grad(optimizer)                # in the first batch of a window
        optimizer.zero_grad()
        C/M.on_before_backward(loss)
        loss.backward()                                   # loss / batches of the window
        C/M.on_after_backward()
        C/M.on_before_optimizer_step(optimizer)           # in the last batch of a window
        clip the gradients
        optimizer.step()
    ```

    A module may do some of it in its own way: `optimizer_step(epoch, batch_idx, optimizer,
    optimizer_closure)`, `optimizer_zero_grad(epoch, batch_idx, optimizer)`,
    `configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)`.  With
    the first of them, and for an optimizer that needs a closure (LBFGS), everything but the step
    itself happens in that closure: see `ClosureStep`.

    A window is as many batches as `accumulate_grad_batches` says, one by default; the last
    one of an epoch may be shorter.

    A module whose `configure_optimizers` returned None has its training step called and
    nothing else.

    Args:
        accumulate_grad_batches: How many batches there are to a step, or from which epoch on how
            many; None is what the trainer says.
        accumulation_weight: How much a batch counts among those of a step; None likewise.
        gradient_clip_val: The largest size of gradients; None likewise.
        gradient_clip_algorithm: What is not to be larger; None likewise.

    Its output is what the training step returned.
    """

    requires: ClassVar[type[object] | None] = TrainingModule
    state_fields: ClassVar[tuple[str, ...]] = ("optim_progress",)
    transient_fields: ClassVar[tuple[str, ...]] = ("_step", "_step_made_for")

    def __init__(
        self,
        *,
        accumulate_grad_batches: Count | Mapping[int, int] | None = None,
        accumulation_weight: Weigh | None = None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: ClipAlgorithm | None = None,
    ) -> None:
        where = f"{type(self).__name__}.accumulate_grad_batches"
        schedule: int | Mapping[int, int] | None = counted(where, accumulate_grad_batches, Unit.BATCHES)
        if schedule is not None:
            check_schedule(where, schedule)
        check_clipping(gradient_clip_val, gradient_clip_algorithm or "norm")
        self.accumulate_grad_batches = schedule
        self.accumulation_weight = accumulation_weight
        self.gradient_clip_val = gradient_clip_val
        self.gradient_clip_algorithm: ClipAlgorithm | None = gradient_clip_algorithm
        self.optim_progress: OptimizationProgress = OptimizationProgress()

    def on_run_start(self, model: TrainingModule[B, O], batch: B, batch_idx: int) -> None:
        context = self.context
        # Another fit has other optimizers, another epoch may have other windows.
        made_for = (context.optimization, context.epoch)
        if vars(self).get("_step_made_for") != made_for:
            self._step = self._step_of(model)
            self._step_made_for = made_for

    def advance(self, model: TrainingModule[B, O], batch: B, batch_idx: int) -> None:
        self.output = call(self._step, batch, batch_idx)

    def bind(self, model: TrainingModule[B, O]) -> Callable[[B, int], O]:
        return self._step_of(model) if keeps_contract(self, OptimizerLoop) else super().bind(model)

    def teardown(self) -> None:
        super().teardown()
        vars(self).pop("_step", None)
        vars(self).pop("_step_made_for", None)

    def _step_of(self, model: TrainingModule[B, O]) -> Callable[[B, int], O]:
        context = self.context
        optimizers = context.optimization.optimizers
        training_step = self.in_precision(model.training_step)
        if not optimizers:
            return training_step
        losses = LossFinder(model.training_step)
        optimizer = _only_optimizer(name_of(model.configure_optimizers), optimizers)
        window, clip = self._window_of(optimizer), self._clipping_of(optimizer)
        scaler = context.optimization.scaler
        zero_grad = None if _sets_grads_to_none(optimizer) else optimizer.zero_grad
        own_zero_grad = context.listeners.of_module("optimizer_zero_grad")
        if own_zero_grad is not None:
            zero_grad = partial(_call_with_place, own_zero_grad, context, optimizer)
        own_step = context.listeners.of_module("optimizer_step")
        if own_step is not None or _needs_closure(optimizer):
            zero_grad = zero_grad or optimizer.zero_grad
            return self._closure_step_of(model, optimizer, losses, zero_grad, window, clip, own_step)
        return OptimizerStep(
            training_step,
            optimizer,
            self.optim_progress.optimizer.zero_grad,
            self.optim_progress.optimizer.step,
            zero_grad=zero_grad,
            loss_type=Tensor,
            loss_of=losses.find,
            explain=losses.explain,
            window=window,
            clip=clip,
            scaler=None if scaler is None else scaler.of(optimizer),
            before_zero_grad=context.hook("on_before_zero_grad"),
            before_backward=context.hook("on_before_backward"),
            after_backward=context.hook("on_after_backward"),
            before_optimizer_step=context.hook("on_before_optimizer_step"),
        )

    def _closure_step_of(
        self,
        model: TrainingModule[B, O],
        optimizer: Optimizer,
        losses: LossFinder,
        zero_grad: Callable[[], object],
        window: GradientWindow[B] | None,
        clip: Callable[[], object] | None,
        own_step: OptimizerStepHook | None,
    ) -> ClosureStep[B, O]:
        if window is not None and own_step is None:
            raise OptimizerError(
                "accumulate_grad_batches",
                f"{type(optimizer).__name__} computes the gradients several times for each step, of one batch",
                "Use larger batches, or another optimizer.",
            )
        context, scaler = self.context, self.context.optimization.scaler
        if scaler is not None and _needs_closure(optimizer):
            raise OptimizerError(
                "precision",
                f"'16-mixed' scales the loss, and {type(optimizer).__name__} looks at it several times for each step",
                "Use 'bf16-mixed' or '32-true', or another optimizer.",
            )
        return ClosureStep(
            self.in_precision(model.training_step),
            optimizer,
            self.optim_progress.optimizer,
            losses,
            StepHooks(
                context.hook("on_before_zero_grad"),
                context.hook("on_before_backward"),
                context.hook("on_after_backward"),
                context.hook("on_before_optimizer_step"),
            ),
            epoch=context.epoch,
            zero_grad=zero_grad,
            window=window,
            clip=clip,
            scaler=None if scaler is None else scaler.of(optimizer),
            optimizer_step=own_step,
        )

    def _window_of(self, optimizer: Optimizer) -> GradientWindow[B] | None:
        context, config = self.context, self.config
        schedule = (
            config.accumulate_grad_batches if self.accumulate_grad_batches is None else self.accumulate_grad_batches
        )
        size = window_size(schedule, context.epoch)
        if size == 1:
            return None
        weigh = config.accumulation_weight if self.accumulation_weight is None else self.accumulation_weight
        if context.batch_progress is None:
            raise ConfigurationError(
                f"{type(self).__name__}.accumulate_grad_batches",
                "the loop above says nothing of its batches, so that the last of an epoch is not known",
                "Run it below a TrainingEpochLoop.",
            )
        if context.num_batches is not None and 0 < context.num_batches < size:
            warnings.warn(
                f"accumulate_grad_batches is {size} and an epoch has {context.num_batches} batches, so that the "
                "optimizer steps once an epoch.",
                UserWarning,
                stacklevel=2,
            )
        return GradientWindow(size, optimizer, context.batch_progress, batches=context.num_batches, weigh=weigh)

    def _clipping_of(self, optimizer: Optimizer) -> Callable[[], object] | None:
        config, optimization = self.config, self.context.optimization
        value = config.gradient_clip_val if self.gradient_clip_val is None else self.gradient_clip_val
        own = self.context.listeners.of_module("configure_gradient_clipping")
        if own is not None:
            return partial(own, optimizer, value, self.gradient_clip_algorithm or config.gradient_clip_algorithm)
        if value is None:
            return None

        algorithm: ClipAlgorithm = self.gradient_clip_algorithm or config.gradient_clip_algorithm

        def clip() -> None:
            optimization.gradient_norm = clip_gradients(optimizer, value, algorithm)

        return clip


def _sets_grads_to_none(optimizer: Optimizer) -> bool:
    """Whether `zero_grad` is torch's own: then the gradients can be set to None without its profiler record."""
    zero_grad = type(optimizer).zero_grad
    inherited = zero_grad is Optimizer.zero_grad and "zero_grad" not in vars(optimizer)
    # Somebody may have put another function into torch's class.
    return inherited and zero_grad.__code__.co_filename.startswith(TORCH)


def _only_optimizer(where: str, optimizers: Sequence[Optimizer]) -> Optimizer:
    if len(optimizers) > 1:
        raise OptimizerError(
            where, f"it returned {len(optimizers)} optimizers, automatic optimization takes one", MANUALLY
        )
    (optimizer,) = optimizers
    return optimizer


def _needs_closure(optimizer: Optimizer) -> bool:
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _call_with_place(hook: AnyCallable, context: RunContext, optimizer: Optimizer) -> None:
    """Call a module's hook with the epoch and the batch under way."""
    progress = context.batch_progress
    hook(context.epoch, 0 if progress is None else progress.current.ready - 1, optimizer)
