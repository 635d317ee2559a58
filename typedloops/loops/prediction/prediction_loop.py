"""Predicting with a module on one loader or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, TypeAlias, cast, overload

from typing_extensions import TypeVar

from typedloops.errors import CheckpointError
from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.slot import Slot
from typedloops.loops.prediction.epoch_loop import PredictionEpochLoop, saved_predictions
from typedloops.loops.prediction.writing import Writing, WrittenPredictions
from typedloops.loops.run.kind import PREDICTION
from typedloops.loops.run.over_loaders import LoadersLoop
from typedloops.loops.run.position import LoaderPosition
from typedloops.loops.run.saving.sources import CheckpointPath
from typedloops.loops.run.settings.config import BatchCounts
from typedloops.protocols.anything import Anything
from typedloops.protocols.data import LoaderSource, LoadersSource
from typedloops.protocols.module import PredictModule
from typedloops.protocols.writer import PredictionWriter

B = TypeVar("B")
Q = TypeVar("Q")

# The default loop takes any module with any batches and relates the two anew at each call of `run`.
AnyModule: TypeAlias = PredictModule[Anything, Anything]


class PredictionLoop(LoadersLoop[AnyModule, Anything, list[object], "list[Anything] | WrittenPredictions"]):
    """Predicts with a module: the loop behind `trainer.predict`.

    ```
    module to eval mode, gradients off
    on_run_start:
        C/M.on_predict_start, C/M.on_predict_epoch_start
        writer is entered
    advance:
        epoch_loop.run(model, loader, position)           # for each loader
    on_run_end:
        writer is left or closed
        C/M.on_predict_epoch_end, C/M.on_predict_end
    the mode of every submodule restored
    ```

    Args:
        limit_batches: How many batches of each loader at most, or a list with a limit for each; None is what
            the trainer says.
        epoch_loop: Predicts one loader.

    Its output is the list of predictions, one for each batch; of a list of loaders (of one,
    too), a list of such lists.  With a `writer` no prediction is kept: the output says how many
    were written.
    """

    kind = PREDICTION
    transient_fields: ClassVar[tuple[str, ...]] = ("_writing",)
    requires: ClassVar[type[object] | None] = PredictModule
    epoch_loop: Slot[PredictionEpochLoop[object]] = Slot()

    _writing: Writing | None = None

    def __init__(
        self, limit_batches: BatchCounts | None = None, *, epoch_loop: PredictionEpochLoop[object] | None = None
    ) -> None:
        super().__init__(limit_batches)
        self.epoch_loop = PredictionEpochLoop() if epoch_loop is None else epoch_loop

    @typed_connect
    def connect(self, *, epoch_loop: PredictionEpochLoop[object] | None = None) -> None:
        """Put loops into the slots; None leaves a slot as it is."""

    def on_run_start(self, model: AnyModule, dataloaders: LoadersSource[Anything]) -> None:
        super().on_run_start(model, dataloaders)
        if self._writing is not None:
            self._writing.open()

    def run_loader(self, model: AnyModule, loader: Iterable[Anything], position: LoaderPosition) -> list[object]:
        if self._writing is not None:
            position = replace(position, take=self._writing.taker(position.index))
        return self.epoch_loop.run(model, loader, position)

    def run_state(self) -> dict[str, object]:
        if self._writing is not None:
            raise CheckpointError(
                "save_checkpoint",
                "a prediction is under way, whose predictions a writer has",
                "Save before or after it, or predict without a writer.",
            )
        return {**super().run_state(), "results": [saved_predictions(each) for each in self._results]}

    @property
    def resumed_results(self) -> list[list[object]]:
        results: object = self.context.on_device(self.resumed_state.get("results", []))
        return [list(each) for each in cast("list[list[object]]", results)]

    def on_results(self, results: Sequence[list[object]]) -> None:
        if self._writing is not None:
            self._writing.close()

    def result(self, results: Sequence[list[object]]) -> list[Anything] | WrittenPredictions:
        if self._writing is not None:
            return self._writing.result
        return list(results) if self.given_several else results[0]

    def on_result(self, result: list[Anything] | WrittenPredictions) -> None:
        self.context.publish(self.context.logging_to.compute())

    @overload
    def run(
        self,
        model: PredictModule[B, Q],
        dataloaders: LoaderSource[B],
        *,
        writer: None = None,
        ckpt_path: CheckpointPath | None = None,
    ) -> list[Q]: ...
    @overload
    def run(
        self,
        model: PredictModule[B, Q],
        dataloaders: Sequence[Iterable[B]] | Callable[[], Sequence[Iterable[B]]],
        *,
        writer: None = None,
        ckpt_path: CheckpointPath | None = None,
    ) -> list[list[Q]]: ...
    @overload
    def run(
        self,
        model: PredictModule[B, Q],
        dataloaders: LoadersSource[B],
        *,
        writer: PredictionWriter[Q, B],
        ckpt_path: CheckpointPath | None = None,
    ) -> WrittenPredictions: ...
    def run(
        self,
        model: PredictModule[B, Q],
        dataloaders: LoadersSource[Anything],
        *,
        writer: PredictionWriter[Q, Anything] | None = None,
        ckpt_path: CheckpointPath | None = None,
    ) -> list[Anything] | WrittenPredictions:
        before, self._writing = self._writing, None if writer is None else Writing(writer)
        try:
            return super().run(model, dataloaders, ckpt_path=ckpt_path)
        except BaseException as failure:
            if self._writing is not None:
                self._writing.close(failure)
            raise
        finally:
            self._writing = before
