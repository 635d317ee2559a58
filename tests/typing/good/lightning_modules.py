"""Real LightningModules and callbacks of `lightning.pytorch`, as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import StepLR

from tests.typing.good.models import Batch, Prediction, StepDict, batches, loader
from typedloops import EvaluationResult, FitResult, Trainer
from typedloops.protocols import (
    CallbackProtocol,
    FitModule,
    PredictModule,
    TestModule,
    TrainingModule,
    ValidationModule,
)

data = batches()
trainer = Trainer(max_epochs=1)


class LitBase(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def loss(self, batch: Batch) -> Tensor:
        logits: Tensor = self.net(batch[0])
        return nn.functional.cross_entropy(logits, batch[1])


class Lit(LitBase):
    """Every step; `*args: Any` of the base class are overridden with what they are."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        return None

    def test_step(self, batch: Batch, batch_idx: int) -> Mapping[str, Tensor]:
        return {"loss": self.loss(batch)}

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        return Prediction(batch[1], batch_idx)

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class LitDict(LitBase):
    """Another output, and Lightning's own union of all that `configure_optimizers` may return."""

    def training_step(self, batch: Batch, batch_idx: int) -> StepDict:
        return {"loss": self.loss(batch), "size": len(batch[0])}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.loss(batch)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = SGD(self.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": StepLR(optimizer, 1), "interval": "step"}}


assert_type(trainer.fit(Lit(), data), FitResult[Tensor])
assert_type(trainer.fit(Lit(), loader(), [loader(), loader()]), FitResult[Tensor])
assert_type(trainer.fit(LitDict(), data, data), FitResult[StepDict])
assert_type(trainer.validate(Lit(), [loader(), loader()]), EvaluationResult)
assert_type(trainer.test(Lit(), data), EvaluationResult)
assert_type(trainer.predict(Lit(), data), list[Prediction])
assert_type(trainer.predict(Lit(), [loader(), loader()]), list[list[Prediction]])

fits: FitModule[Batch, Batch, Tensor] = Lit()
trains: TrainingModule[Batch, StepDict] = LitDict()
validates: ValidationModule[Batch] = Lit()
tests: TestModule[Batch] = Lit()
predicts: PredictModule[Batch, Prediction] = Lit()

# Lightning's callbacks are callbacks by their shape, although they know another trainer.
stopping, checkpoint, rates = EarlyStopping("val_loss"), ModelCheckpoint(), LearningRateMonitor()
callbacks: list[CallbackProtocol] = [stopping, checkpoint, rates, pl.Callback()]
assert_type(Trainer(callbacks=[stopping, checkpoint]), Trainer)


class Prints(pl.Callback):
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = True


prints = Prints()
Trainer(max_epochs=1, callbacks=[prints]).fit(Lit(), data)
assert prints.started
