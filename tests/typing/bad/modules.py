# pyright: reportUnknownMemberType=false
"""Modules that do not fit the entry points."""

from __future__ import annotations

from collections.abc import Generator

import lightning.pytorch as pl
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import Trainer
from typedloops.protocols import FitModule, SeveralOptimizersModule, TrainingModule, ValidationModule

data, ints = batches(), [1, 2, 3]
trainer, model = Trainer(max_epochs=1), Classifier()


class Optimized(nn.Module):
    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class OnlyTrains(Optimized):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()


class Unoptimized(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()


class NoBatchIdx(Optimized):
    def training_step(self, batch: Batch) -> Tensor:
        return batch[0].sum()

    def validation_step(self, batch: Batch) -> None: ...
    def test_step(self, batch: Batch) -> None: ...
    def predict_step(self, batch: Batch) -> None: ...


class ThreeParameters(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, scale: float) -> Tensor:
        return batch[0].sum()


class KeywordOnly(Optimized):
    def training_step(self, *, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()


class ReturnsFloat(Optimized):
    def training_step(self, batch: Batch, batch_idx: int) -> float:
        return 0.0

    def validation_step(self, batch: Batch, batch_idx: int) -> float:
        return 0.0


class Yields(Optimized):
    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
        yield batch[0].sum()


class StringIndex(Optimized):
    def training_step(self, batch: Batch, batch_idx: str) -> Tensor:
        return batch[0].sum()


class NoOptimizerReturned(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> str:
        return "sgd"


class OptimizedByArgument(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self, lr: float) -> Optimizer:
        return SGD(self.parameters(), lr=lr)


class SchedulerAlone(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> tuple[Optimizer, list[int]]:
        return SGD(self.parameters(), lr=0.1), [1]


class LitThreeParameters(pl.LightningModule):
    def training_step(self, batch: Batch, batch_idx: int, scale: float) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class Turns(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:
        return batch[0].sum()


class TurnsByName(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: str) -> Tensor:
        return batch[0].sum()


class TurnsByPosition(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int, /) -> Tensor:
        return batch[0].sum()


class TurnsReturnFloat(Optimized):
    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> float:
        return 0.0


class MixedPair(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> tuple[list[Optimizer], SGD]:
        optimizer = SGD(self.parameters(), lr=0.1)
        return [optimizer], optimizer


class ListOfStrings(nn.Module):
    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:
        return batch[0].sum()

    def configure_optimizers(self) -> list[str]:
        return ["sgd", "adam"]


class LitOtherBatch(pl.LightningModule):
    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        raise NotImplementedError

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


# A batch that the step does not take.
trainer.fit(model, ints)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, data, ints)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, data, [ints, ints])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.validate(model, ints)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.test(model, [ints, ints])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.predict(model, ints)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.predict(model, [ints, ints])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(LitOtherBatch(), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]

# A step that is not there.
trainer.fit(nn.Linear(4, 2), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Optimized(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(OnlyTrains(), data, data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.validate(OnlyTrains(), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.test(OnlyTrains(), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.predict(OnlyTrains(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Unoptimized(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

# A step that cannot be called as it is.
trainer.fit(NoBatchIdx(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.validate(NoBatchIdx(), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.test(NoBatchIdx(), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.predict(NoBatchIdx(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(ThreeParameters(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(LitThreeParameters(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(KeywordOnly(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(StringIndex(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

# A step for several optimizers that does not take what it is given.
trainer.fit(Turns(), ints)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(Turns(), data, data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(TurnsByName(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(TurnsByPosition(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(TurnsReturnFloat(), data)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(MixedPair(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(ListOfStrings(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
turns: SeveralOptimizersModule[Batch, Tensor] = model  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
one: TrainingModule[Batch, Tensor] = Turns()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# A step that returns what nobody can use.
trainer.fit(ReturnsFloat(), data)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.validate(ReturnsFloat(), data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(Yields(), data)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]

# Optimizers that are none.
trainer.fit(NoOptimizerReturned(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(OptimizedByArgument(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(SchedulerAlone(), data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

# A class instead of an instance.
trainer.fit(Classifier, data)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

trains: TrainingModule[int, Tensor] = model  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
returns: TrainingModule[Batch, dict[str, Tensor]] = model  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
validates: ValidationModule[Batch] = OnlyTrains()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
fits: FitModule[Batch, int, Tensor] = model  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
