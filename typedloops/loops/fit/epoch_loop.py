"""One epoch of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import ClassVar, Generic, cast

from typing_extensions import Never, TypeVar

from typedloops._core import BatchStatus
from typedloops._core.calls import AnyCallable
from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.slot import Slot
from typedloops.loops.evaluation import ValidationLoop
from typedloops.loops.fit.batch_loop import TrainingBatchLoop
from typedloops.loops.fit.restart import reset_progress
from typedloops.loops.fit.result import detached
from typedloops.loops.fit.step_loop import bind
from typedloops.loops.fit.validations import Validations
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.interrupt import EvaluationLeft
from typedloops.loops.run.metrics import Scalar, training_scalars
from typedloops.loops.run.over_batches import BatchesLoop, BatchEvents, BatchSource
from typedloops.loops.run.saving.data import is_data
from typedloops.loops.run.settings.config import BatchCount, BatchLimit, check_limit
from typedloops.loops.run.settings.durations import Unit, counted
from typedloops.loops.run.settings.limits import leaves_nothing
from typedloops.protocols.data import Loaders, LoadersSource
from typedloops.protocols.module import ValidationModule

M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
S = TypeVar("S", default=object)


@dataclass(frozen=True)
class EpochResult(Generic[S]):
    """One epoch of training.

    Args:
        status: Why it ended.
        batches: How many batches were trained on.
        last_output: The output of the last batch; None when there was none.
        outputs: Those of all batches, detached, if there is a hook `training_epoch_end`; otherwise None.
        scalars: Those of the last output by their names as metrics, where that was given before the run was
            resumed and no checkpoint could hold it; otherwise None.
    """

    status: BatchStatus
    batches: int
    last_output: S | None
    outputs: list[S] | None = None
    scalars: Mapping[str, Scalar] | None = None


class TrainingEpochLoop(BatchesLoop[[M, Iterable[B], "Loaders[object] | None"], EpochResult[S]], Generic[M, B, S]):
    """Trains on the batches of one epoch, and validates at its end or within.

    ```
    advance:
        batch = next(batches)
        M.on_before_batch_transfer, M.transfer_batch_to_device, M.on_after_batch_transfer
        C/M.on_train_batch_start(batch, batch_idx)        # M returning -1 ends the epoch
        output = batch_loop.run(model, batch, batch_idx)
        schedulers with the interval `step`, if their optimizer has stepped, but for plateau ones
        C/M.on_train_batch_end(output, batch, batch_idx)
        val_loop.run(model, val_dataloaders)              # where `val_check_interval` is within the epoch
        plateau schedulers with the interval `step`
    on_run_end:
        val_loop.run(model, val_dataloaders)              # where it is the end of every n-th epoch
        plateau schedulers with the interval `step`, if they have waited for it
    ```

    Args:
        batch_loop: Trains on one batch.
        val_loop: Validates.
        limit_batches: How many batches at most; None is what the trainer says.

    Its output says why it ended, how many batches it had, and what the last one gave.
    """

    transient_fields: ClassVar[tuple[str, ...]] = (
        "_validation",
        "_validations",
        "_outputs",
        "_resumed_output",
        "_resumed_scalars",
    )
    points: ClassVar[tuple[str, ...]] = ("begun", "batch", "validation", "validated", "end", "end_validation")
    batch_loop: Slot[TrainingBatchLoop[M, B, S]] = Slot()
    val_loop: Slot[ValidationLoop] = Slot()

    _validations: Validations | None = None
    _outputs: list[S] | None = None
    _resumed_output: S | None = None
    _resumed_scalars: Mapping[str, Scalar] | None = None

    def __init__(
        self,
        batch_loop: TrainingBatchLoop[M, B, S],
        val_loop: ValidationLoop | None = None,
        *,
        limit_batches: BatchCount | None = None,
    ) -> None:
        super().__init__()
        limit: BatchLimit | None = counted(f"{type(self).__name__}.limit_batches", limit_batches, Unit.BATCHES)
        check_limit(f"{type(self).__name__}.limit_batches", limit)
        self.batch_loop = batch_loop
        self.val_loop = ValidationLoop() if val_loop is None else val_loop
        self.limit_batches = limit

    @typed_connect
    def connect(
        self, *, batch_loop: TrainingBatchLoop[M, B, S] | None = None, val_loop: ValidationLoop | None = None
    ) -> None:
        """Put loops into the slots; None leaves a slot as it is."""

    @property
    def limit(self) -> BatchLimit:
        """How many batches of an epoch at most: this loop's own limit, or the trainer's."""
        config, own = self.config, self.limit_batches
        return config.limit_train_batches if own is None or config.fast_dev_run else own

    def on_run_start(self, model: M, train_dataloaders: Iterable[B], val_dataloaders: Loaders[object] | None) -> None:
        context = self.context
        optimization = context.optimization
        resumed = self.resumed_state
        if self.place.resumed is None:
            optimization.begin_epoch()
        self._validation = (model, val_dataloaders)
        source = self.open("train dataloader", train_dataloaders, self.limit)
        self._validations = self._validations_of(source, val_dataloaders)
        step = bind(self.batch_loop, model)
        self.drive(
            source,
            step if context.guard is None else context.guard.watch(step, context.epoch),
            stop_flag=context.stop.flag,
            steps=optimization.steps.total,
            max_steps=optimization.max_steps,
            events=BatchEvents(
                before=context.listeners.of_callbacks("on_train_batch_start"),
                consume=self._take_metrics if optimization.monitors_steps else None,
                gate=context.listeners.of_module("on_train_batch_start"),
                after_step=self._after_step(),
                after=(
                    *self._keeping_outputs(resumed),
                    *context.hook("on_train_batch_end").listeners,
                    *self._after_batch(),
                ),
            ),
        )
        self._resumed_output = context.on_device(cast("S | None", resumed.get("last_output")))
        self._resumed_scalars = context.on_device(cast("Mapping[str, Scalar] | None", resumed.get("last_scalars")))
        self.passed("begun")
        self.passed("batch")
        if self.passed("validation") and not self.passed("validated"):
            self._validate_within()

    def run_state(self) -> dict[str, object]:
        state = super().run_state()
        if self.place.point in ("end", "end_validation") and self.driver.status is BatchStatus.RUNNING:
            state["status"] = int(BatchStatus.STOPPED)  # the loop was left by itself, and has no more batches
        if self._outputs is not None:
            state["outputs"] = list(self._outputs)
        ends = self.batch_progress.is_last_batch or self.driver.status is not BatchStatus.RUNNING
        if ends and is_data(self._last_output):
            state["last_output"] = detached(self._last_output)
        if ends:
            state["last_scalars"] = self._last_scalars()
        return state

    @property
    def batch_at_hand(self) -> object:
        batch_loop: object = self.batch_loop
        return batch_loop.batch_at_hand if isinstance(batch_loop, TrainingBatchLoop) else None

    @property
    def _last_output(self) -> S | None:
        """That of the last batch; the driver only knows that outputs are those of the step that it was given."""
        output = cast("S | None", self.driver.last_output)
        return self._resumed_output if output is None else output

    def _last_scalars(self) -> Mapping[str, Scalar] | None:
        """Those of a last output that no checkpoint can hold, since metrics are made of them at the end."""
        if self._last_output is None:
            return self._resumed_scalars
        return None if is_data(self._last_output) else detached(training_scalars(self._last_output))

    def _keeping_outputs(self, resumed: Mapping[str, object]) -> tuple[AnyCallable, ...]:
        """What keeps the output of each batch, if anybody wants them at the end of the epoch."""
        self._outputs = None
        if not len(self.context.hook("training_epoch_end")):
            return ()
        outputs = list(self.context.on_device(cast("list[S]", resumed.get("outputs", []))))
        self._outputs = outputs

        def keep(output: S, batch: B, batch_idx: int) -> None:
            outputs.append(detached(output))

        return (keep,)

    def _validations_of(self, source: BatchSource[B], val_dataloaders: Loaders[object] | None) -> Validations | None:
        """When to validate within this epoch; None is not."""
        context, cadence = self.context, self.config.cadence
        if cadence.at_end or not self.can_validate(val_dataloaders):
            return None
        every = cadence.every(source.batches)
        return Validations(context, cadence, every, self.batch_progress) if cadence.includes(context.epoch) else None

    @property
    def batches_to_go(self) -> int:
        return -1 if self._validations is None else self._validations.batches_to_go

    def on_batches(self) -> None:
        if self._validations is not None and self._validations.due:
            self.mark("validation")
            self._validate_within()
        else:
            self.mark("batch")

    def _validate_within(self) -> None:
        self._validate()
        self.mark("validated")

    def _after_batch(self) -> tuple[Callable[[S, B, int], None], ...]:
        """What is called at the very end of each batch: plateau schedulers, unless a validation comes next."""
        if not self.context.optimization.has_plateau_rates:
            return ()

        def after_batch(output: S, batch: B, batch_idx: int) -> None:
            if not self._validation_comes_next:
                self._step_plateau_rates()

        return (after_batch,)

    def _step_plateau_rates(self) -> None:
        self.context.optimization.step_plateau_rates(self.context.current_metrics)

    def _after_step(self) -> Callable[[], None] | None:
        """What is called after each step: schedulers, and a look at whether to stop where that can come of a step."""
        context, config = self.context, self.config
        step_rates = context.optimization.after_step(context.current_metrics)
        if config.max_time is None and config.min_steps == 0:
            return step_rates

        def after_step() -> None:
            if step_rates is not None:
                step_rates()
            context.stop.apply()

        return after_step

    def _take_metrics(self, output: object, batch: B, batch_idx: int) -> None:
        take_training_scalars(self.context, output)

    def on_run_end(self) -> EpochResult[S]:
        if not self.passed("end"):
            self.check_ran()
            if self.context.guard is not None:
                self.context.guard.look(wait=True)
            self.mark("end")
        if self._validates_at_end() and not self.passed("end_validation"):
            self._validate()
            self.mark("end_validation")
        result = EpochResult(
            self.driver.status,
            self.batch_progress.current.completed,
            self._last_output,
            self._outputs,
            None if self._last_output is not None else self._resumed_scalars,
        )
        self._outputs = self._resumed_output = self._resumed_scalars = None
        return result

    def check_sanity(self, model: M, val_dataloaders: Loaders[object] | None) -> None:
        """See, before training, whether a validation works; nothing of it is kept."""
        context, batches = self.context, self.config.num_sanity_val_steps
        if batches == 0 or not self.can_validate(val_dataloaders):
            return
        with context.sanity_check(batches):
            context.hook("on_sanity_check_start")()
            self._validate_on(model, val_dataloaders)
            context.hook("on_sanity_check_end")()
        val_loop: object = self.val_loop
        if isinstance(val_loop, LoopNode):
            reset_progress(val_loop)

    def _validate(self) -> None:
        self._validate_on(*self._validation)
        self.context.validated_at = monotonic()
        # Where Ctrl-C left the validation out, the metric that they wait for may not be there.
        if not self.context.stop.interrupted:
            self._step_plateau_rates()

    def _validate_on(self, model: M, val_dataloaders: Loaders[object] | None) -> None:
        if self.context.stop.interrupted:
            return
        # An interrupted validation is left, and the fit ends by itself.
        with suppress(EvaluationLeft):
            # That the module can be validated was checked when the run began.
            self.val_loop.run(cast("ValidationModule[Never]", model), cast("Loaders[Never]", val_dataloaders))

    def can_validate(self, val_dataloaders: LoadersSource[object] | None) -> bool:
        """Whether these loaders, if any, leave something to validate on."""
        # At run time any loop may be in the slot.
        return val_dataloaders is not None and not leaves_nothing(getattr(self.val_loop, "limit", None))

    def check_validation(self, val_dataloaders: Loaders[object] | None) -> None:
        """Say now what is wrong with the validation loaders, not after an epoch of training."""
        val_loop: object = self.val_loop
        if val_dataloaders is not None and isinstance(val_loop, ValidationLoop):
            val_loop.loaders(val_dataloaders)

    def _validates_at_end(self) -> bool:
        cadence = self.config.cadence
        return cadence.at_end and cadence.includes(self.context.epoch) and self.can_validate(self._validation[1])

    @property
    def _validation_comes_next(self) -> bool:
        """Whether a validation comes right after the batch under way."""
        if self._validations is not None:
            return self._validations.comes_next
        return self.batch_progress.is_last_batch and self._validates_at_end()

    def teardown(self) -> None:
        super().teardown()
        vars(self).pop("_validation", None)
        self._validations = None
        self._outputs = self._resumed_output = self._resumed_scalars = None


def take_training_scalars(context: RunContext, output: object) -> None:
    """Make the scalars of a training step metrics; what is logged under the same name goes first.

    Those of each of several optimizers become metrics of its own: `train_loss/optimizer_idx_0`.
    """
    context.training_metrics.take_scalars(training_scalars(output), "train_loss")
    for index, scalars in context.optimization.scalars.items():
        named = {f"{name}/optimizer_idx_{index}": value for name, value in scalars.items()}
        context.training_metrics.take_scalars(named, "train_loss")
