"""Every form in which several optimizers can be configured, and steps that are told whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_type

import lightning.pytorch as pl
from lightning.pytorch.utilities.types import LRSchedulerConfig, OptimizerConfig, OptimizerLRScheduler
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig as Scheduled
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, StepLR

from tests.typing.good.models import Batch, StepDict, batches, loader
from typedloops import FitLoop, FitResult, Trainer
from typedloops.protocols import SeveralOptimizersFitModule, SeveralOptimizersModule, StepOutput, TrainingModule

data = batches()
trainer = Trainer(max_epochs=1)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 2)
        self.second = nn.Linear(2, 2)

    def loss(self, batch: Batch) -> Tensor:
        logits: Tensor = self.second(self.first(batch[0]))
        return nn.functional.cross_entropy(logits, batch[1])


class Turns(Base):
    """A step that cannot be called without the index."""

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def configure_optimizers(self) -> Sequence[Optimizer]:
        return [SGD(self.first.parameters(), lr=0.1), Adam(self.second.parameters())]


assert_type(trainer.fit(Turns(), data), FitResult[Tensor])
assert_type(trainer.fit(Turns(), data, data), FitResult[Tensor])
assert_type(trainer.fit(Turns(), data, [loader(), loader()]), FitResult[Tensor])
assert_type(FitLoop(max_epochs=1).run(Turns(), data), FitResult[Tensor])


class MayBeTold(Turns):
    """One that can fits two Protocols."""

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int = 0) -> Tensor:
        return self.loss(batch)


assert_type(trainer.fit(MayBeTold(), data, data), FitResult[Tensor])
told: SeveralOptimizersModule[Batch, Tensor] = MayBeTold()
one: TrainingModule[Batch, Tensor] = MayBeTold()


class ByKeyword(Base):
    """Lists with schedulers, a TypedDict, and an index that is given by keyword only."""

    def training_step(self, batch: Batch, batch_idx: int, *, optimizer_idx: int) -> StepDict:
        return {"loss": self.loss(batch), "size": optimizer_idx}

    def configure_optimizers(self) -> tuple[list[SGD], list[LRScheduler]]:
        optimizers = [SGD(self.first.parameters(), lr=0.1), SGD(self.second.parameters(), lr=0.1)]
        return optimizers, [StepLR(optimizer, 1) for optimizer in optimizers]


typed_dict = trainer.fit(ByKeyword(), data)
assert_type(typed_dict, FitResult[StepDict])
assert typed_dict.last_output is not None
assert typed_dict.last_output["size"] == 1
assert_type(typed_dict.steps_by_optimizer, tuple[int, ...])
assert sum(typed_dict.steps_by_optimizer) == 4


class Frequencies(Turns):
    def configure_optimizers(self) -> Sequence[Mapping[str, object]]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return [
            {"optimizer": SGD(self.first.parameters(), lr=0.1), "frequency": 1},
            {"optimizer": SGD(self.second.parameters(), lr=0.1), "frequency": 1},
        ]


class WithPlateau(Turns):
    def configure_optimizers(self) -> list[dict[str, object]]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        first, second = SGD(self.first.parameters(), lr=0.1), SGD(self.second.parameters(), lr=0.1)
        plateau = ReduceLROnPlateau(first)
        return [
            {"optimizer": first, "lr_scheduler": {"scheduler": plateau, "monitor": "train_loss/optimizer_idx_0"}},
            {"optimizer": second, "lr_scheduler": StepLR(second, 1)},
        ]


forms: list[SeveralOptimizersFitModule[Batch, Batch, Tensor]] = [Turns(), MayBeTold(), Frequencies(), WithPlateau()]


def fit(module: SeveralOptimizersFitModule[Batch, Batch, Tensor]) -> FitResult[Tensor]:
    return trainer.fit(module, data, data)


for form in forms:
    assert sum(fit(form).steps_by_optimizer) == (2 if isinstance(form, Frequencies) else 4)


def fit_undecided(module: SeveralOptimizersModule[Batch]) -> None:
    assert_type(trainer.fit(module, data), FitResult[StepOutput])


fit_undecided(Turns())


class LitTurns(pl.LightningModule):
    """A step as in Lightning 1.5, with today's union of all that `configure_optimizers` may return."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 2)
        self.second = nn.Linear(2, 2)

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:
        logits: Tensor = self.second(self.first(batch[0]))
        return nn.functional.cross_entropy(logits, batch[1])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return [SGD(self.first.parameters(), lr=0.1), SGD(self.second.parameters(), lr=0.1)]


assert_type(trainer.fit(LitTurns(), data), FitResult[Tensor])


class LitForm(LitTurns):
    """Any of the forms that Lightning's union has."""

    def __init__(self, form: int) -> None:
        super().__init__()
        self.form = form

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int = 0) -> Tensor:
        return super().training_step(batch, batch_idx, optimizer_idx)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        first, second = SGD(self.first.parameters(), lr=0.1), SGD(self.second.parameters(), lr=0.1)
        forms: list[OptimizerLRScheduler] = [
            first,
            [first, second],
            ([first, second], [LRSchedulerConfig(ReduceLROnPlateau(first), monitor="train_loss")]),
            OptimizerConfig(optimizer=first),
            Scheduled(optimizer=first, lr_scheduler={"scheduler": StepLR(first, 1), "frequency": 2}),
            Scheduled(optimizer=first, lr_scheduler=StepLR(first, 1)),
            [OptimizerConfig(optimizer=first), OptimizerConfig(optimizer=second)],
            [Scheduled(optimizer=each, lr_scheduler=StepLR(each, 1)) for each in (first, second)],
        ]
        return forms[self.form]


for number in range(8):
    assert_type(trainer.fit(LitForm(number), data), FitResult[Tensor])
