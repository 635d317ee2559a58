"""What loops have in common that let the library take the steps of a module's optimizers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic

from typing_extensions import TypeVar

from typedloops._core.escape import call
from typedloops.errors import ModuleError
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.fit.optimization.accumulation import largest_window, window_size
from typedloops.loops.fit.optimization.make_step import StepMaker, StepSettings
from typedloops.loops.fit.optimization.progress import OptimizationProgress
from typedloops.loops.fit.optimization.several import Rota, SeveralSteps, Turn
from typedloops.loops.fit.step_loop import StepLoop, keeps_contract
from typedloops.loops.run.position import OptimizerPosition
from typedloops.loops.run.settings.config import Weigh, check_clipping, check_schedule
from typedloops.loops.run.settings.durations import Count, Unit, counted
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.module import StepOutput
from typedloops.protocols.trainer import ClipAlgorithm

M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
O = TypeVar("O", bound=StepOutput, default=StepOutput)


class AutomaticOptimization(StepLoop[M, B, O], Generic[M, B, O]):
    """The part of `OptimizerLoop` that does not depend on what is called for a loss.

    A subclass says what is called for each batch of an epoch: `step_of` puts it together from steps
    that a `StepMaker` makes of a function with a loss.  Hooks, windows of batches, clipping, precision,
    counters and what is saved of them are those of any automatic optimization.

    Args:
        accumulate_grad_batches: How many batches there are to a step, or from which epoch on how
            many; None is what the trainer says.
        accumulation_weight: How much a batch counts among those of a step; None likewise.
        gradient_clip_val: The largest size of gradients; None likewise.
        gradient_clip_algorithm: What is not to be larger; None likewise.
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

    @property
    def run_progress(self) -> RunProgress:
        return RunProgress(self.optim_progress.optimizer.step.total.completed, None, "optimizer steps")

    def _progress_to_show(self) -> RunProgress | None:
        return self.run_progress if self.run_progress.completed else None

    @abstractmethod
    def step_of(self, model: M) -> Callable[[B, int], O]:
        """What is called with each batch of an epoch and its index; asked once an epoch."""

    def on_run_start(self, model: M, batch: B, batch_idx: int) -> None:
        context = self.context
        # Another fit has other optimizers, another epoch may have other windows.
        made_for = (context.optimization, context.epoch)
        if vars(self).get("_step_made_for") != made_for:
            self._step = self.step_of(model)
            self._step_made_for = made_for

    def advance(self, model: M, batch: B, batch_idx: int) -> None:
        self.output = call(self._step, batch, batch_idx)

    def bind(self, model: M) -> Callable[[B, int], O]:
        return self.step_of(model) if keeps_contract(self, AutomaticOptimization) else super().bind(model)

    def teardown(self) -> None:
        super().teardown()
        vars(self).pop("_step", None)
        vars(self).pop("_step_made_for", None)

    def check_automatic(self) -> None:
        """Refuse a module that steps its optimizers itself.

        Raises:
            ModuleError: It says so.
        """
        context, name = self.context, type(self).__name__
        if not context.optimization.automatic:
            raise ModuleError(
                f"{type(unwrapped(context.module)).__name__}.automatic_optimization",
                f"it is False, and {name} steps the optimizers",
                "Leave it out, or connect ManualOptimization.",
            )

    def one_step(self, maker: StepMaker[B, O]) -> Callable[[B, int], O]:
        """The step of a module with one optimizer."""
        (optimizer,), (progress,) = self.context.optimization.optimizers, self.optim_progress.of(1)
        return maker.make(optimizer, progress, OptimizerPosition())

    def several_steps(self, makers: Sequence[StepMaker[B, O]], rota: Rota) -> SeveralSteps[B, O]:
        """The steps of a module with several optimizers, one after the other.

        Args:
            makers: What makes the step of each optimizer.
            rota: Whose turn it is on a batch.
        """
        optimization, count = self.context.optimization, len(makers)
        progress = self.optim_progress.of(count)
        turns = [
            Turn(optimizer, maker.make(optimizer, progress[index], OptimizerPosition(index, count)))
            for index, (optimizer, maker) in enumerate(zip(optimization.optimizers, makers, strict=True))
        ]
        return SeveralSteps(turns, rota, self.optim_progress, optimization.scalars)

    def settings(self) -> StepSettings:
        """What is done to the gradients in this epoch: this loop's own settings, or the trainer's."""
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
