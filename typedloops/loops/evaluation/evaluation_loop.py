"""Evaluating a module on one loader or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Generic, cast

from typing_extensions import TypeVar

from typedloops._core import Hook
from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.slot import Slot
from typedloops.loops.evaluation.epoch_loop import EvaluationEpochLoop
from typedloops.loops.evaluation.result import EvaluationResult, LoaderResult
from typedloops.loops.run.kind import TEST, VALIDATION
from typedloops.loops.run.metrics import MetricValues
from typedloops.loops.run.over_loaders import LoadersLoop
from typedloops.loops.run.position import LoaderPosition
from typedloops.loops.run.saving.sources import CheckpointPath
from typedloops.loops.run.settings.config import BatchCounts
from typedloops.protocols.anything import Anything
from typedloops.protocols.data import LoadersSource
from typedloops.protocols.module import TestModule, ValidationModule

M = TypeVar("M")
B = TypeVar("B")
V = TypeVar("V")


class EvaluationLoop(LoadersLoop[M, B, LoaderResult, EvaluationResult], Generic[M, B]):
    """Evaluates a module: what `ValidationLoop` and `TestLoop` have in common.

    ```
    module to eval mode, gradients off
    on_run_start:
        C/M.on_validation_start, C/M.on_validation_epoch_start
    advance:
        epoch_loop.run(model, loader, position)           # for each loader
    on_run_end:
        C/M.validation_epoch_end(outputs)                 # only for this are outputs kept
        C/M.on_validation_epoch_end, C/M.on_validation_end
    the mode of every submodule restored
    ```

    In a test, `validation` is `test`.  The outputs are those of all steps, in a list; of several
    loaders, in a list for each.

    Args:
        limit_batches: How many batches of each loader at most, or a list with a limit for each; None is what
            the trainer says.
        epoch_loop: Evaluates one loader.

    Its output has the metrics of each loader.
    """

    transient_fields: ClassVar[tuple[str, ...]] = ("_outputs",)
    epoch_loop: Slot[EvaluationEpochLoop[B]] = Slot()

    _outputs: list[list[object]] | None = None

    def __init__(
        self, limit_batches: BatchCounts | None = None, *, epoch_loop: EvaluationEpochLoop[B] | None = None
    ) -> None:
        super().__init__(limit_batches)
        self.epoch_loop = EvaluationEpochLoop(self.kind) if epoch_loop is None else epoch_loop

    @typed_connect
    def connect(self, *, epoch_loop: EvaluationEpochLoop[B] | None = None) -> None:
        """Put loops into the slots; None leaves a slot as it is."""

    def on_run_start(self, model: M, dataloaders: LoadersSource[B]) -> None:
        # Where it goes on after the hook was called, there are none any more.
        outputs: object = (
            [] if self.place.resumed is None else self.context.on_device(self.resumed_state.get("outputs"))
        )
        self._outputs = cast("list[list[object]] | None", outputs) if len(self._epoch_end) else None
        super().on_run_start(model, dataloaders)

    def run_state(self) -> dict[str, object]:
        results = [{"batches": result.batches, "metrics": dict(result.metrics)} for result in self._results]
        outputs = {} if self._outputs is None else {"outputs": [list(each) for each in self._outputs]}
        return {**super().run_state(), "results": results, **outputs}

    @property
    def resumed_results(self) -> list[LoaderResult]:
        results = cast("list[Mapping[str, object]]", self.resumed_state.get("results", []))
        return [
            LoaderResult(cast("int", each["batches"]), MetricValues(cast("Mapping[str, float]", each["metrics"])))
            for each in results
        ]

    @property
    def _epoch_end(self) -> Hook:
        """Those who want the outputs of all steps."""
        return self.context.hook(f"{self.kind.name}_epoch_end")

    def run_loader(self, model: M, loader: Iterable[B], position: LoaderPosition) -> LoaderResult:
        context = self.context
        with context.log_to(context.logging_to):  # the loader's own metrics, and then those of the run again
            return self.epoch_loop.run(model, loader, self._with_outputs(position))

    def _with_outputs(self, position: LoaderPosition) -> LoaderPosition:
        """A position whose outputs are kept, if anybody wants them."""
        if self._outputs is None:
            return position
        if len(self._outputs) == position.index:
            self._outputs.append([])
        outputs = self._outputs[position.index]

        def keep(output: object, batch: B, batch_idx: int) -> None:
            outputs.append(output)

        return replace(position, take=keep)

    def result(self, results: Sequence[LoaderResult]) -> EvaluationResult:
        return EvaluationResult(tuple(results), self.context.logging_to.compute())

    def on_results(self, results: Sequence[LoaderResult]) -> None:
        # So that the hook of the epoch's end can read what the steps came to, and log on.
        self.context.metrics.update(self.result(results).metrics)
        outputs, self._outputs = self._outputs, None
        if outputs is not None:
            self._epoch_end(outputs[0] if len(outputs) == 1 else outputs)

    def teardown(self) -> None:
        super().teardown()
        self._outputs = None

    def on_result(self, result: EvaluationResult) -> None:
        self.context.publish(result.metrics)


class ValidationLoop(EvaluationLoop[ValidationModule[Anything], Anything]):
    """The evaluation behind `trainer.validate` and behind the validation of a fit; see `EvaluationLoop`."""

    kind = VALIDATION
    requires: ClassVar[type[object] | None] = ValidationModule

    def run(
        self,
        model: ValidationModule[V],
        dataloaders: LoadersSource[V],
        *,
        ckpt_path: CheckpointPath | None = None,
    ) -> EvaluationResult:
        return super().run(model, dataloaders, ckpt_path=ckpt_path)


class TestLoop(EvaluationLoop[TestModule[Anything], Anything]):
    """The evaluation behind `trainer.test`; see `EvaluationLoop`."""

    __test__ = False
    kind = TEST
    requires: ClassVar[type[object] | None] = TestModule

    def run(
        self,
        model: TestModule[V],
        dataloaders: LoadersSource[V],
        *,
        ckpt_path: CheckpointPath | None = None,
    ) -> EvaluationResult:
        return super().run(model, dataloaders, ckpt_path=ckpt_path)
