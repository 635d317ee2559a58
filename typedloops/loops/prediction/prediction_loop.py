"""Predicting with a module on one loader or several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeAlias, overload

from typing_extensions import TypeVar

from typedloops._core import DataLoaderProgress
from typedloops.loops.config import BatchLimit, check_limit
from typedloops.loops.context import InRun, open_run
from typedloops.loops.loaders import as_loaders
from typedloops.loops.modes import evaluating
from typedloops.loops.prediction.epoch_loop import PredictionEpochLoop
from typedloops.loops.slot import Slot
from typedloops.loops.step import LoaderPosition
from typedloops.protocols.anything import Anything
from typedloops.protocols.data import Loaders
from typedloops.protocols.module import PredictModule
from typedloops.protocols.trainer import Stage

B = TypeVar("B")
Q = TypeVar("Q")

# The default loop takes any module with any batches and relates the two anew at each call of `run`.
AnyModule: TypeAlias = PredictModule[Anything, Anything]


class PredictionLoop(InRun[[AnyModule, Loaders[Anything]], list[Anything]]):
    """Predicts with a module: the loop behind `trainer.predict`.

    ```
    module to eval mode, gradients off
    on_run_start:
        C/M.on_predict_start, C/M.on_predict_epoch_start
    advance:
        epoch_loop.run(model, loader, position)           # for each loader
    on_run_end:
        C/M.on_predict_epoch_end, C/M.on_predict_end
    the mode of every submodule restored
    ```

    Args:
        limit_batches: How many batches of each loader at most; None is what the trainer says.
        epoch_loop: Predicts one loader.

    Its output is the list of predictions, one for each batch; of several loaders, a list
    of such lists.
    """

    requires: ClassVar[type[object] | None] = PredictModule
    opens_run = True
    epoch_loop: Slot[PredictionEpochLoop[object]] = Slot()
    state_fields: ClassVar[tuple[str, ...]] = ("dataloader_progress",)
    transient_fields: ClassVar[tuple[str, ...]] = ("_loaders", "_predictions")

    def __init__(
        self, limit_batches: BatchLimit | None = None, *, epoch_loop: PredictionEpochLoop[object] | None = None
    ) -> None:
        check_limit(f"{type(self).__name__}.limit_batches", limit_batches)
        self.limit_batches = limit_batches
        self.epoch_loop = epoch_loop or PredictionEpochLoop(limit_batches)
        self.dataloader_progress: DataLoaderProgress = DataLoaderProgress()

    def connect(self, *, epoch_loop: PredictionEpochLoop[object] | None = None) -> None:
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

    def on_run_start(self, model: AnyModule, dataloaders: Loaders[Anything]) -> None:
        self._loaders = as_loaders("predict dataloaders", dataloaders)
        self._predictions: list[list[object]] = []
        self.context.hook("on_predict_start")()
        self.context.hook("on_predict_epoch_start")()

    def advance(self, model: AnyModule, dataloaders: Loaders[Anything]) -> None:
        index = self.dataloader_progress.current.completed
        self.dataloader_progress.increment_ready()
        position = LoaderPosition(index, len(self._loaders))
        self._predictions.append(self.epoch_loop.run(model, self._loaders[index], position))
        self.dataloader_progress.increment_completed()

    def on_run_end(self) -> list[Anything]:
        self.context.hook("on_predict_epoch_end")()
        self.context.hook("on_predict_end")()
        return self._predictions[0] if len(self._predictions) == 1 else list(self._predictions)

    @overload
    def run(self, model: PredictModule[B, Q], dataloaders: Iterable[B]) -> list[Q]: ...
    @overload
    def run(self, model: PredictModule[B, Q], dataloaders: Sequence[Iterable[B]]) -> list[list[Q]]: ...
    def run(self, model: PredictModule[B, Q], dataloaders: Iterable[Anything]) -> list[Anything]:
        with open_run(self, Stage.PREDICT, model) as context, evaluating(model, context.config.inference_mode):
            return super().run(model, dataloaders)

    def teardown(self) -> None:
        vars(self).pop("_loaders", None)
        vars(self).pop("_predictions", None)
