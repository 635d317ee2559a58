"""The fit: epochs until there is a reason to stop."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from time import monotonic
from typing import ClassVar, Generic, cast

from typing_extensions import TypeVar

from typedloops._core import Processed, Progress, ReadyCompleted
from typedloops._core.escape import name_of
from typedloops.errors import LoopTreeError
from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.base.slot import Slot
from typedloops.loops.fit.continuation import Continuation, check_continuation, nothing_left
from typedloops.loops.fit.epoch_loop import EpochResult, TrainingEpochLoop, take_training_scalars
from typedloops.loops.fit.fit_data import FitData
from typedloops.loops.fit.fit_state import fit_state, take_up
from typedloops.loops.fit.fit_warnings import warn_of_idleness, warn_of_precision
from typedloops.loops.fit.idleness import Idleness
from typedloops.loops.fit.optimization.automatic import AutomaticOptimization
from typedloops.loops.fit.optimization.configure import configure
from typedloops.loops.fit.optimization.manual_checks import check_manual
from typedloops.loops.fit.optimization.manual_module import lent
from typedloops.loops.fit.restart import reset_progress
from typedloops.loops.fit.result import FitResult, detached
from typedloops.loops.fit.stopping import FitLimits, FitPosition, StopReason, stop_reason
from typedloops.loops.run.computing.devices import place_state
from typedloops.loops.run.computing.modes import training
from typedloops.loops.run.computing.scaling import LossScaler
from typedloops.loops.run.context import InRun, contexts_of, find_context
from typedloops.loops.run.each import Each
from typedloops.loops.run.epochs import tell_epoch
from typedloops.loops.run.interrupt import interruptible
from typedloops.loops.run.opening import open_run
from typedloops.loops.run.optimization import Optimization, step_counter
from typedloops.loops.run.saving.data import is_data
from typedloops.loops.run.saving.occasions import saved_when_it_fails, saving_on_signals
from typedloops.loops.run.saving.sources import CheckpointPath, resumed_from
from typedloops.loops.run.settings.config import check_count, check_minimum, epochs_of
from typedloops.loops.run.settings.durations import Count, Unit, counted, seconds_of
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.data import LoaderSource, LoadersSource
from typedloops.protocols.module import ConfiguresOptimizers
from typedloops.protocols.trainer import Stage

M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
S = TypeVar("S", default=object)

logger: logging.Logger = logging.getLogger("typedloops")


class FitLoopOf(InRun[[M, "LoaderSource[B]", "LoadersSource[object] | None"], FitResult[S]], Generic[M, B, S]):
    """Fits a module, whatever its batch loop asks of it; `FitLoop` is the one for `training_step`.

    ```
    on_run_start:
        M.configure_optimizers
        C/M.on_fit_start
        C/M.on_sanity_check_start, val_loop.run, C/M.on_sanity_check_end    # if `num_sanity_val_steps`
        C/M.on_train_start
    advance, for each epoch:
        C/M.on_train_epoch_start
        epoch_loop.run(model, train_dataloaders, val_dataloaders)
        C/M.training_epoch_end(outputs)                   # only for this are outputs kept
    on_advance_end:
        C/M.on_train_epoch_end
        schedulers with the interval `epoch`, by the metrics of the epoch
        those metrics to the loggers
    on_run_end:
        C/M.on_train_end
        C/M.on_fit_end
    ```

    Before and after that, `configure_callbacks`, `prepare_data`, `setup`,
    `configure_model`, `on_exception` and `teardown` are called: see `open_run`.

    It stops for the reasons of `stop_reason`, of which one line is logged.  A run starts anew, at
    zero, unless state was loaded.  `run(..., resume=True)` goes on where the last run of this loop
    ended, at its next epoch, with the states of its optimizers and schedulers: raise a limit first.

    `run(..., ckpt_path=path)` goes on from a checkpoint: `last` or `best` of those that a `ModelCheckpoint` has
    saved, or a path.  It begins where that was taken, and ends with the same bits as a fit that was never
    interrupted; of the hooks above, those of `on_run_start` are called anew, and those of an epoch or a
    validation that was under way are not.  What cannot go on exactly is told by a warning, or is an
    error with `exact=True`.  `last_if_any` is `last`, and begins anew where there is none yet: so a job
    that is queued again has one command.

    A loader may also be given as a function that makes one: it is called when the fit starts, and
    once more every `reload_dataloaders_every_n_epochs`.

    In the main thread Ctrl-C ends a fit after the batch under way, without a validation, with the
    hooks of its end and its result; a second one raises KeyboardInterrupt.

    Args:
        epoch_loop: Trains for one epoch.
        max_epochs: Stop after so many epochs; -1 is no limit; None is what the trainer says.
        max_steps: Stop after so many optimizer steps; -1 is no limit; None is what the trainer says.

    Its output says why it ended and how far it came.
    """

    epoch_loop: Slot[TrainingEpochLoop[M, B, S]] = Slot()
    requires: ClassVar[type[object] | None] = ConfiguresOptimizers
    opens_run = True
    state_fields: ClassVar[tuple[str, ...]] = (
        "epoch_progress",
        "step_progress",
        "skipped_progress",
        "step_progress_of_each",
    )
    transient_fields: ClassVar[tuple[str, ...]] = ("_last_output", "_data", "_continuation", "_resumed", "_idleness")
    points: ClassVar[tuple[str, ...]] = ("begun", "idle", "epoch_start", "epoch", "epoch_end")

    _data: FitData[B]
    _continuation: Continuation | None = None
    _resumed: Continuation | None = None
    _idleness: Idleness

    def __init__(
        self, epoch_loop: TrainingEpochLoop[M, B, S], *, max_epochs: Count | None = None, max_steps: Count | None = None
    ) -> None:
        self.epoch_loop = epoch_loop
        self.max_epochs: int | None = counted(f"{type(self).__name__}.max_epochs", max_epochs, Unit.EPOCHS)
        self.max_steps: int | None = counted(f"{type(self).__name__}.max_steps", max_steps, Unit.STEPS)
        check_count(f"{type(self).__name__}.max_epochs", self.max_epochs)
        check_count(f"{type(self).__name__}.max_steps", self.max_steps)
        self.epoch_progress: Progress[Processed] = Progress()
        self.step_progress: Progress[ReadyCompleted] = step_counter()
        self.skipped_progress: Progress[ReadyCompleted] = step_counter()
        self.step_progress_of_each: Each[Progress[ReadyCompleted]] = Each(step_counter)
        self._last_output: S | None = None

    @typed_connect
    def connect(self, *, epoch_loop: TrainingEpochLoop[M, B, S] | None = None) -> None:
        """Put a loop into the slot; None leaves it as it is."""

    @property
    def limits(self) -> FitLimits:
        """How far this fit goes: this loop's own limits, or the trainer's."""
        config = self.config
        max_steps = config.max_steps if self.max_steps is None or config.fast_dev_run else self.max_steps
        max_epochs = config.max_epochs if self.max_epochs is None or config.fast_dev_run else self.max_epochs
        return FitLimits(
            max_epochs=epochs_of(max_epochs, max_steps, config.max_time),
            max_steps=None if max_steps == -1 else max_steps,
            train_batches=0 if self.epoch_loop.limit == 0 else None,
            min_epochs=config.min_epochs,
            min_steps=config.min_steps,
        )

    @property
    def completed_iterations(self) -> int:
        """How many epochs of the present or last run are completed."""
        return self.epoch_progress.current.completed

    @property
    def run_progress(self) -> RunProgress:
        return RunProgress(self.epoch_progress.total.completed, self.limits.max_epochs, "epochs")

    @property
    def stop_reason(self) -> StopReason | None:
        """Why to stop now; None is to go on."""
        return stop_reason(self.position, self.limits)

    @property
    def position(self) -> FitPosition:
        """How far this fit has come."""
        context = find_context(self)
        return FitPosition(
            epochs=self.epoch_progress.total.completed,
            steps=self.step_progress.total.completed,
            stop_requested=context is not None and context.stop.requested,
            time_is_up=context is not None and context.stop.time_is_up,
            interrupted=context is not None and context.stop.interrupted,
        )

    @property
    def done(self) -> bool:
        return self.stop_reason is not None and not self._goes_on_within_epoch

    @property
    def _goes_on_within_epoch(self) -> bool:
        """Whether the run was saved in an epoch, whose end is still to come whatever its batches have come to."""
        resumed = self.place.resumed
        return resumed is not None and resumed.point not in ("begun", "idle")

    def reset(self) -> None:
        if self.place.resumed is not None:
            return
        self.place.point = "begun"
        if self.restarting or self._resumed is not None:
            self.epoch_progress.reset_on_restart()
            self.step_progress.reset_on_restart()
            self.skipped_progress.reset_on_restart()
            self.step_progress_of_each.reset_on_restart()
        else:
            reset_progress(self)

    def on_run_start(
        self, model: M, train_dataloaders: LoaderSource[B], val_dataloaders: LoadersSource[object] | None
    ) -> None:
        context, resumed = self.context, self.resumed_state
        context.metrics.clear()
        limits = self.limits
        check_minimum("epochs", limits.min_epochs, limits.max_epochs)
        check_minimum("steps", limits.min_steps, limits.max_steps)
        context.max_epochs = limits.max_epochs
        context.epoch = self.epoch_progress.total.completed
        self._last_output = None
        goes_on = self._resumed is not None or any(
            isinstance(loop, Loop) and loop.restarting for _, loop in self.walk()
        )
        if self._resumed is not None or self.restarting:
            self._warn_of_nothing_left()
        validates = self.epoch_loop.can_validate(val_dataloaders)
        self._data = FitData(train_dataloaders, val_dataloaders if validates else None, self.config)
        self._data.load_state_of(resumed.get("data"))
        if not self.done:
            self._load(context.epoch)
        # That the module configures optimizers was checked when the run began.
        module = cast("ConfiguresOptimizers", model)
        automatic = bool(getattr(model, "automatic_optimization", True))
        configured = configure(module, automatic=automatic)
        place_state(configured.optimizers, context.number_type.converts_to)
        if automatic and not configured.optimizers:
            warnings.warn(
                f"{name_of(module.configure_optimizers)} returned None: this fit calls the training step and optimizes "
                "nothing. Return an optimizer, or set `automatic_optimization = False` to say that it is meant.",
                UserWarning,
                stacklevel=2,
            )
        if not automatic:
            check_manual(context, [loop for _, loop in self.walk()])
        self._idleness = Idleness()
        self._idleness.begin(self.step_progress.total.completed)
        context.optimization.stop_counting()
        context.optimization = Optimization(
            configured.optimizers,
            configured.rates,
            automatic,
            self.step_progress,
            limits.max_steps,
            own_scheduler_step=context.listeners.of_module("lr_scheduler_step"),
            scaler=LossScaler(context.device, self.skipped_progress) if context.number_type.scales else None,
            skipped=self.skipped_progress,
            frequencies=configured.frequencies,
            forgets_casts=context.number_type.mixed and not automatic,
            steps_of_each=self.step_progress_of_each.of(len(configured.optimizers)),
        )
        if self._resumed is not None:
            self._resumed.restore(context.optimization)
        if context.resuming is not None and self.place.resumed is not None:
            context.resuming.load_optimization(context)
        context.optimization.start_counting()
        context.guard_against_nonfinite()
        context.hook("on_fit_start")()
        if not self.done and not goes_on:
            self.epoch_loop.check_sanity(model, self._data.val)
        context.hook("on_train_start")()
        context.validated_at = monotonic()
        self._go_on(resumed)
        if self.passed("idle"):
            if self._resumed is not None:
                self._resumed.arrived()
        elif self.place.resumed is None:
            self.mark("idle")

    def advance(
        self, model: M, train_dataloaders: LoaderSource[B], val_dataloaders: LoadersSource[object] | None
    ) -> None:
        context = self.context
        context.epoch = self.epoch_progress.total.completed
        resumed = self.place.resumed is not None
        if not resumed:
            self.epoch_progress.increment_ready()
        self._load(context.epoch)
        tell_epoch(self._data.train, context.epoch)
        if not self.passed("epoch_start"):
            context.hook("on_train_epoch_start")()
            self.epoch_progress.increment_started()
            self.mark("epoch_start")
        if not self.passed("epoch"):
            epoch = self.epoch_loop.run(model, self._data.train, self._data.val)
            self.epoch_progress.increment_processed()
            self._take_metrics(epoch)
            if epoch.outputs is not None:
                context.hook("training_epoch_end")(epoch.outputs)
            self.mark("epoch")

    def on_advance_end(self) -> None:
        context = self.context
        if not self.passed("epoch_end"):
            context.hook("on_train_epoch_end")()
            self.mark("epoch_end")
        # Where Ctrl-C left out a validation, a metric that a scheduler waits for may not be there.
        context.optimization.step_epoch_rates(context.current_metrics, lenient=context.stop.interrupted)
        self._publish()
        self.epoch_progress.increment_completed()
        context.stop.apply()
        self._check_progress()
        self.mark("idle")

    def on_run_end(self) -> FitResult[S]:
        context = self.context
        context.hook("on_train_end")()
        context.hook("on_fit_end")()
        self._publish()
        self.mark("idle")
        warn_of_precision(context, self.epoch_loop.batch_progress.total.ready)
        result = FitResult(
            stop_reason=self.stop_reason or StopReason.LEFT,
            epochs=self.epoch_progress.total.completed,
            batches=self.epoch_loop.batch_progress.total.completed,
            optimizer_steps=self.step_progress.total.completed,
            skipped_steps=self.skipped_progress.total.completed,
            metrics=dict(context.metrics),
            last_output=self._last_output,
            steps_by_optimizer=context.optimization.steps_by_optimizer,
        )
        counts = result.epochs, result.batches, result.optimizer_steps
        logger.info("fit ended (%s): %d epochs, %d batches, %d optimizer steps", result.stop_reason, *counts)
        return result

    def teardown(self) -> None:
        self._last_output = None
        vars(self).pop("_data", None)
        vars(self).pop("_idleness", None)

    def run(
        self,
        model: M,
        train_dataloaders: LoaderSource[B],
        val_dataloaders: LoadersSource[object] | None = None,
        *,
        resume: bool = False,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> FitResult[S]:
        self._check_epoch_loop()
        unused = () if self.epoch_loop.can_validate(val_dataloaders) else ("epoch_loop.val_loop",)
        with (
            open_run(self, Stage.FIT, model, unused, resumed_from(ckpt_path, exact)) as context,
            training(model, self.config.detect_anomaly),
            lent(unwrapped(model), context),
        ):
            where = self.path or type(self).__name__
            if resume:
                self._resumed = check_continuation(where, self._continuation, model, restarting=self.restarting)
                context.saver.order = max(context.saver.order, self._resumed.order)
                self.place.resumed = self._resumed.place
            self._continuation = None
            limits = self.limits
            context.fitting = True
            context.stop.begin(lambda: limits.may_stop(self.position), seconds_of(self.config.max_time))
            try:
                with interruptible(context.stop.interrupt), saving_on_signals(context), saved_when_it_fails(context):
                    result = super().run(model, train_dataloaders, val_dataloaders)
                came_to = {"epochs": result.epochs, "stop_reason": str(result.stop_reason)}
                self._continuation = Continuation.after(model, context.optimization, self.run_state, came_to)
                if self.parent is not None:
                    self.place.leave()  # a fit that is the whole can still be saved when it is torn down
                    self._leave_loops_around()
                return result
            finally:
                self._resumed = None
                context.fitting = False
                context.stop_guarding()
                context.stop.end()

    def _check_epoch_loop(self) -> None:
        loop: object = self.epoch_loop
        if not isinstance(loop, TrainingEpochLoop):
            raise LoopTreeError(
                f"{type(self).__name__}.epoch_loop",
                f"it needs a TrainingEpochLoop, got {type(loop).__name__}",
                "Put what trains on a batch into one: FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(...))).",
            )

    def _leave_loops_around(self) -> None:
        """Do not let a loop of one's own go on after an interrupt, with a fit that was cut as if it were whole.

        Raises:
            KeyboardInterrupt: The fit was interrupted, and no fit around it ends by itself.
        """
        own = self.context  # a fit within a run of the same module is not a fit around itself
        around = [context for context in contexts_of(self.parent) if context is not own] if self.parent else []
        if own.stop.interrupted and not any(context.fitting for context in around):
            raise KeyboardInterrupt

    def run_state(self) -> dict[str, object]:
        """What the fit knows besides: its metrics, its times, its loaders, a stop that it was asked for."""
        return {
            **fit_state(self.context),
            # What ended the fit, or is about to, does not end one that goes on from its end; within another loop
            # it is that which goes on.
            "stop": self.context.stop.requested and (self.parent is not None or not self.done),
            "data": self._data.state_dict(),
            "idleness": self._idleness.state_dict(),
            "last_output": self._last_output if is_data(self._last_output) else None,
        }

    def _go_on(self, resumed: Mapping[str, object]) -> None:
        """Take up what `run_state` gave where the run was saved."""
        if resumed:
            take_up(self.context, resumed)
            self._idleness.load_state_dict(cast("Mapping[str, object]", resumed["idleness"]))
            self._last_output = self.context.on_device(cast("S | None", resumed["last_output"]))

    @property
    def ended(self) -> Continuation | None:
        """What the last fit of this loop leaves behind, if it came to its end and its module is still there."""
        ended = self._continuation
        return None if ended is None or ended.module is None else ended

    def go_on_from(self, continuation: Continuation) -> None:
        """Let the next `run(..., resume=True)` go on from there."""
        self._continuation = continuation

    def _load(self, epoch: int) -> None:
        """Have the loaders for this epoch."""
        if self._data.load(epoch):
            self.epoch_loop.check_validation(self._data.val)

    def _warn_of_nothing_left(self) -> None:
        if self.done and (reason := self.stop_reason):
            if self.place.resumed is None:
                self.context.resuming = None  # there is no place to come to
            elif self.parent is not None:
                return  # it was saved at its end, and the loop around it goes on
            where = self.path or type(self).__name__
            warnings.warn(nothing_left(where, reason, self.limits, self.position), UserWarning, stacklevel=2)

    def _publish(self) -> None:
        """Give what was logged since the last time to the trainer, and count anew."""
        context = self.context
        context.publish(context.training_metrics.compute())
        context.training_metrics.clear()

    def _check_progress(self) -> None:
        """Refuse to go on for ever: steps are the only limit, and none was taken.

        Raises:
            ConfigurationError: So it is.
        """
        limits = self.limits
        self._idleness.see(self.step_progress.total.completed)
        if self._idleness.epochs == 1:
            batches = self.epoch_loop.batch_progress.current.completed
            loops_step = any(isinstance(loop, AutomaticOptimization) for _, loop in self.walk())
            warn_of_idleness(self.path or type(self).__name__, self.context, batches, loops_step=loops_step)
        if limits.max_epochs is None and limits.max_steps is not None and not self.done:
            self._idleness.check(limits.max_steps)

    def _take_metrics(self, epoch: EpochResult[S]) -> None:
        """Make the scalars of the last step metrics; what was logged under the same name goes first."""
        if epoch.batches:
            self._last_output = detached(epoch.last_output)
        context = self.context
        take_training_scalars(context, epoch.last_output if epoch.scalars is None else epoch.scalars)
        context.metrics.update(context.training_metrics.compute())
