"""The trainer."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, cast

from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Self, TypeVar

from typedloops._core.calls import AnyCallable
from typedloops.errors import LoopTreeError, MisuseError
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode, check_is_idle, check_is_loop
from typedloops.loops.evaluation import TestLoop, ValidationLoop
from typedloops.loops.fit import FitLoop, FitLoopOf
from typedloops.loops.prediction import PredictionLoop
from typedloops.loops.run.computing.precision import Precision
from typedloops.loops.run.computing.torch_settings import MatmulPrecision
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.given import without_savers
from typedloops.loops.run.listeners import Listeners, checked_callbacks
from typedloops.loops.run.metrics import MetricValues
from typedloops.loops.run.opening import open_run
from typedloops.loops.run.saving.requests import SaveRequest
from typedloops.loops.run.saving.sources import ResumeFrom
from typedloops.loops.run.settings.cadence import Interval
from typedloops.loops.run.settings.config import BatchCount, BatchCounts, RunConfig, Weigh
from typedloops.loops.run.settings.durations import Count, Time, Unit, counted
from typedloops.loops.run.settings.limits import counted_limits
from typedloops.protocols.checkpoint import CheckpointFormat
from typedloops.protocols.logger import Logger
from typedloops.protocols.module import Scheduler
from typedloops.protocols.trainer import ClipAlgorithm, NonFinite, Reduction, RunningLoop, Stage
from typedloops.trainer.checked import checked_format, checked_loggers
from typedloops.trainer.entry import AnyEntryLoop, HasFitLoop, HasPredictLoop, HasTestLoop, HasValidateLoop
from typedloops.trainer.summary import RunSummary

if TYPE_CHECKING:
    from typedloops.protocols.hooks import CallbackProtocol

FL = TypeVar("FL", bound=AnyEntryLoop, default=FitLoop)
VL = TypeVar("VL", bound=AnyEntryLoop, default=ValidationLoop)
TL = TypeVar("TL", bound=AnyEntryLoop, default=TestLoop)
PL = TypeVar("PL", bound=AnyEntryLoop, default=PredictionLoop)
L = TypeVar("L", bound=AnyEntryLoop)
F = TypeVar("F", bound=AnyCallable)

ENTRY_LOOP_OF = {
    Stage.FIT: "fit_loop",
    Stage.VALIDATE: "validate_loop",
    Stage.TEST: "test_loop",
    Stage.PREDICT: "predict_loop",
}


def _module_in(args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
    """The module among the inputs of an entry loop of any kind: `model`, or the first that is one, or the first."""
    inputs = (*args, *kwargs.values())
    first = next((value for value in inputs if isinstance(value, nn.Module)), inputs[0] if inputs else None)
    return kwargs.get("model", first)


def nothing_runs(what: str) -> MisuseError:
    return MisuseError(f"trainer.{what}", "nothing is running", "Use it from a hook, a step or a loop of a run.")


class Trainer(Generic[FL, VL, TL, PL]):
    """Runs modules through four loops, one for each entry point.

    | call       | runs                    | by default       |
    |------------|-------------------------|------------------|
    | `fit`      | `trainer.fit_loop`      | `FitLoop`        |
    | `validate` | `trainer.validate_loop` | `ValidationLoop` |
    | `test`     | `trainer.test_loop`     | `TestLoop`       |
    | `predict`  | `trainer.predict_loop`  | `PredictionLoop` |

    An entry point takes what the `run` of its loop takes and returns what that returns.
    A loop that has a value of its own for a setting uses that instead of the trainer's.
    What counts something may also be given with its unit: `max_epochs="10ep"`,
    `max_steps="500st"`, `limit_val_batches="20ba"`, or a `Duration`.

    Args:
        max_epochs: Stop a fit after so many epochs; -1 is no limit; None is 1000, or no limit
            when `max_steps` or `max_time` is given.
        max_steps: Stop a fit after so many optimizer steps, those of all optimizers together; -1 is no limit.
        max_time: Stop a fit after the batch at whose end it has taken so long: a `timedelta`, or
            `"DD:HH:MM:SS"`.
        min_epochs: Honour a request to stop only after so many epochs.
        min_steps: Honour a request to stop only after so many optimizer steps.
        limit_train_batches: Batches of an epoch of training: an int counts them, a float is
            a share of the loader.
        limit_val_batches: Batches of each validation loader, likewise; a list has one limit for each.
        limit_test_batches: Batches of each test loader, likewise.
        limit_predict_batches: Batches of each prediction loader, likewise.
        check_val_every_n_epoch: Validate in every n-th epoch of a fit; None counts
            `val_check_interval` across epochs.
        val_check_interval: Validate after so many batches (an int), such a share of the epoch (a
            float; 1.0 is at its end), so many epochs (`"2ep"`), or so much time (a `timedelta`,
            `"DD:HH:MM:SS"`).
        overfit_batches: Train and validate on the first so many batches, or such a share; those
            trained on are the same in each epoch and kept in memory.  0 is off.
        reload_dataloaders_every_n_epochs: Call the functions that were given to make loaders once
            more every n epochs of a fit; 0 is only at its start.
        num_sanity_val_steps: Before training validate on so many batches of each loader, of which
            nothing is kept; -1 is all, 0 none.
        accumulate_grad_batches: Add up the gradients of so many batches for each optimizer step,
            or of so many from certain epochs on (`{0: 1, 5: 4}`); the last window of an epoch may
            be shorter.  The reported loss is that of the batch.
        accumulation_weight: How much a batch counts among those of its step, `lambda batch:
            len(batch[0])` say; by default all the same.
        gradient_clip_val: The largest size of gradients before each step, or None.
        gradient_clip_algorithm: What is not to be larger: the `norm` of all together, or each
            `value`.
        inference_mode: Evaluate under `torch.inference_mode`; False is `torch.no_grad`.
        detect_anomaly: Let autograd say in a fit which operation made a gradient that is not a
            number; slow.
        detect_nonfinite: Raise a `NonFiniteError` that says in which batch the `loss` was infinite or
            not a number, and with `gradients` also which parameter's gradient, with `modules` also
            which submodule's output; without waiting for the device.
        fast_dev_run: Rehearse: one epoch with so many batches of everything, whatever the other
            limits and those of the loops say, and without loggers and `ModelCheckpoint`.  True is one batch.
        precision: The type of numbers: `32-true`, `16-mixed`, `bf16-mixed` (autocast, weights in 32
            bits), `16-true`, `bf16-true` or `64-true` (module and batches, converted).  With
            `16-mixed` losses are scaled, and a step whose gradients are not finite is skipped.
        accelerator: Where module and batches are moved: `auto` is an accelerator if there is one,
            `cpu`, `gpu`, or a device of torch as in `cuda:1`.
        float32_matmul_precision: How 32-bit matrices are multiplied during a run: `highest`, `high`
            or `medium`; None leaves it as torch has it.
        deterministic: Use deterministic algorithms only during a run; `warn` says where there is
            none.
        benchmark: Let cuDNN look for the fastest algorithms during a run; not by default in a
            deterministic one.
        callbacks: Objects with hooks, called in this order.
        loggers: Where metrics go.
        checkpoint_format: How checkpoints are kept; by default as `FolderFormat` keeps them.
        fit_loop: The loop that `fit` runs.
        validate_loop: The loop that `validate` runs.
        test_loop: The loop that `test` runs.
        predict_loop: The loop that `predict` runs.

    Raises:
        ConfigurationError: A setting can never work.
        LoopTreeError: A loop is none, or has another place already.
    """

    def __init__(
        self,
        *,
        max_epochs: Count | None = None,
        max_steps: Count = -1,
        max_time: Time | None = None,
        min_epochs: Count = 0,
        min_steps: Count = 0,
        limit_train_batches: BatchCount = 1.0,
        limit_val_batches: BatchCounts = 1.0,
        limit_test_batches: BatchCounts = 1.0,
        limit_predict_batches: BatchCounts = 1.0,
        check_val_every_n_epoch: Count | None = 1,
        val_check_interval: Interval = 1.0,
        overfit_batches: BatchCount = 0,
        reload_dataloaders_every_n_epochs: int = 0,
        num_sanity_val_steps: int = 0,
        accumulate_grad_batches: Count | Mapping[int, int] = 1,
        accumulation_weight: Weigh | None = None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: ClipAlgorithm = "norm",
        inference_mode: bool = True,
        detect_anomaly: bool = False,
        detect_nonfinite: NonFinite | None = None,
        fast_dev_run: int | bool = False,
        precision: Precision = "32-true",
        accelerator: str = "auto",
        float32_matmul_precision: MatmulPrecision | None = None,
        deterministic: bool | Literal["warn"] | None = None,
        benchmark: bool | None = None,
        callbacks: Sequence[CallbackProtocol] = (),
        loggers: Sequence[Logger] = (),
        checkpoint_format: CheckpointFormat | None = None,
        fit_loop: FL | None = None,
        validate_loop: VL | None = None,
        test_loop: TL | None = None,
        predict_loop: PL | None = None,
    ) -> None:
        self.config: RunConfig = RunConfig(
            max_epochs=counted("max_epochs", max_epochs, Unit.EPOCHS),
            max_steps=counted("max_steps", max_steps, Unit.STEPS),
            max_time=max_time,
            min_epochs=counted("min_epochs", min_epochs, Unit.EPOCHS),
            min_steps=counted("min_steps", min_steps, Unit.STEPS),
            limit_train_batches=counted("limit_train_batches", limit_train_batches, Unit.BATCHES),
            limit_val_batches=counted_limits("limit_val_batches", limit_val_batches),
            limit_test_batches=counted_limits("limit_test_batches", limit_test_batches),
            limit_predict_batches=counted_limits("limit_predict_batches", limit_predict_batches),
            check_val_every_n_epoch=counted("check_val_every_n_epoch", check_val_every_n_epoch, Unit.EPOCHS),
            val_check_interval=val_check_interval,
            overfit_batches=counted("overfit_batches", overfit_batches, Unit.BATCHES),
            reload_dataloaders_every_n_epochs=reload_dataloaders_every_n_epochs,
            num_sanity_val_steps=num_sanity_val_steps,
            accumulate_grad_batches=counted("accumulate_grad_batches", accumulate_grad_batches, Unit.BATCHES),
            accumulation_weight=accumulation_weight,
            gradient_clip_val=gradient_clip_val,
            gradient_clip_algorithm=gradient_clip_algorithm,
            inference_mode=inference_mode,
            detect_anomaly=detect_anomaly,
            detect_nonfinite=detect_nonfinite,
            fast_dev_run=fast_dev_run,
            precision=precision,
            accelerator=accelerator,
            float32_matmul_precision=float32_matmul_precision,
            deterministic=deterministic,
            benchmark=benchmark,
        ).rehearsal()
        self._callbacks = cast(
            "tuple[CallbackProtocol, ...]", without_savers(checked_callbacks(callbacks), self.config)
        )
        self._loggers = () if self.config.fast_dev_run else checked_loggers(loggers)
        self._checkpoint_format = checked_format(checkpoint_format)
        self._resume_from: ResumeFrom | None = None
        self._runs: list[RunContext] = []
        self._last_run = RunSummary()
        self._last_fit = RunSummary()
        # A loop that is not given is the default of its type variable.
        self._fit_loop = cast("FL", FitLoop()) if fit_loop is None else fit_loop
        self._validate_loop = cast("VL", ValidationLoop()) if validate_loop is None else validate_loop
        self._test_loop = cast("TL", TestLoop()) if test_loop is None else test_loop
        self._predict_loop = cast("PL", PredictionLoop()) if predict_loop is None else predict_loop
        self._attach_all()

    @property
    def fit_loop(self) -> FL:
        """The loop that `fit` runs; another of its kind may be assigned, `with_fit_loop` takes any."""
        return self._fit_loop

    @fit_loop.setter
    def fit_loop(self, loop: FL) -> None:
        self._attach("fit_loop", loop, before=self._fit_loop)
        self._fit_loop = loop

    @property
    def validate_loop(self) -> VL:
        """The loop that `validate` runs."""
        return self._validate_loop

    @validate_loop.setter
    def validate_loop(self, loop: VL) -> None:
        self._attach("validate_loop", loop, before=self._validate_loop)
        self._validate_loop = loop

    @property
    def test_loop(self) -> TL:
        """The loop that `test` runs."""
        return self._test_loop

    @test_loop.setter
    def test_loop(self, loop: TL) -> None:
        self._attach("test_loop", loop, before=self._test_loop)
        self._test_loop = loop

    @property
    def predict_loop(self) -> PL:
        """The loop that `predict` runs."""
        return self._predict_loop

    @predict_loop.setter
    def predict_loop(self, loop: PL) -> None:
        self._attach("predict_loop", loop, before=self._predict_loop)
        self._predict_loop = loop

    def with_fit_loop(self, fit_loop: L) -> Trainer[L, VL, TL, PL]:
        """A trainer like this one with another fit loop, of any kind, and the type that follows from it.

        The other three loops are shared: the trainer that ran last is their `trainer`.
        """
        return cast("Trainer[L, VL, TL, PL]", self._with("fit_loop", fit_loop))

    def with_validate_loop(self, validate_loop: L) -> Trainer[FL, L, TL, PL]:
        """A trainer like this one with another validate loop; see `with_fit_loop`."""
        return cast("Trainer[FL, L, TL, PL]", self._with("validate_loop", validate_loop))

    def with_test_loop(self, test_loop: L) -> Trainer[FL, VL, L, PL]:
        """A trainer like this one with another test loop; see `with_fit_loop`."""
        return cast("Trainer[FL, VL, L, PL]", self._with("test_loop", test_loop))

    def with_predict_loop(self, predict_loop: L) -> Trainer[FL, VL, TL, L]:
        """A trainer like this one with another predict loop; see `with_fit_loop`."""
        return cast("Trainer[FL, VL, TL, L]", self._with("predict_loop", predict_loop))

    if TYPE_CHECKING:

        @property
        def fit(self: HasFitLoop[F]) -> F:
            """Run `fit_loop`: takes and returns what its `run` does."""
            ...

        @property
        def validate(self: HasValidateLoop[F]) -> F:
            """Run `validate_loop`: takes and returns what its `run` does."""
            ...

        @property
        def test(self: HasTestLoop[F]) -> F:
            """Run `test_loop`: takes and returns what its `run` does."""
            ...

        @property
        def predict(self: HasPredictLoop[F]) -> F:
            """Run `predict_loop`: takes and returns what its `run` does."""
            ...

    else:

        def fit(self, *args, **kwargs):
            """Run `fit_loop`: takes and returns what its `run` does."""
            return self._enter(Stage.FIT, self._fit_loop, args, kwargs)

        def validate(self, *args, **kwargs):
            """Run `validate_loop`: takes and returns what its `run` does."""
            return self._enter(Stage.VALIDATE, self._validate_loop, args, kwargs)

        def test(self, *args, **kwargs):
            """Run `test_loop`: takes and returns what its `run` does."""
            return self._enter(Stage.TEST, self._test_loop, args, kwargs)

        def predict(self, *args, **kwargs):
            """Run `predict_loop`: takes and returns what its `run` does."""
            return self._enter(Stage.PREDICT, self._predict_loop, args, kwargs)

    @property
    def stage(self) -> Stage | None:
        """What the run under way is for; None when there is none."""
        return self._runs[-1].stage if self._runs else None

    @property
    def sanity_checking(self) -> bool:
        """Whether the validation under way only looks whether one works, before training."""
        return self._fit is not None and self._fit.sanity_checking

    @property
    def running_loops(self) -> Sequence[RunningLoop]:
        """The loops that are in the middle of a run, parents first."""
        if not self._runs:
            return ()
        return [node for _, node in self._runs[0].opened_by.root.walk() if isinstance(node, Loop) and node.under_way]

    @property
    def callbacks(self) -> Sequence[CallbackProtocol]:
        """The callbacks of the run under way in the order in which they are called; see `TrainerView.callbacks`."""
        if not self._runs:
            return self._callbacks
        return cast("tuple[CallbackProtocol, ...]", self._runs[-1].listeners.callbacks)

    @property
    def own_callbacks(self) -> Sequence[CallbackProtocol]:
        """The callbacks that the trainer was given."""
        return self._callbacks

    @property
    def checkpoint_format(self) -> CheckpointFormat:
        """How checkpoints are kept."""
        if self._checkpoint_format is None:
            from typedloops.checkpoint import FolderFormat  # only now: who saves nothing needs none of it

            self._checkpoint_format = FolderFormat()
        return self._checkpoint_format

    @property
    def loggers(self) -> Sequence[Logger]:
        """Where metrics go."""
        return self._loggers

    @property
    def should_stop(self) -> bool:
        """Whether the fit under way is to end: after the batch under way, or once its minimums are met."""
        return bool(self._runs) and (self._runs[-1].stop.requested or self._runs[-1].stop.interrupted)

    @should_stop.setter
    def should_stop(self, stop: bool) -> None:
        if not self._runs:
            raise nothing_runs("should_stop")
        if self._runs[-1].stage is not Stage.FIT:
            raise MisuseError(
                "trainer.should_stop", f"a run of {self._runs[-1].stage} cannot be stopped", "Set it in a fit."
            )
        self._runs[-1].stop.request(stop)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or a signal ends the run under way."""
        return any(run.stop.interrupted for run in self._runs)

    @property
    def current_epoch(self) -> int:
        """The index of the epoch that the last or present fit is or was in."""
        fit = self._fit
        return self._last_fit.epoch if fit is None else fit.epoch

    @property
    def max_epochs(self) -> int | None:
        """How many epochs the last or present fit has at most; None is no limit."""
        fit = self._fit
        return self._last_fit.max_epochs if fit is None else fit.max_epochs

    @property
    def num_batches(self) -> int | None:
        """How many batches the epoch or loader under way has; None when that is not known."""
        return self._runs[-1].num_batches if self._runs else None

    @property
    def global_step(self) -> int:
        """How many optimizer steps the last or present fit has taken."""
        fit = self._fit
        return self._last_fit.steps if fit is None else fit.optimization.steps.total.completed

    @property
    def skipped_steps(self) -> int:
        """How many steps the last or present fit has left out because a gradient was not finite."""
        fit = self._fit
        return self._last_fit.skipped_steps if fit is None else fit.optimization.skipped.total.completed

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """What `configure_optimizers` returned; empty outside a fit."""
        return () if self._fit is None else tuple(self._fit.optimization.optimizers)

    @property
    def schedulers(self) -> Sequence[Scheduler]:
        """The learning-rate schedulers; empty outside a fit."""
        return () if self._fit is None else tuple(rate.scheduler for rate in self._fit.optimization.rates)

    @property
    def gradient_norm(self) -> Tensor | None:
        """The norm of all gradients before the last step clipped it; None if none did."""
        return None if self._fit is None else self._fit.optimization.gradient_norm

    @property
    def metrics(self) -> Mapping[str, float]:
        """The newest value of every metric of the last or present run; reading it may wait for the device."""
        return self._runs[-1].current_metrics() if self._runs else MetricValues(self._last_run.metrics)

    def log(
        self, name: str, value: Tensor | float, *, reduce: Reduction | None = None, batch_size: int | None = None
    ) -> None:
        """Log a scalar under `name`; see `TrainerView.log`."""
        if not self._runs:
            raise nothing_runs(f"log({name!r})")
        self._runs[-1].log(name, value, reduce, batch_size)

    def call_hook(self, name: str, *args: object) -> None:
        """Call a hook of the callbacks, then of the module; see `TrainerView.call_hook`."""
        if not self._runs:
            raise nothing_runs(f"call_hook({name!r})")
        self._runs[-1].hook(name)(*args)

    def save_checkpoint(
        self,
        path: str | os.PathLike[str],
        *,
        weights_only: bool = False,
        asynchronous: bool = False,
        when_written: Callable[[Path], object] | None = None,
    ) -> None:
        """Save the run under way, see `TrainerView.save_checkpoint`; or the end of the last fit.

        From the end of a fit one with higher limits goes on, `fit(..., ckpt_path=path)`.

        Raises:
            MisuseError: There is neither.
        """
        request = SaveRequest(Path(path), weights_only, asynchronous, when_written)
        if self._runs:
            self._runs[-1].saver.ask(request, self._runs[-1])
        else:
            self._save_finished(request)

    def _save_finished(self, request: SaveRequest) -> None:
        """Save the end of the last fit, whose module is still there."""
        loop: object = self._fit_loop
        fit_loop = cast("FitLoopOf", loop) if isinstance(loop, FitLoopOf) else None
        ended = None if fit_loop is None else fit_loop.ended
        if fit_loop is None or ended is None:
            raise MisuseError(
                "trainer.save_checkpoint",
                "nothing is running, and there is no fit that came to its end and whose module is still there",
                "Save from a hook or a loop of a run, or after a fit.",
            )
        listeners = Listeners(self._callbacks, ended.module, self)
        content = ended.content(fit_loop, listeners, weights_only=request.weights_only)
        self.checkpoint_format.save(request.path, content)
        if request.when_written is not None:
            request.when_written(request.path)

    def load_checkpoint(self, path: str | os.PathLike[str], *, exact: bool = False) -> None:
        """Let the next run go on from a checkpoint: what `ckpt_path=` of `fit` does, for entry loops of any kind.

        Args:
            path: Where it is, or `last` or `best` of those that a `ModelCheckpoint` has saved; `last_if_any` lets a
                fit begin anew where there is none yet.
            exact: Whether anything that cannot go on exactly is an error, not a warning.
        """
        self._resume_from = ResumeFrom(path, exact)

    def take_resumption(self) -> ResumeFrom | None:
        """What the run that begins goes on from, once."""
        resume, self._resume_from = self._resume_from, None
        return resume

    def run_began(self, context: RunContext) -> None:
        """A loop has opened a run."""
        self._runs.append(context)

    def run_ended(self, context: RunContext, error: BaseException | None) -> None:
        """The run is over: keep what it came to, and nothing of its module."""
        self._runs.remove(context)
        try:
            self._last_run = RunSummary.of(context)
            if context.stage is Stage.FIT:
                self._last_fit = self._last_run
        finally:
            if not self._runs:
                for logger in self._loggers:
                    logger.finalize("success" if error is None else "failed")

    @property
    def _fit(self) -> RunContext | None:
        return next((run for run in reversed(self._runs) if run.stage is Stage.FIT), None)

    def publish(self, metrics: Mapping[str, float]) -> None:
        """Give metrics to the loggers."""
        for logger in self._loggers:
            logger.log_metrics(metrics, self.global_step)

    def _attach(self, name: str, loop: object, before: object = None) -> None:
        check_is_loop(f"trainer.{name}", loop)
        if before is not loop:
            check_is_idle(f"trainer.{name}", before)
        if isinstance(loop, LoopNode):
            loop.attach(self, name)
        if isinstance(before, LoopNode) and before is not loop:
            before.detach(self)

    def _attach_all(self) -> None:
        places: dict[int, str] = {}
        for name in ENTRY_LOOP_OF.values():
            loop: object = getattr(self, name)
            if (first := places.setdefault(id(loop), name)) != name:
                raise LoopTreeError(
                    f"trainer.{name}", f"this {type(loop).__name__} is already the {first}", "Build another."
                )
            self._attach(name, loop)

    def __getstate__(self) -> dict[str, object]:
        """What is pickled and deeply copied: everything but the runs under way."""
        return {**vars(self), "_runs": []}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._attach_all()

    def __copy__(self) -> Self:
        """A trainer that shares everything, its loops too: the one that ran last is their `trainer`."""
        other = type(self).__new__(type(self))
        vars(other).update(self.__getstate__())
        return other

    def _with(self, name: str, loop: object) -> Self:
        other = copy.copy(self)
        other._runs, other._last_run, other._last_fit = [], RunSummary(), RunSummary()
        other._attach(name, loop)
        vars(other)[f"_{name}"] = loop
        return other

    def _enter(
        self, stage: Stage, loop: AnyEntryLoop, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        if isinstance(loop, LoopNode):
            loop.attach(self, ENTRY_LOOP_OF[stage])
            if not getattr(loop, "opens_run", False):
                with open_run(loop, stage, _module_in(args, kwargs)):
                    return loop.run(*args, **kwargs)
        return loop.run(*args, **kwargs)
