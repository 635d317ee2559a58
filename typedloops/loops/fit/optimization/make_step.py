"""What automatic optimization calls for each batch, made once an epoch for each optimizer."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops._core import Hook, OptimizerStep
from typedloops._core.calls import AnyCallable
from typedloops.errors import ConfigurationError, OptimizerError
from typedloops.loops.fit.optimization.accumulation import GradientWindow
from typedloops.loops.fit.optimization.clipping import clip_gradients
from typedloops.loops.fit.optimization.closure_step import ClosureStep, OptimizerStepHook, StepHooks
from typedloops.loops.fit.optimization.loss import LossFinder
from typedloops.loops.fit.optimization.progress import OptimizerProgress
from typedloops.loops.run.computing.scaling import OptimizerScaler
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.hidden import SWITCH
from typedloops.loops.run.listeners import ARGUMENTS_OF_MODULE
from typedloops.loops.run.position import OptimizerPosition
from typedloops.loops.run.settings.config import Weigh
from typedloops.protocols.module import StepOutput
from typedloops.protocols.trainer import ClipAlgorithm

if TYPE_CHECKING:
    from typedloops._core.optimizing import Window

B = TypeVar("B", default=object)
O = TypeVar("O", bound=StepOutput, default=StepOutput)

TORCH = str(Path(torch.__file__).parent)


@dataclass(frozen=True)
class StepSettings:
    """What is done to the gradients of each step.

    Args:
        window: How many batches there are to a step in this epoch.
        accumulates: Whether there are several in any epoch.
        weigh: How much a batch counts among them, or None for all the same.
        clip_val: The largest size of gradients, or None.
        clip_algorithm: What is not to be larger.
    """

    window: int = 1
    accumulates: bool = False
    weigh: Weigh | None = None
    clip_val: float | None = None
    clip_algorithm: ClipAlgorithm = "norm"


class StepMaker(Generic[B, O]):
    """Makes the steps of optimizers for one epoch: compiled ones, or with a closure where one is needed.

    Args:
        step: The module's own function that gives the loss of a batch.
        context: The run.
        settings: What is done to the gradients.
    """

    def __init__(self, step: Callable[[B, int], O], context: RunContext, settings: StepSettings) -> None:
        self._own_step = step
        self._context = context
        self.settings = settings

    def training_step(self, position: OptimizerPosition) -> Callable[[B, int], O]:
        """That function in the precision of the run, told which optimizer it is for if it asks."""
        self._context.asked_for_precision = True
        remembering = self._context.remembering(self._own_step, position.index)
        told = cast("Callable[[B, int], O]", position.told(remembering, 2))
        return self._context.in_precision(told)

    def make(
        self, optimizer: Optimizer, progress: OptimizerProgress, position: OptimizerPosition
    ) -> Callable[[B, int], O]:
        """The step of one optimizer.

        Args:
            optimizer: What takes the step.
            progress: Counts it.
            position: Which of how many it is.
        """
        losses = LossFinder(self._own_step, remembers=self._context.hidden is not None)
        window, clip, guard = (
            self._resumed_window(optimizer, position),
            self._clipping_of(optimizer, position),
            self._context.guard,
        )
        if guard is not None:
            clip = guard.before_clipping(optimizer, clip)
        zero_grad = None if _sets_grads_to_none(optimizer) else optimizer.zero_grad
        own_zero_grad = self._of_module("optimizer_zero_grad", position)
        if own_zero_grad is not None:
            zero_grad = partial(_call_with_place, own_zero_grad, self._context, optimizer)
        own_step = self._of_module("optimizer_step", position)
        hooks, scaler = self._hooks(position), self._scaler_of(optimizer)
        if own_step is not None or needs_closure(optimizer):
            _check_closure(optimizer, self.settings.accumulates, scaler, own_step)
            return ClosureStep(
                self.training_step(position),
                optimizer,
                progress,
                self._context.optimization.steps_of(optimizer).total,
                losses,
                hooks,
                epoch=self._context.epoch,
                zero_grad=zero_grad or optimizer.zero_grad,
                window=window,
                clip=clip,
                scaler=scaler,
                optimizer_step=own_step,
            )
        return OptimizerStep(
            self.training_step(position),
            optimizer,
            progress.zero_grad,
            progress.step,
            zero_grad=zero_grad,
            loss_type=Tensor,
            loss_of=losses.find,
            explain=losses.explain,
            window=window,
            clip=clip,
            scaler=scaler,
            before_zero_grad=hooks.before_zero_grad,
            before_backward=hooks.before_backward,
            after_backward=hooks.after_backward,
            before_optimizer_step=hooks.before_optimizer_step,
        )

    def _scaler_of(self, optimizer: Optimizer) -> OptimizerScaler | None:
        scaler = self._context.optimization.scaler
        return None if scaler is None else scaler.of(optimizer)

    def _hooks(self, position: OptimizerPosition) -> StepHooks:
        context, before_backward = self._context, self._context.hook("on_before_backward")
        if context.guard is not None:
            before_backward = Hook(before_backward.name, [*before_backward.listeners, context.guard.see_loss])
        return StepHooks(
            position.hook(context.hook("on_before_zero_grad")),
            before_backward,
            context.hook("on_after_backward"),
            position.hook(context.hook("on_before_optimizer_step")),
        )

    def _of_module(self, name: str, position: OptimizerPosition) -> AnyCallable | None:
        """What the module does in its own way, told which optimizer it is for if it asks."""
        own = self._context.listeners.of_module(name)
        return None if own is None else position.told(own, len(ARGUMENTS_OF_MODULE[name]))

    def _resumed_window(self, optimizer: Optimizer, position: OptimizerPosition) -> Window[B] | None:
        """The window of an optimizer, where it was if the run goes on in the middle of one."""
        optimization, window = self._context.optimization, self.window_of(optimizer)
        optimization.windows[position.index] = window if isinstance(window, GradientWindow) else None
        resumed = optimization.resumed_windows.pop(position.index, None)
        if resumed is not None and isinstance(window, GradientWindow):
            window.load_state_dict(resumed)
        return window

    def window_of(self, optimizer: Optimizer) -> Window[B] | None:
        """The batches whose gradients are added up for each step of an optimizer, or None where it steps on each."""
        context, size = self._context, self.settings.window
        if context.hidden is not None and self.settings.accumulates:
            raise ConfigurationError(
                "accumulate_grad_batches",
                f"the optimizer steps after each piece of a batch, and {SWITCH} is set",
                "Leave one of them out: larger batches have the same gradients as several.",
            )
        if size == 1:
            return None
        if context.batch_progress is None:
            raise ConfigurationError(
                "accumulate_grad_batches",
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
        return GradientWindow(
            size, optimizer, context.batch_progress, batches=context.num_batches, weigh=self.settings.weigh
        )

    def _clipping_of(self, optimizer: Optimizer, position: OptimizerPosition) -> Callable[[], object] | None:
        optimization = self._context.optimization
        value, algorithm = self.settings.clip_val, self.settings.clip_algorithm
        own = self._of_module("configure_gradient_clipping", position)
        if own is not None:
            return partial(own, optimizer, value, algorithm)
        if value is None:
            return None

        def clip() -> None:
            optimization.gradient_norm = clip_gradients(optimizer, value, algorithm)

        return clip


def _sets_grads_to_none(optimizer: Optimizer) -> bool:
    """Whether `zero_grad` is torch's own: then the gradients can be set to None without its profiler record."""
    zero_grad = type(optimizer).zero_grad
    inherited = zero_grad is Optimizer.zero_grad and "zero_grad" not in vars(optimizer)
    # Somebody may have put another function into torch's class.
    return inherited and zero_grad.__code__.co_filename.startswith(TORCH)


def needs_closure(optimizer: Optimizer) -> bool:
    """Whether it computes the gradients itself, once or several times for each step."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _check_closure(
    optimizer: Optimizer, accumulates: bool, scaler: OptimizerScaler | None, own_step: OptimizerStepHook | None
) -> None:
    """Refuse what cannot be done with a loss that is looked at several times."""
    if accumulates and own_step is None:
        raise OptimizerError(
            "accumulate_grad_batches",
            f"{type(optimizer).__name__} computes the gradients several times for each step, of one batch",
            "Use larger batches, or another optimizer.",
        )
    if scaler is not None and needs_closure(optimizer):
        raise OptimizerError(
            "precision",
            f"'16-mixed' scales the loss, and {type(optimizer).__name__} looks at it several times for each step",
            "Use 'bf16-mixed' or '32-true', or another optimizer.",
        )


def _call_with_place(hook: AnyCallable, context: RunContext, optimizer: Optimizer) -> None:
    """Call a module's hook with the epoch and the batch under way."""
    progress = context.batch_progress
    hook(context.epoch, 0 if progress is None else progress.current.ready - 1, optimizer)
