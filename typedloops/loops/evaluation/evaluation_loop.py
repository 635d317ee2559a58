"""Evaluating a module on one loader or several."""

from __future__ import annotations

from typing import ClassVar, Generic

from typing_extensions import TypeVar

from typedloops._core import DataLoaderProgress
from typedloops.loops.config import BatchLimit, check_limit
from typedloops.loops.context import InRun, open_run
from typedloops.loops.evaluation.epoch_loop import EvaluationEpochLoop
from typedloops.loops.evaluation.kind import TEST, VALIDATION, EvaluationKind
from typedloops.loops.evaluation.result import EvaluationResult, LoaderResult
from typedloops.loops.loaders import as_loaders
from typedloops.loops.modes import evaluating
from typedloops.loops.slot import Slot
from typedloops.loops.step import LoaderPosition
from typedloops.protocols.anything import Anything
from typedloops.protocols.data import Loaders
from typedloops.protocols.module import TestModule, ValidationModule

M = TypeVar("M")
B = TypeVar("B")
V = TypeVar("V")


class EvaluationLoop(InRun[[M, Loaders[B]], EvaluationResult], Generic[M, B]):
    """Evaluates a module: what `ValidationLoop` and `TestLoop` have in common.

    ```
    module to eval mode, gradients off
    on_run_start:
        C/M.on_validation_start, C/M.on_validation_epoch_start
    advance:
        epoch_loop.run(model, loader, position)           # for each loader
    on_run_end:
        C/M.on_validation_epoch_end, C/M.on_validation_end
    the mode of every submodule restored
    ```

    In a test, `validation` is `test`.

    Args:
        limit_batches: How many batches of each loader at most; None is what the trainer says.
        epoch_loop: Evaluates one loader.

    Its output has the metrics of each loader.
    """

    kind: ClassVar[EvaluationKind]
    opens_run = True
    epoch_loop: Slot[EvaluationEpochLoop[B]] = Slot()
    state_fields: ClassVar[tuple[str, ...]] = ("dataloader_progress",)
    transient_fields: ClassVar[tuple[str, ...]] = ("_loaders", "_results")

    def __init__(
        self, limit_batches: BatchLimit | None = None, *, epoch_loop: EvaluationEpochLoop[B] | None = None
    ) -> None:
        check_limit(f"{type(self).__name__}.limit_batches", limit_batches)
        self.limit_batches = limit_batches
        self.epoch_loop = epoch_loop or EvaluationEpochLoop(self.kind, limit_batches)
        self.dataloader_progress: DataLoaderProgress = DataLoaderProgress()

    def connect(self, *, epoch_loop: EvaluationEpochLoop[B] | None = None) -> None:
        """Put loops into the slots; None leaves a slot as it is."""
        self._connect({"epoch_loop": epoch_loop})

    @property
    def done(self) -> bool:
        return self.dataloader_progress.current.completed >= len(self._loaders)

    def reset(self) -> None:
        if self.restarting:
            self.dataloader_progress.reset_on_restart()
        else:
            self.dataloader_progress.reset_on_run()

    def on_run_start(self, model: M, dataloaders: Loaders[B]) -> None:
        self._loaders = as_loaders(f"{self.kind.name} dataloaders", dataloaders)
        self._results: list[LoaderResult] = []
        self.context.hook(f"on_{self.kind.name}_start")()
        self.context.hook(f"on_{self.kind.name}_epoch_start")()

    def advance(self, model: M, dataloaders: Loaders[B]) -> None:
        index = self.dataloader_progress.current.completed
        self.dataloader_progress.increment_ready()
        position = LoaderPosition(index, len(self._loaders))
        self._results.append(self.epoch_loop.run(model, self._loaders[index], position))
        self.dataloader_progress.increment_completed()

    def on_run_end(self) -> EvaluationResult:
        result = EvaluationResult(tuple(self._results))
        self.context.hook(f"on_{self.kind.name}_epoch_end")()
        self.context.publish(result.metrics)
        self.context.hook(f"on_{self.kind.name}_end")()
        return result

    def run(self, model: M, dataloaders: Loaders[B]) -> EvaluationResult:
        with open_run(self, self.kind.stage, model) as context, evaluating(model, context.config.inference_mode):
            with context.log_to(context.logging_to):
                return super().run(model, dataloaders)

    def teardown(self) -> None:
        vars(self).pop("_loaders", None)
        vars(self).pop("_results", None)


class ValidationLoop(EvaluationLoop[ValidationModule[Anything], Anything]):
    """The evaluation behind `trainer.validate` and behind the validation of a fit; see `EvaluationLoop`."""

    kind = VALIDATION
    requires: ClassVar[type[object] | None] = ValidationModule

    def run(self, model: ValidationModule[V], dataloaders: Loaders[V]) -> EvaluationResult:
        return super().run(model, dataloaders)


class TestLoop(EvaluationLoop[TestModule[Anything], Anything]):
    """The evaluation behind `trainer.test`; see `EvaluationLoop`."""

    __test__ = False
    kind = TEST
    requires: ClassVar[type[object] | None] = TestModule

    def run(self, model: TestModule[V], dataloaders: Loaders[V]) -> EvaluationResult:
        return super().run(model, dataloaders)
