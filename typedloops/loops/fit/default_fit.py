"""The default fit, and the tree below it."""

from __future__ import annotations

from typing import TypeAlias, cast, overload

from typing_extensions import TypeVar

from typedloops.loops.fit.batch_loop import TrainingBatchLoop
from typedloops.loops.fit.epoch_loop import TrainingEpochLoop
from typedloops.loops.fit.fit_loop import FitLoopOf
from typedloops.loops.fit.optimization.manual_loop import ManualOptimization
from typedloops.loops.fit.optimization.optimizer_loop import OptimizerLoop
from typedloops.loops.fit.result import FitResult
from typedloops.loops.run.saving.sources import CheckpointPath
from typedloops.loops.run.settings.durations import Count
from typedloops.protocols.anything import Anything
from typedloops.protocols.data import LoaderSource, LoadersSource
from typedloops.protocols.module import (
    FitModule,
    HiddenOutput,
    SeveralOptimizersFitModule,
    SeveralOptimizersModule,
    StepOutput,
    TrainingModule,
    TruncatedFitModule,
    TruncatedModule,
)

T = TypeVar("T")
O = TypeVar("O", bound=StepOutput)
V = TypeVar("V")
H = TypeVar("H")

# The default loop takes any module with any batches and relates the two anew at each call of `run`.
AnyModule: TypeAlias = TrainingModule[Anything, Anything]


class FitLoop(FitLoopOf[AnyModule, Anything, Anything]):
    """The default fit: trains a module's `training_step`; see `FitLoopOf` for the order of its hooks.

    Args:
        max_epochs: Stop after so many epochs; -1 is no limit; None is what the trainer says.
        max_steps: Stop after so many optimizer steps; -1 is no limit; None is what the trainer says.
        epoch_loop: Trains for one epoch; by default the whole default tree.
    """

    def __init__(
        self,
        max_epochs: Count | None = None,
        max_steps: Count | None = None,
        *,
        epoch_loop: TrainingEpochLoop[AnyModule, Anything, Anything] | None = None,
    ) -> None:
        super().__init__(
            default_epoch_loop() if epoch_loop is None else epoch_loop, max_epochs=max_epochs, max_steps=max_steps
        )

    # With loaders to validate on, the module must also validate: the base has no way to say that.
    @overload  # type: ignore[override]
    def run(
        self,
        model: TrainingModule[T, O] | SeveralOptimizersModule[T, O],
        train_dataloaders: LoaderSource[T],
        val_dataloaders: None = None,
        *,
        resume: bool = False,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> FitResult[O]: ...
    @overload
    def run(
        self,
        model: FitModule[T, V, O] | SeveralOptimizersFitModule[T, V, O],
        train_dataloaders: LoaderSource[T],
        val_dataloaders: LoadersSource[V],
        *,
        resume: bool = False,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> FitResult[O]: ...
    @overload
    def run(
        self,
        model: TruncatedModule[T, H],
        train_dataloaders: LoaderSource[T],
        val_dataloaders: None = None,
        *,
        resume: bool = False,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> FitResult[HiddenOutput[H]]: ...
    @overload
    def run(
        self,
        model: TruncatedFitModule[T, V, H],
        train_dataloaders: LoaderSource[T],
        val_dataloaders: LoadersSource[V],
        *,
        resume: bool = False,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> FitResult[HiddenOutput[H]]: ...
    def run(
        self,
        model: AnyModule | SeveralOptimizersModule[Anything, Anything] | TruncatedModule[Anything, Anything],
        train_dataloaders: LoaderSource[Anything],
        val_dataloaders: LoadersSource[Anything] | None = None,
        *,
        resume: bool = False,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> FitResult[Anything]:
        # Which of them it is, the loop that calls its step finds out.
        return super().run(
            cast("AnyModule", model),
            train_dataloaders,
            val_dataloaders,
            resume=resume,
            ckpt_path=ckpt_path,
            exact=exact,
        )


def default_epoch_loop() -> TrainingEpochLoop[AnyModule, Anything, Anything]:
    """The tree below a default fit loop."""
    return TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop(), ManualOptimization()))
