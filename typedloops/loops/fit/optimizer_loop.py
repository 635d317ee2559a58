"""Automatic optimization."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Generic

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops._core import OptimizerStep
from typedloops._core.escape import call, name_of
from typedloops.errors import OptimizerError
from typedloops.loops.fit.loss import LossFinder
from typedloops.loops.fit.progress import OptimizationProgress
from typedloops.loops.fit.step_loop import StepLoop, keeps_contract
from typedloops.protocols.module import StepOutput, TrainingModule

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
        output = M.training_step(batch, batch_idx)        # None: nothing more is done
        C/M.on_before_zero_grad(optimizer)
        optimizer.zero_grad()
        C/M.on_before_backward(loss)
        loss.backward()
        C/M.on_after_backward()
        C/M.on_before_optimizer_step(optimizer)
        optimizer.step()
    ```

    A module whose `configure_optimizers` returned None has its training step called and
    nothing else.

    Its output is what the training step returned.
    """

    requires: ClassVar[type[object] | None] = TrainingModule
    state_fields: ClassVar[tuple[str, ...]] = ("optim_progress",)
    transient_fields: ClassVar[tuple[str, ...]] = ("_step", "_step_of_fit")

    def __init__(self) -> None:
        self.optim_progress: OptimizationProgress = OptimizationProgress()

    def on_run_start(self, model: TrainingModule[B, O], batch: B, batch_idx: int) -> None:
        # Another fit has other optimizers.
        if vars(self).get("_step_of_fit") is not self.context.optimization:
            self._step = self._step_of(model)
            self._step_of_fit = self.context.optimization

    def advance(self, model: TrainingModule[B, O], batch: B, batch_idx: int) -> None:
        self.output = call(self._step, batch, batch_idx)

    def bind(self, model: TrainingModule[B, O]) -> Callable[[B, int], O]:
        return self._step_of(model) if keeps_contract(self, OptimizerLoop) else super().bind(model)

    def teardown(self) -> None:
        super().teardown()
        vars(self).pop("_step", None)
        vars(self).pop("_step_of_fit", None)

    def _step_of(self, model: TrainingModule[B, O]) -> Callable[[B, int], O]:
        context = self.context
        optimizers = context.optimization.optimizers
        if not optimizers:
            return model.training_step
        losses = LossFinder(model.training_step)
        optimizer = _only_optimizer(name_of(model.configure_optimizers), optimizers)
        return OptimizerStep(
            model.training_step,
            optimizer,
            self.optim_progress.optimizer.zero_grad,
            self.optim_progress.optimizer.step,
            zero_grad=None if _sets_grads_to_none(optimizer) else optimizer.zero_grad,
            loss_type=Tensor,
            loss_of=losses.find,
            explain=losses.explain,
            before_zero_grad=context.hook("on_before_zero_grad"),
            before_backward=context.hook("on_before_backward"),
            after_backward=context.hook("on_after_backward"),
            before_optimizer_step=context.hook("on_before_optimizer_step"),
        )


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
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise OptimizerError(
            where,
            f"{type(optimizer).__name__}.step needs a closure, which automatic optimization does not give",
            MANUALLY,
        )
    return optimizer
