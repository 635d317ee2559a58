"""The default tree: changing its parts in place, and building it bottom-up around a leaf of one's own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import ClassVar, Generic, assert_type

from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from typing_extensions import Protocol, TypeVar

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import (
    EpochResult,
    FitLoop,
    FitLoopOf,
    FitResult,
    LoopProtocol,
    ManualOptimization,
    OptimizationProgress,
    OptimizerLoop,
    StepLoop,
    Trainer,
    TrainingBatchLoop,
    TrainingEpochLoop,
    ValidationLoop,
)
from typedloops.protocols import OptimizerConfig, StepOutput, TrainingModule

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)
data, model = batches(), Classifier()


class Counting(OptimizerLoop[B]):
    """A default leaf with one method changed."""

    steps = 0

    def advance(self, model: TrainingModule[B, StepOutput], batch: B, batch_idx: int) -> None:
        super().advance(model, batch, batch_idx)
        self.steps += 1


trainer = Trainer(max_epochs=1)
epoch_loop = trainer.fit_loop.epoch_loop
batch_loop = epoch_loop.batch_loop
assert_type(epoch_loop.val_loop, ValidationLoop)
assert_type(epoch_loop.batch_progress.total.ready, int)
counting = Counting[Batch]()
batch_loop.connect(optimizer_loop=counting)
trainer.fit_loop.epoch_loop.batch_loop.connect(manual_loop=ManualOptimization())
trainer.fit_loop.epoch_loop.connect(val_loop=ValidationLoop(limit_batches=1))
trainer.fit_loop.connect(epoch_loop=None)
trainer.fit_loop.epoch_loop.val_loop.connect(epoch_loop=None)
assert_type(trainer.fit(model, data, data), FitResult[Tensor])
assert counting.steps == len(data)
assert_type(counting.optim_progress, OptimizationProgress)
assert_type(counting.optim_progress.optimizer_steps, int)
trainer.fit_loop.epoch_loop.batch_loop.replace(optimizer_loop=Counting)
trainer.fit_loop.replace(epoch_loop=TrainingEpochLoop)
trainer.fit_loop.epoch_loop = TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop()), limit_batches=1)
assert_type(trainer.fit(model, data), FitResult[Tensor])

# Bottom-up, the type of the root follows from that of the leaf.
plain = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop[Batch, Tensor]())), max_epochs=1)
assert_type(plain, FitLoopOf[TrainingModule[Batch, Tensor], Batch, Tensor])
assert_type(plain.epoch_loop, TrainingEpochLoop[TrainingModule[Batch, Tensor], Batch, Tensor])
assert_type(
    plain.epoch_loop.batch_loop.optimizer_loop, LoopProtocol[[TrainingModule[Batch, Tensor], Batch, int], Tensor]
)
assert_type(plain.run(model, data, None), FitResult[Tensor])
assert_type(Trainer(fit_loop=plain).fit(model, data), FitResult[Tensor])


class YieldingModule(Protocol[B_contra]):
    """A module whose step gives several losses for one batch."""

    def training_step(self, batch: B_contra, batch_idx: int, /) -> Generator[Tensor, None, None]: ...
    def configure_optimizers(self) -> OptimizerConfig: ...


class YieldLoop(StepLoop[YieldingModule[B], B, float], Generic[B]):
    """A leaf of one's own: optimizes once for each loss that the step yields."""

    requires: ClassVar[type[object] | None] = YieldingModule

    def __init__(self) -> None:
        self.total = 0.0
        self.losses: Generator[Tensor, None, None] | None = None

    @property
    def done(self) -> bool:
        return False

    def reset(self) -> None:
        self.total = 0.0
        self.losses = None

    def advance(self, model: YieldingModule[B], batch: B, batch_idx: int) -> None:
        self.losses = self.losses or model.training_step(batch, batch_idx)
        self.total += next(self.losses).item()

    def on_run_end(self) -> float:
        return self.total


class Yielding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
        yield batch[0].sum()
        yield batch[0].mean()

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


leaf = YieldLoop[Batch]()
assert_type(leaf.run(Yielding(), data[0], 0), float)
bound: Callable[[Batch, int], float] = leaf.bind(Yielding())
middle = TrainingBatchLoop(leaf)
assert_type(middle, TrainingBatchLoop[YieldingModule[Batch], Batch, float])
epochs = TrainingEpochLoop(middle, ValidationLoop(), limit_batches=1)
assert_type(epochs, TrainingEpochLoop[YieldingModule[Batch], Batch, float])
root = FitLoopOf(epochs, max_epochs=1)
assert_type(root, FitLoopOf[YieldingModule[Batch], Batch, float])
yielding = Trainer(fit_loop=root)
assert_type(yielding.fit(Yielding(), data), FitResult[float])
assert_type(yielding.fit(Yielding(), data).last_output, float | None)
assert_type(
    yielding.fit_loop.epoch_loop.batch_loop.optimizer_loop, LoopProtocol[[YieldingModule[Batch], Batch, int], float]
)


def last_of(epoch: EpochResult[float]) -> float | None:
    return epoch.last_output


class Shaped:
    """A leaf by its shape alone."""

    done = True

    def reset(self) -> None: ...
    def advance(self, model: Classifier, batch: Batch, batch_idx: int, /) -> None: ...
    def run(self, model: Classifier, batch: Batch, batch_idx: int, /) -> float:
        return model.training_step(batch, batch_idx).item()


shaped = Trainer(fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(Shaped())), max_epochs=1))
assert_type(shaped, Trainer[FitLoopOf[Classifier, Batch, float]])
assert_type(shaped.fit(model, data), FitResult[float])
default = FitLoop(2, epoch_loop=TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop(), ManualOptimization())))
assert_type(Trainer(fit_loop=default), Trainer)
assert_type(ValidationLoop().epoch_loop.batch_progress.is_last_batch, bool)

# Deep in a default tree a leaf may ask something else of the module; what the root asks stays as it was.
deep = Trainer(max_epochs=1)
deep.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=YieldLoop[Batch]())
assert_type(deep, Trainer)

# A tree made apart takes the place of a default one.
apart = TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop[Batch, Tensor](), ManualOptimization[Batch, Tensor]()))
assert_type(apart, TrainingEpochLoop[TrainingModule[Batch, Tensor], Batch, Tensor])
deep.fit_loop.connect(epoch_loop=apart)
deep.fit_loop.connect(epoch_loop=TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop())))
assert_type(deep.fit(model, data), FitResult[Tensor])
