"""Truncated backpropagation through time: the type of the hidden state goes from the step's output to its parameter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from typing_extensions import TypedDict, assert_type

from tests.typing.good.models import Batch, batches
from typedloops import FitResult, HiddenOutput, Trainer

Hidden = tuple[Tensor, Tensor]


class Recurrent(nn.Module):
    truncated_bptt_steps = 2

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def loss(self, batch: Batch) -> Tensor:
        return (self.scale * batch[0]).sum()

    def training_step(self, batch: Batch, batch_idx: int, hiddens: Hidden | None) -> HiddenOutput[Hidden]:
        return {"loss": self.loss(batch), "hiddens": (batch[0], batch[0]) if hiddens is None else hiddens}

    def validation_step(self, batch: Batch, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class MoreKeys(TypedDict):
    loss: Tensor
    hiddens: Tensor
    accuracy: Tensor


class WithMore(Recurrent):
    def training_step(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # another state
        self, batch: Batch, batch_idx: int, hiddens: Tensor | None = None
    ) -> MoreKeys:
        return {"loss": self.loss(batch), "hiddens": batch[0], "accuracy": batch[0].mean()}


data = batches()
trainer = Trainer(max_epochs=1)

assert_type(trainer.fit(Recurrent(), data), FitResult[HiddenOutput[Hidden]])
assert_type(trainer.fit(Recurrent(), data, data), FitResult[HiddenOutput[Hidden]])
last = trainer.fit(Recurrent(), data).last_output
assert last is not None
assert_type(last["hiddens"], Hidden)
trainer.fit(WithMore(), data)
