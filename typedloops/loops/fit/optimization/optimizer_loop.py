"""Automatic optimization."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Generic

from torch.optim import Optimizer
from typing_extensions import TypeVar

from typedloops._core.escape import call
from typedloops.loops.fit.optimization.accumulation import largest_window, window_size
from typedloops.loops.fit.optimization.make_step import StepMaker, StepSettings
from typedloops.loops.fit.optimization.progress import OptimizationProgress
from typedloops.loops.fit.optimization.several import Rota, SeveralSteps, Turn, check_step, check_turns
from typedloops.loops.fit.step_loop import StepLoop, keeps_contract
from typedloops.loops.run.asked import OPTIMIZER_INDEX
from typedloops.loops.run.hidden import HIDDENS
from typedloops.loops.run.position import OptimizerPosition
from typedloops.loops.run.settings.config import Weigh, check_clipping, check_schedule
from typedloops.loops.run.settings.durations import Count, Unit, counted
from typedloops.protocols.module import ConfiguresOptimizers, StepOutput, TrainingModule
from typedloops.protocols.trainer import ClipAlgorithm

M = TypeVar("M", bound=ConfiguresOptimizers, default=ConfiguresOptimizers)
B = TypeVar("B", default=object)
O = TypeVar("O", bound=StepOutput, default=StepOutput)


class OptimizerLoopOf(StepLoop[M, B, O], Generic[M, B, O]):
    """Optimizes a module on one batch, whatever gives the loss of that; `OptimizerLoop` is the one for `training_step`.

    A subclass says in `step_of` what is called for each batch.  Everything around that is done here: `OptimizerLoop`
    has the order of it.

    Args:
        accumulate_grad_batches: How many batches there are to a step, or from which epoch on how
            many; None is what the trainer says.
        accumulation_weight: How much a batch counts among those of a step; None likewise.
        gradient_clip_val: The largest size of gradients; None likewise.
        gradient_clip_algorithm: What is not to be larger; None likewise.

    Its output is what the step returned; with several optimizers that for the last one for which it
    was not None.
    """

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

    @abstractmethod
    def step_of(self, model: M) -> Callable[[B, int], O]:
        """What gives the loss of a batch, called with it and its index; it may return what a training step may."""

    def on_run_start(self, model: M, batch: B, batch_idx: int) -> None:
        context = self.context
        # Another fit has other optimizers, another epoch may have other windows.
        made_for = (context.optimization, context.epoch)
        if vars(self).get("_step_made_for") != made_for:
            self._step = self._step_of(model)
            self._step_made_for = made_for

    def advance(self, model: M, batch: B, batch_idx: int) -> None:
        self.output = call(self._step, batch, batch_idx)

    def bind(self, model: M) -> Callable[[B, int], O]:
        return self._step_of(model) if keeps_contract(self, OptimizerLoopOf) else super().bind(model)

    def teardown(self) -> None:
        super().teardown()
        vars(self).pop("_step", None)
        vars(self).pop("_step_made_for", None)

    def maker(self, step: Callable[[B, int], O], settings: StepSettings) -> StepMaker[B, O]:
        """What makes the steps of an epoch."""
        return StepMaker(step, self.context, settings)

    def _step_of(self, model: M) -> Callable[[B, int], O]:
        optimizers = self.context.optimization.optimizers
        step = self.step_of(model)
        maker = self.maker(step, self._settings())
        if len(optimizers) > 1:
            check_step(model, step, len(optimizers))
            return self._several_steps_of(maker, optimizers)
        position = OptimizerPosition()
        if not optimizers:
            return maker.training_step(position)
        (optimizer,), (progress,) = optimizers, self.optim_progress.of(1)
        return maker.make(optimizer, progress, position)

    def _several_steps_of(self, maker: StepMaker[B, O], optimizers: Sequence[Optimizer]) -> SeveralSteps[B, O]:
        optimization, count = self.context.optimization, len(optimizers)
        rota = Rota(count, optimization.frequencies, maker.settings.window)
        check_turns(optimizers, rota, maker.settings.window, self.context.num_batches)
        progress = self.optim_progress.of(count)
        turns = [
            Turn(optimizer, maker.make(optimizer, progress[index], OptimizerPosition(index, count)))
            for index, optimizer in enumerate(optimizers)
        ]
        return SeveralSteps(turns, rota, self.optim_progress, optimization.scalars)

    def _settings(self) -> StepSettings:
        """This loop's own settings, or the trainer's."""
        config = self.config
        schedule = (
            config.accumulate_grad_batches if self.accumulate_grad_batches is None else self.accumulate_grad_batches
        )
        return StepSettings(
            window=window_size(schedule, self.context.epoch),
            accumulates=largest_window(schedule) > 1,
            weigh=config.accumulation_weight if self.accumulation_weight is None else self.accumulation_weight,
            clip_val=config.gradient_clip_val if self.gradient_clip_val is None else self.gradient_clip_val,
            clip_algorithm=self.gradient_clip_algorithm or config.gradient_clip_algorithm,
        )


class OptimizerLoop(OptimizerLoopOf[TrainingModule[B, O], B, O], Generic[B, O]):
    """Optimizes the module on one batch, with each optimizer that the module configured.

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

    With several optimizers all of this is done for each, one after the other: the training step and
    the hooks that get the optimizer are also given its index where they have a parameter
    `optimizer_idx`, which the training step must have, and the parameters that belong only to the
    others require no gradient meanwhile.  The output and the progress `optim_progress` are those of
    all of them, `optim_progress.each` has each by itself, and the scalars of each are metrics like
    `train_loss/optimizer_idx_0`.  With frequencies, `{"optimizer": ..., "frequency": 3}`, one
    optimizer has its turn on a batch: the first on three, the next on as many as its own
    frequency says, and so on, from the first in each epoch.  A turn lasts for a window.

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

    Its output is what the training step returned; with several optimizers that for the last one
    for which it was not None.
    """

    requires: ClassVar[type[object] | None] = TrainingModule
    gives: ClassVar[Mapping[str, Collection[str]]] = MappingProxyType({"training_step": (OPTIMIZER_INDEX, HIDDENS)})

    def step_of(self, model: TrainingModule[B, O]) -> Callable[[B, int], O]:
        return model.training_step
