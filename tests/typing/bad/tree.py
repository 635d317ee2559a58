# pyright: reportUnknownMemberType=false
"""The default tree: slots, leaves and roots that do not go together."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Generic

from torch import Tensor
from typing_extensions import Protocol, TypeVar

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import (
    EvaluationLoop,
    FitLoop,
    FitLoopOf,
    OptimizerLoop,
    PredictionEpochLoop,
    StepLoop,
    TestLoop,
    Trainer,
    TrainingBatchLoop,
    TrainingEpochLoop,
    ValidationLoop,
)
from typedloops.protocols import StepOutput, TrainingModule

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)
data, model = batches(), Classifier()


class YieldingModule(Protocol[B_contra]):
    def training_step(self, batch: B_contra, batch_idx: int, /) -> Generator[Tensor, None, None]: ...


class YieldLoop(StepLoop[YieldingModule[B], B, float], Generic[B]):
    @property
    def done(self) -> bool:
        return True

    def advance(self, model: YieldingModule[B], batch: B, batch_idx: int) -> None: ...

    def on_run_end(self) -> float:
        return 0.0


# What is connected fits its slot.
tree = Trainer().fit_loop
tree.connect(epoch_loop=tree)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree.connect(tree.epoch_loop)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tree.connect(batch_loop=tree.epoch_loop.batch_loop)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tree.epoch_loop.connect(batch_loop=OptimizerLoop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree.epoch_loop.connect(val_loop=TestLoop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree.epoch_loop.batch_loop.connect(optimizer_loop=ValidationLoop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree.epoch_loop.batch_loop.connect(optimiser_loop=OptimizerLoop())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tree.epoch_loop.batch_loop.manual_loop.run(model, data[0], 0)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
ValidationLoop().connect(epoch_loop=PredictionEpochLoop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def assign(tree: FitLoop, epoch_loop: TrainingEpochLoop, batch_loop: TrainingBatchLoop) -> None:
    tree.epoch_loop = batch_loop  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    epoch_loop.batch_loop = OptimizerLoop()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    epoch_loop.val_loop = TestLoop()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    batch_loop.optimizer_loop = tree  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    batch_loop.optimizer_loop = OptimizerLoop  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    batch_loop.optimizer_loop = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    batch_loop.manual_loop = 3  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


# Built bottom-up, the root asks of the module what its leaf does.
plain = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop[Batch, Tensor]())))
plain.run(1, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
plain.run(model, [1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
plain.connect(epoch_loop=TrainingEpochLoop(TrainingBatchLoop(YieldLoop[Batch]())))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
yielding = Trainer(fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(YieldLoop[Batch]()))))
yielding.fit(model, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
steps: str = yielding.fit_loop.epoch_loop.batch_progress.total  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
TrainingBatchLoop(model)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
TrainingEpochLoop(OptimizerLoop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
FitLoopOf()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
FitLoop(epoch_loop=FitLoop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
FitLoop(1, 2, TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop())))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
OptimizerLoop[Batch, float]()  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
EvaluationLoop[Classifier, Batch]().run(1, data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class WrongAdvance(OptimizerLoop[Batch]):
    def advance(self, model: TrainingModule[Batch, StepOutput], batch: Batch) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


class WrongBatch(OptimizerLoop[Batch]):
    def advance(self, model: TrainingModule[Batch, StepOutput], batch: int, batch_idx: int) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


class WrongEnd(FitLoop):
    def on_run_end(self) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return 0

    def on_advance_end(self, epoch: int) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


class WrongRun(ValidationLoop):
    def run(self, model: Classifier, dataloaders: Iterable[Batch]) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return 0
