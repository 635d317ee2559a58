"""The same of `pytorch_lightning`, the other name of the same package."""

from __future__ import annotations

from typing import assert_type

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD

from tests.typing.good.models import Batch, batches
from typedloops import FitResult, Trainer
from typedloops.protocols import CallbackProtocol, FitModule

data = batches()


class Lit(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch[0])
        return nn.functional.cross_entropy(logits, batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.training_step(batch, batch_idx)}

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return batch[1]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return SGD(self.parameters(), lr=0.1)


trainer = Trainer(max_epochs=1)
fits: FitModule[Batch, Batch, Tensor] = Lit()
assert_type(trainer.fit(Lit(), data, data), FitResult[Tensor])
assert_type(trainer.predict(Lit(), data), list[Tensor])
callbacks: list[CallbackProtocol] = [EarlyStopping("val_loss"), pl.Callback()]
