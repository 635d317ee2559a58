"""Modules that fit by their shape, and what their steps may take and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_type

from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, StepLR

from tests.typing.good.models import Batch, Classifier, StepDict, batches, loader
from typedloops import EvaluationResult, FitResult, Trainer
from typedloops.protocols import (
    ConfiguresOptimizers,
    FitModule,
    PredictModule,
    StepOutput,
    TestModule,
    TrainingModule,
    ValidationModule,
)

data = batches()
trainer = Trainer(max_epochs=1)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def loss(self, batch: Batch) -> Tensor:
        logits: Tensor = self.net(batch[0])
        return nn.functional.cross_entropy(logits, batch[1])


class SgdBase(Base):
    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class ReturnsTypedDict(SgdBase):
    def training_step(self, batch: Batch, batch_idx: int) -> StepDict:
        return {"loss": self.loss(batch), "size": len(batch[0])}

    def validation_step(self, batch: Batch, batch_idx: int) -> StepDict:
        return {"loss": self.loss(batch), "size": len(batch[0])}


typed_dict = trainer.fit(ReturnsTypedDict(), data, data)
assert_type(typed_dict, FitResult[StepDict])
assert typed_dict.last_output is not None
assert_type(typed_dict.last_output["size"], int)


class ReturnsMapping(SgdBase):
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"loss": self.loss(batch)}


assert_type(trainer.fit(ReturnsMapping(), data), FitResult[dict[str, Tensor]])


class SkipsSome(SgdBase):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        return None if batch_idx else self.loss(batch)


assert_type(trainer.fit(SkipsSome(), data), FitResult[Tensor | None])


class Undecided(SgdBase):
    """A step that says no more than its Protocol does."""

    def training_step(self, batch: Batch, batch_idx: int) -> StepOutput:
        return self.loss(batch)


assert_type(trainer.fit(Undecided(), data), FitResult[StepOutput])


class ManyLoaders(SgdBase):
    """Steps with a further parameter, and evaluation steps that return nothing."""

    def training_step(self, batch: Batch, batch_idx: int, scale: float = 1.0) -> Tensor:
        return self.loss(batch) * scale

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        assert dataloader_idx in (0, 1)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        assert dataloader_idx in (0, 1)


assert_type(trainer.fit(ManyLoaders(), loader(), [loader(), loader()]), FitResult[Tensor])
assert_type(trainer.validate(ManyLoaders(), [loader(), loader()]), EvaluationResult)
assert_type(trainer.test(ManyLoaders(), [loader(), loader()]), EvaluationResult)


class OtherValidationBatch(SgdBase):
    """Trains on one type of batch and validates on another."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch)
        return logits.mean()


assert_type(trainer.fit(OtherValidationBatch(), data, [points for points, _ in data]), FitResult[Tensor])


class TakesAnySequence(SgdBase):
    """A step that takes more than the loader gives."""

    def training_step(self, batch: Sequence[Tensor], batch_idx: int | None) -> Tensor:
        return self.loss((batch[0], batch[1]))


assert_type(trainer.fit(TakesAnySequence(), data), FitResult[Tensor])


class NoTorchModule:
    """A module that is no `nn.Module`."""

    def __init__(self) -> None:
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch[0])
        return logits.sum()

    def configure_optimizers(self) -> SGD:
        return SGD(self.net.parameters(), lr=0.1)


assert_type(trainer.fit(NoTorchModule(), data), FitResult[Tensor])


class Trains(Base):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)


class OneScheduler(Trains):
    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        optimizer = SGD(self.parameters(), lr=0.1)
        return [optimizer], [StepLR(optimizer, 1)]


class NarrowLists(Trains):
    def configure_optimizers(self) -> tuple[list[SGD], list[StepLR]]:
        optimizer = SGD(self.parameters(), lr=0.1)
        return [optimizer], [StepLR(optimizer, 1)]


class ConfiguredScheduler(Trains):
    def configure_optimizers(self) -> tuple[list[SGD], list[dict[str, object]]]:
        optimizer = SGD(self.parameters(), lr=0.1)
        return [optimizer], [{"scheduler": StepLR(optimizer, 1), "interval": "step"}]


class ListOfOptimizers(Trains):
    automatic_optimization = False

    def configure_optimizers(self) -> list[Optimizer]:
        return [SGD(self.parameters(), lr=0.1), Adam(self.parameters())]


class TupleOfOptimizers(Trains):
    automatic_optimization = False

    def configure_optimizers(self) -> tuple[SGD, Adam]:
        return SGD(self.parameters(), lr=0.1), Adam(self.parameters())


class MappingWithScheduler(Trains):
    def configure_optimizers(self) -> Mapping[str, object]:
        optimizer = SGD(self.parameters(), lr=0.1)
        plateau = ReduceLROnPlateau(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}


class DictWithOptimizer(Trains):
    def configure_optimizers(self) -> dict[str, Optimizer]:
        return {"optimizer": SGD(self.parameters(), lr=0.1)}


class ListOfMappings(Trains):
    def configure_optimizers(self) -> list[dict[str, Optimizer]]:
        return [{"optimizer": SGD(self.parameters(), lr=0.1)}]


class NoOptimizer(Trains):
    automatic_optimization = False

    def configure_optimizers(self) -> None:
        return None


def fit(module: FitModule[Batch, Batch, Tensor]) -> FitResult[Tensor]:
    """Takes a module by its Protocol and gives it to the trainer."""
    return trainer.fit(module, data, data)


forms: list[FitModule[Batch, Batch, Tensor]] = [
    OneScheduler(),
    NarrowLists(),
    ConfiguredScheduler(),
    ListOfOptimizers(),
    TupleOfOptimizers(),
    MappingWithScheduler(),
    DictWithOptimizer(),
    ListOfMappings(),
    NoOptimizer(),
]
for form in forms:
    assert fit(form).epochs == 1

optimized: ConfiguresOptimizers = OneScheduler()
validation: ValidationModule[Batch] = Classifier()
test: TestModule[Batch] = Classifier()
prediction: PredictModule[Batch, Tensor] = Classifier()


def fit_trained(module: TrainingModule[Batch, Tensor]) -> None:
    assert_type(trainer.fit(module, data), FitResult[Tensor])


def fit_undecided(module: TrainingModule[Batch]) -> None:
    assert_type(trainer.fit(module, data), FitResult[StepOutput])


fit_trained(Classifier())
fit_undecided(Classifier())
